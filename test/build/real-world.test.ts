import { afterAll, beforeAll, describe, expect, setDefaultTimeout, test } from "bun:test";
import { join } from "node:path";
import { isRoot, TestEngine } from "../harness.ts";
import { debianPackages } from "../images/debian-packages.ts";
import { PROJECTS, writeProject } from "./real/project.ts";

setDefaultTimeout(300_000);

const docker = Bun.which("docker");
const made = !isRoot ? "needs root" : process.arch !== "x64" ? "made for amd64" : debianPackages();
const why = typeof made === "string" ? made : "";

const WAYS = [
  { name: "c", check: ["/usr/bin/answer", "--check"], user: "10001:10001" },
  { name: "node", check: ["node", "server.mjs", "--check"], user: "app" },
  { name: "python", check: ["answer", "--check"], user: "answer" },
] as const;

describe.skipIf(why !== "")(`Dockerfiles as projects have them${why && ` (${why})`}`, () => {
  const engine = new TestEngine();
  beforeAll(async () => {
    await engine.start();
    for (const name of PROJECTS) writeProject(name, project(name));
    const { debian, packages } = made as Exclude<typeof made, string>;
    await engine.ok("import", debian, "inro-test/debian:12");
    await engine.ok("import", packages, "inro-test/packages:12");
  });
  afterAll(() => engine.stop());

  const project = (name: string) => join(engine.dir, name);
  const flags = (name: string, version: string) => [
    ...["--network", "none", "--build-arg", `VERSION=${version}`, "-t", `answer-${name}-${version}`],
    project(name),
  ];

  /** Runs what was built, and has its own check ask it. */
  async function answer(name: string, version: string, check: readonly string[]): Promise<string> {
    const id = await engine.ok("run", "-d", "--network", "none", `answer-${name}-${version}`);
    const logs = engine.spawn(["logs", "-f", id]);
    let said = "";
    for await (const chunk of logs.stdout as ReadableStream<Uint8Array>) {
      said += Buffer.from(chunk).toString();
      if (said.includes("listening")) break;
    }
    logs.kill();
    await logs.exited;
    try {
      return await engine.ok("exec", id, ...check);
    } finally {
      await engine.ok("rm", "-f", id);
    }
  }

  for (const { name, check, user } of WAYS) {
    test(`${name}: inro build`, async () => {
      await engine.ok("build", "--progress", "plain", ...flags(name, "1.0"));
      expect(await answer(name, "1.0", check)).toBe(`${name} 1.0 uid 10001`);
      const { User, Healthcheck } = JSON.parse(
        await engine.ok("image", "inspect", "-f", "{{json .Config}}", `answer-${name}-1.0`),
      );
      expect({ User, interval: Healthcheck.Interval }).toEqual({ User: user, interval: 1_000_000_000 });
    });

    test.skipIf(!docker)(`${name}: docker build (needs docker's command line)`, async () => {
      const child = Bun.spawn([docker!, "--host", engine.host, "build", ...flags(name, "2.0")], {
        env: { ...process.env, DOCKER_BUILDKIT: "0", DOCKER_CONFIG: engine.dir },
        stdout: "pipe",
        stderr: "pipe",
      });
      const [stdout, stderr] = await Promise.all([
        new Response(child.stdout).text(),
        new Response(child.stderr).text(),
      ]);
      expect({ code: await child.exited, stderr }).toEqual({ code: 0, stderr: expect.any(String) });
      expect(stdout).toContain(`Successfully tagged answer-${name}-2.0:latest`);
      // The packages are those of the first build.
      expect(stdout).toContain("Using cache");
      expect(await answer(name, "2.0", check)).toBe(`${name} 2.0 uid 10001`);
    });
  }

  test("the last stage of the C project has the program alone", async () => {
    await engine.ok("build", "--quiet", ...flags("c", "1.0"));
    const layers = await engine.ok("image", "inspect", "-f", "{{len .RootFS.Layers}}", "answer-c-1.0");
    expect(layers).toBe("1");
    const id = await engine.ok("create", "answer-c-1.0");
    const tar = join(engine.dir, "answer.tar");
    await engine.ok("export", "-o", tar, id);
    await engine.ok("rm", id);
    const { stdout } = Bun.spawnSync(["tar", "-tf", tar, "--wildcards", "usr/*"]);
    expect(stdout.toString().split("\n").filter(Boolean)).toEqual(["usr/bin/", "usr/bin/answer"]);
  });
});
