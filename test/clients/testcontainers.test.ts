import { afterAll, beforeAll, describe, expect, test } from "bun:test";
import { copyFileSync, existsSync, mkdirSync, mkdtempSync, rmSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { engineForTests, hasBusybox, isRoot } from "../harness.ts";

const node = Bun.which("node");
const installed = existsSync(join(import.meta.dir, "../../node_modules/testcontainers"));
const why = !isRoot
  ? "needs root"
  : !hasBusybox
    ? "no busybox-static"
    : !node
      ? "no node"
      : installed
        ? ""
        : "no testcontainers";
const engine = why ? undefined : engineForTests([], { networks: true });
/** Where this machine is itself a container, the host would be looked for at the bridge's gateway. */
const LOCAL = { TESTCONTAINERS_HOST_OVERRIDE: "localhost" };
/** The image that this version of testcontainers asks for. */
const RYUK = "testcontainers/ryuk:0.14.0";

describe.skipIf(why !== "")(`testcontainers for Node${why && ` (${why})`}`, () => {
  const home = mkdtempSync(join(tmpdir(), "inro-testcontainers-"));
  afterAll(() => rmSync(home, { recursive: true }));
  const run = async (env: Record<string, string>, ...words: string[]) => {
    const child = engine!.onHost(() =>
      Bun.spawn([node!, join(import.meta.dir, "testcontainers.mjs"), ...words], {
        env: { PATH: process.env.PATH!, HOME: home, TMPDIR: home, DOCKER_HOST: engine!.host, ...LOCAL, ...env },
        stdio: ["ignore", "pipe", "pipe"],
      }),
    );
    const [out, err] = await Promise.all([new Response(child.stdout).text(), new Response(child.stderr).text()]);
    expect({ code: await child.exited, err }).toEqual({ code: 0, err: "" });
    return JSON.parse(out);
  };
  const SEEN = {
    http: "hello\n",
    exec: ["copied\nb\n", 3],
    later: "later\n",
    neighbour: "hello\ndone\n",
    healthy: true,
    failed: expect.any(String),
  };
  const left = async () => [
    await engine!.ok("ps", "-a", "--format", "{{.Names}}"),
    await engine!.ok("network", "ls", "--filter", "type=custom", "-q"),
  ];

  test("without Ryuk: containers, a network, waiting, files, exec; what is stopped is gone", async () => {
    const seen = await run({ TESTCONTAINERS_RYUK_DISABLED: "true" });
    expect(seen).toEqual({ ...SEEN, restarted: "hello\n" });
    expect(await left()).toEqual(["", ""]);
  });

  describe("with Ryuk", () => {
    beforeAll(async () => {
      const root = join(home, "root");
      const copy = (from: string) => {
        mkdirSync(join(root, from, ".."), { recursive: true });
        copyFileSync(from, join(root, from));
      };
      // Bun and the libraries that it loads: a program that is here in any case.
      const libraries = Bun.spawnSync(["ldd", process.execPath]).stdout.toString().match(/\/\S+/g) ?? [];
      for (const library of libraries) copy(library);
      copyFileSync(process.execPath, join(root, "bun"));
      copyFileSync(join(import.meta.dir, "ryuk.ts"), join(root, "ryuk.ts"));
      mkdirSync(join(root, "tmp"));
      const tar = join(home, "ryuk.tar");
      Bun.spawnSync(["tar", "-C", root, "--numeric-owner", "--owner=0", "--group=0", "-cf", tar, "."]);
      await engine!.ok("import", "-c", 'ENTRYPOINT ["/bun", "/ryuk.ts"]', tar, RYUK);
    });

    test("what a run leaves is removed when its connection ends", async () => {
      const seen = await run({ TESTCONTAINERS_RYUK_RECONNECTION_TIMEOUT: "100ms" }, "leave");
      expect(seen).toEqual(SEEN);
      // Ryuk is the last to go.
      const ryuk = (await engine!.ok("ps", "-q", "--filter", "label=org.testcontainers.ryuk=true")).trim();
      if (ryuk) await engine!.inro(["wait", ryuk]);
      while ((await left()).join("") !== "");
    });
  });
});
