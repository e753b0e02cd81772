import { describe, expect, test } from "bun:test";
import { mkdirSync, mkdtempSync, readdirSync, readFileSync, writeFileSync } from "node:fs";
import { join } from "node:path";
import { startInroRegistry } from "../../src/registry/testing/inro-registry.ts";
import { engineForTests, hasBusybox, isRoot } from "../harness.ts";

/** Docker's plugins, by path: Debian has neither. */
function plugin(variable: string | undefined, name: string): string | undefined {
  const places = [
    "/usr/libexec/docker/cli-plugins",
    "/usr/lib/docker/cli-plugins",
    "/usr/local/lib/docker/cli-plugins",
  ];
  const found = places.map((place) => Bun.which(name, { PATH: place })).find((path) => path !== null);
  return variable ?? found ?? Bun.which(name.replace("docker-buildx", "buildx")) ?? undefined;
}

const buildx = plugin(process.env.INRO_TEST_BUILDX, "docker-buildx");
const compose = plugin(process.env.INRO_TEST_COMPOSE, "docker-compose");
const cannot = !isRoot ? "needs root" : hasBusybox ? "" : "no busybox-static";
const why = cannot || (buildx ? "" : "no docker buildx");

describe.skipIf(why !== "")(`docker buildx${why && ` (${why})`}`, () => {
  if (why) return;
  const engine = engineForTests();
  const write = (directory: string, files: Record<string, string>) => {
    for (const [name, text] of Object.entries(files)) {
      mkdirSync(join(directory, name, ".."), { recursive: true });
      writeFileSync(join(directory, name), text);
    }
    return directory;
  };
  const directory = (files: Record<string, string>) => write(mkdtempSync(join(engine.dir, "files-")), files);
  const run = async (program: string, args: string[], options: { cwd?: string; env?: Record<string, string> } = {}) => {
    const config = join(engine.dir, "config");
    mkdirSync(config, { recursive: true });
    const env = { PATH: process.env.PATH!, HOME: engine.dir, DOCKER_CONFIG: config, DOCKER_HOST: engine.host };
    const child = Bun.spawn([program, ...args], {
      cwd: options.cwd ?? engine.dir,
      env: { ...env, ...options.env },
      stdout: "pipe",
      stderr: "pipe",
    });
    const [stdout, stderr] = await Promise.all([new Response(child.stdout).text(), new Response(child.stderr).text()]);
    return { code: await child.exited, stdout, text: `${stdout}${stderr}` };
  };
  const build = (...args: string[]) => run(buildx!, ["build", "--progress", "plain", ...args]);
  const context = () =>
    directory({
      Dockerfile:
        "FROM busybox AS one\nARG SAY=hello\nCOPY f /f\nRUN echo $SAY > /said; cat /f\nFROM busybox\nCOPY --from=one /said /said\n",
      f: "content\n",
    });

  test("the builder, as it is listed", async () => {
    const { stdout } = await run(buildx!, ["inspect"]);
    expect(stdout).toMatch(/Driver: +docker\n/);
    expect(stdout).toMatch(/Status: +running\n/);
    expect(stdout).toContain("linux/");
  });

  test("an image: its progress, names, id and metadata", async () => {
    const [iid, metadata] = [join(engine.dir, "iid"), join(engine.dir, "metadata")];
    const args = ["-t", "bx:1", "-t", "bx:2", "--build-arg", "SAY=hi", "--label", "l=v", "--iidfile", iid];
    const { code, text } = await build(...args, "--metadata-file", metadata, context());
    expect(text).toContain("[one 3/3] RUN echo $SAY > /said; cat /f");
    expect(text).toMatch(/\d content\n/);
    expect(code).toBe(0);
    const [image] = JSON.parse(await engine.ok("image", "inspect", "bx:2"));
    expect(image.Config.Labels).toEqual({ l: "v" });
    expect(readFileSync(iid, "utf8")).toBe(image.Id);
    const said = JSON.parse(readFileSync(metadata, "utf8"));
    expect(said["containerimage.config.digest"]).toBe(image.Id);
    expect(said["image.name"]).toBe("docker.io/library/bx:1,docker.io/library/bx:2");
    expect(await engine.ok("run", "--rm", "bx:1", "cat", "/said")).toBe("hi");
  });

  test("outputs: a directory, tars, and archives of images", async () => {
    const from = context();
    const to = join(engine.dir, "out");
    expect((await build("-o", to, from)).code).toBe(0);
    expect(readFileSync(join(to, "said"), "utf8")).toBe("hello\n");
    expect(readdirSync(join(to, "bin"))).toContain("sh");
    for (const [type, member] of [
      ["tar", "said"],
      ["oci", "index.json"],
      ["docker", "manifest.json"],
    ] as const) {
      const file = join(engine.dir, `${type}.tar`);
      expect((await build("-t", `bx:${type}`, "-o", `type=${type},dest=${file}`, from)).code).toBe(0);
      expect(Bun.spawnSync(["tar", "tf", file]).stdout.toString().split("\n")).toContain(member);
    }
    expect(await engine.ok("load", "-i", join(engine.dir, "docker.tar"))).toContain("bx:docker");
  });

  test("named contexts, secrets, hosts, limits, a target, no cache", async () => {
    const other = directory({ o: "other\n", "a-secret": "five\n" });
    const dockerfile =
      "FROM base AS base2\nCOPY --from=oth o /o\nRUN --mount=type=secret,id=s wc -c < /run/secrets/s > /n; grep h.example /etc/hosts > /h; ulimit -n > /u\nFROM scratch\n";
    const { code } = await build(
      ...["--build-context", `oth=${other}`, "--build-context", "base=docker-image://busybox", "--target", "base2"],
      ...["--secret", `id=s,src=${join(other, "a-secret")}`, "--add-host", "h.example:1.2.3.4", "--no-cache"],
      ...["--ulimit", "nofile=256:256", "--shm-size", "64m", "-t", "bx:many"],
      directory({ Dockerfile: dockerfile }),
    );
    expect(code).toBe(0);
    expect(await engine.ok("run", "--rm", "bx:many", "cat", "/o", "/n", "/h", "/u")).toMatch(
      /^other\n5\n1\.2\.3\.4\s+h\.example\n256$/,
    );
  });

  test("what fails says where; nothing of it is left", async () => {
    const { code, text } = await build("-t", "bx:bad", directory({ Dockerfile: "FROM busybox\nRUN echo x; exit 7\n" }));
    expect(code).toBe(1);
    expect(text).toContain(">>> RUN echo x; exit 7");
    expect(text).toContain("exit code: 7");
    expect((await engine.inro(["image", "inspect", "bx:bad"])).code).not.toBe(0);
  });

  test("other looks at a Dockerfile", async () => {
    const options = { env: { BUILDX_EXPERIMENTAL: "1" } };
    const outline = await run(buildx!, ["build", "--print", "outline", context()], options);
    expect(outline.stdout).toMatch(/TARGET: +default/);
    const targets = await run(buildx!, ["build", "--print", "targets", context()], options);
    expect(targets.stdout).toMatch(/^one\b/m);
  });

  test("bake", async () => {
    const cwd = write(context(), {
      "docker-bake.json": JSON.stringify({
        group: { default: { targets: ["a", "b"] } },
        target: { a: { tags: ["bake-a:1"] }, b: { tags: ["bake-b:1"], target: "one" } },
      }),
    });
    expect((await run(buildx!, ["bake", "--progress", "plain"], { cwd })).code).toBe(0);
    expect(await engine.ok("run", "--rm", "bake-b:1", "cat", "/f")).toBe("content");
    expect(await engine.ok("image", "inspect", "--format", "{{len .RootFS.Layers}}", "bake-a:1")).toBe("2");
  });

  test("the cache: its use, and its removal", async () => {
    expect((await run(buildx!, ["du"])).stdout).toMatch(/Total:\s+\d/);
    const pruned = await run(buildx!, ["prune", "--all", "--force"]);
    expect(pruned.code).toBe(0);
    expect(pruned.stdout).toMatch(/Total:\s+[1-9]/);
    expect((await run(buildx!, ["du"])).stdout).toMatch(/Total:\s+0B/);
  });

  test("a cache at a registry", async () => {
    const registry = await startInroRegistry();
    try {
      const from = directory({ Dockerfile: "FROM busybox\nRUN echo ran it\n" });
      const option = `type=registry,ref=${registry.host}/cache:1`;
      expect((await build("--cache-to", `${option},mode=max`, from)).code).toBe(0);
      expect((await run(buildx!, ["prune", "--all", "--force"])).code).toBe(0);
      const again = await build("--cache-from", option, from);
      expect(again.code).toBe(0);
      expect(again.text).toContain(`importing cache manifest from ${registry.host}/cache:1`);
      expect(again.text).not.toMatch(/\d ran it\n/);
      // The image's own, which its pusher and its next builder know as type=registry.
      const image = `${registry.host}/inline:1`;
      expect((await build("--cache-to", "type=inline", "-t", image, from)).code).toBe(0);
      await engine.ok("push", image);
      await engine.ok("rmi", image);
      expect((await run(buildx!, ["prune", "--all", "--force"])).code).toBe(0);
      const inline = await build("--cache-from", image, from);
      expect([inline.code, inline.text]).toEqual([0, expect.not.stringMatching(/\d ran it\n/)]);
      const local = await build("--cache-to", `type=local,dest=${join(engine.dir, "cache")}`, from);
      expect([local.code, local.text]).toEqual([1, expect.stringContaining("type=local is for inro build")]);
    } finally {
      await registry.stop();
    }
  });

  test.skipIf(!compose)(`Compose builds and runs${compose ? "" : " (no docker compose)"}`, async () => {
    const service = { network_mode: "none", command: ["cat", "/said"] };
    const cwd = write(context(), {
      "compose.yaml": JSON.stringify({
        name: "composed",
        services: {
          web: { ...service, build: { context: ".", target: "one" }, image: "composed-web" },
          other: { ...service, build: { context: ".", args: { SAY: "bye" } } },
        },
      }),
    });
    const compose2 = (...args: string[]) => run(compose!, args, { cwd });
    expect((await compose2("build")).code).toBe(0);
    const up = await compose2("up", "--no-color");
    expect(up.text).toMatch(/web-1 +\| hello/);
    expect(up.text).toMatch(/other-1 +\| bye/);
    expect((await compose2("down", "--rmi", "local")).code).toBe(0);
    expect(await engine.ok("ps", "-aq")).toBe("");
  });
});
