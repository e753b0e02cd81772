import { afterAll, beforeAll, describe, expect, setDefaultTimeout, test } from "bun:test";
import { mkdirSync, mkdtempSync, rmSync, writeFileSync } from "node:fs";
import { createServer, type Server } from "node:http";
import type { AddressInfo } from "node:net";
import { tmpdir } from "node:os";
import { join } from "node:path";
import Docker from "dockerode";
import { hasBusybox, isRoot, TestEngine } from "../harness.ts";

setDefaultTimeout(60_000);

const docker = Bun.which("docker");

/** The classic protocol, by clients that speak nothing else. */
describe.skipIf(!isRoot || !hasBusybox)("POST /build (needs root and busybox-static)", () => {
  const engine = new TestEngine();
  const top = mkdtempSync(join(tmpdir(), "inro-classic-"));
  const context = join(top, "context");
  beforeAll(async () => {
    await engine.start();
    await engine.busybox();
    mkdirSync(context);
    writeFileSync(
      join(context, "Dockerfile"),
      "FROM busybox\nARG WORD=none\nLABEL a=b\nCOPY f /f\nRUN cat /f && echo $WORD > /word\n",
    );
    writeFileSync(join(context, "f"), "from the context\n");
    writeFileSync(join(context, "secret.txt"), "not for the image");
    writeFileSync(join(context, ".dockerignore"), "secret.txt\n");
  });
  afterAll(async () => {
    await engine.stop();
    rmSync(top, { recursive: true, force: true });
  });

  const cli = async (args: string[], stdin: string | undefined = undefined) => {
    const child = Bun.spawn([docker!, "--host", engine.host, ...args], {
      env: { ...process.env, DOCKER_BUILDKIT: "0", DOCKER_CONFIG: top },
      stdin: stdin === undefined ? "ignore" : Buffer.from(stdin),
      stdout: "pipe",
      stderr: "pipe",
    });
    const [stdout, stderr] = await Promise.all([new Response(child.stdout).text(), new Response(child.stderr).text()]);
    return { code: await child.exited, stdout, stderr };
  };

  test.skipIf(!docker)("docker build (needs docker's command line)", async () => {
    const first = await cli(["build", "-t", "classic", "--build-arg", "WORD=given", "--label", "c=d", context]);
    expect(first.code).toBe(0);
    const lines = first.stdout.split("\n");
    expect(lines).toContain("Step 1/5 : FROM busybox");
    expect(lines).toContain("Step 5/5 : RUN cat /f && echo $WORD > /word");
    expect(lines).toContain("from the context");
    expect(first.stdout).toMatch(/\nSuccessfully built [0-9a-f]{12}\nSuccessfully tagged classic:latest\n$/);
    expect(first.stdout).not.toContain("Using cache");
    expect(await engine.ok("run", "--rm", "classic", "cat", "/word")).toBe("given");
    const labels = await engine.ok("inspect", "-f", "{{json .Config.Labels}}", "classic");
    expect(JSON.parse(labels)).toEqual({ a: "b", c: "d" });
    const again = await cli(["build", "-t", "classic", "--build-arg", "WORD=given", context]);
    expect(again.stdout.match(/ ---> Using cache/g)).toHaveLength(2);
    const quiet = await cli(["build", "-q", context]);
    expect(quiet.stdout).toMatch(/^sha256:[0-9a-f]{64}\n$/);
    const failed = await cli(["build", "-"], "FROM busybox\nRUN exit 4\n");
    expect([failed.code, failed.stderr]).toEqual([
      4,
      expect.stringContaining("The command '/bin/sh -c exit 4' returned a non-zero code: 4"),
    ]);
  });

  test("dockerode", async () => {
    const client = new Docker({ socketPath: engine.socket });
    const stream = await client.buildImage(
      { context, src: ["Dockerfile", "f"] },
      { t: "dockerode", buildargs: { WORD: "x" } },
    );
    const messages = await new Promise<{ stream?: string; aux?: { ID: string } }[]>((resolve, reject) => {
      client.modem.followProgress(stream, (error, result) => (error ? reject(error) : resolve(result)));
    });
    const id = messages.find(({ aux }) => aux)?.aux?.ID;
    expect(id).toMatch(/^sha256:/);
    expect((await client.getImage("dockerode").inspect()).Id).toBe(id!);
  });

  test("what the context's ignore file names is not in it, and parameters are checked", async () => {
    const { stdout: tar } = Bun.spawnSync(["tar", "c", "-C", context, "."]);
    const post = (query: string, body = tar) =>
      engine.api("POST", `/build?${query}`, body, { "Content-Type": "application/x-tar" });
    const text = "FROM busybox\nCOPY . /all\nRUN ls -a /all\n";
    writeFileSync(join(top, "Other"), text);
    const packed = Bun.spawnSync(["tar", "c", "-C", context, ".", "-C", top, "Other"]).stdout;
    const answer = await (await post("dockerfile=Other&nocache=1", packed)).text();
    expect(answer).toContain("Successfully built");
    expect(answer).not.toContain("secret.txt");
    for (const [query, status, message] of [
      ["t=UPPER", 400, "must be lowercase"],
      ["buildargs=nothing", 400, "buildargs"],
      ["networkmode=container:x", 400, "network mode"],
      ["squash=1", 501, "squash"],
    ] as const) {
      const refused = await post(query);
      expect([refused.status, await refused.text()]).toEqual([status, expect.stringContaining(message)]);
    }
    const missing = await post("dockerfile=none");
    expect(await missing.text()).toContain("Cannot locate specified Dockerfile: none");
  });

  describe("remote contexts", () => {
    let server: Server;
    let url = "";
    beforeAll(async () => {
      const { stdout: tar } = Bun.spawnSync(["tar", "cz", "-C", context, "."]);
      server = createServer((request, response) => {
        if (request.url === "/context.tar.gz") response.end(tar);
        else if (request.url === "/Dockerfile") response.end("FROM busybox\nENV A=remote\n");
        else response.writeHead(404).end();
      });
      await new Promise<void>((resolve) => server.listen(0, "127.0.0.1", resolve));
      url = `http://127.0.0.1:${(server.address() as AddressInfo).port}`;
    });
    afterAll(() => server.close());

    test("a tar, a Dockerfile, nothing", async () => {
      const built = await (await engine.api("POST", `/build?t=remote&remote=${url}/context.tar.gz`)).text();
      expect(built).toContain("Successfully tagged remote:latest");
      expect(await engine.ok("run", "--rm", "remote", "cat", "/f")).toBe("from the context");
      const alone = await engine.inro(["build", "-q", "-t", "alone", `${url}/Dockerfile`]);
      expect(alone.code).toBe(0);
      expect(await engine.ok("inspect", "-f", "{{json .Config.Env}}", "alone")).toContain("A=remote");
      const nothing = await engine.inro(["build", "-q", `${url}/nothing`]);
      expect(nothing.code).toBe(1);
    });

    test.skipIf(!Bun.which("git"))("a git repository (needs git)", async () => {
      const repository = join(top, "repository.git");
      const git = (...args: string[]) =>
        Bun.spawnSync(["git", "-C", repository, "-c", "user.name=a", "-c", "user.email=a@b", ...args]);
      mkdirSync(repository);
      git("init", "-q", "-b", "main");
      writeFileSync(join(repository, "Dockerfile"), "FROM busybox\nCOPY g /g\n");
      writeFileSync(join(repository, "g"), "from git");
      git("add", ".");
      git("commit", "-q", "-m", "all");
      git("update-server-info");
      const served = createServer((request, response) => {
        const path = join(
          repository,
          ".git",
          new URL(request.url!, "http://x").pathname.replace("/repository.git/", ""),
        );
        const file = Bun.file(path);
        file.bytes().then(
          (bytes) => response.end(bytes),
          () => response.writeHead(404).end(),
        );
      });
      await new Promise<void>((resolve) => served.listen(0, "127.0.0.1", resolve));
      try {
        const reference = `http://127.0.0.1:${(served.address() as AddressInfo).port}/repository.git#main`;
        const built = await engine.inro(["build", "--progress", "plain", "-t", "git", reference]);
        expect(built).toMatchObject({ code: 0 });
        expect(await engine.ok("run", "--rm", "git", "cat", "/g")).toBe("from git");
      } finally {
        served.close();
      }
    });
  });

  test("cache mounts outlive a build, and go by prune", async () => {
    const build = async (command: string) => {
      const text = `FROM busybox\nRUN --mount=type=cache,target=/c ${command}\n`;
      return await engine.inro(["build", "--progress", "plain", "-t", "cached", "-"], { stdin: text });
    };
    expect(await build("echo kept > /c/x")).toMatchObject({ code: 0 });
    expect((await build("cat /c/x > /seen")).code).toBe(0);
    expect(await engine.ok("run", "--rm", "cached", "cat", "/seen")).toBe("kept");
    expect(await engine.ok("builder", "du", "--filter", "type=exec.cachemount", "--verbose")).toContain("/c");
    expect(await engine.ok("builder", "prune", "-af")).toContain("Total reclaimed space:");
    expect(await engine.ok("builder", "du")).toContain("Total:\t\t0B");
  });
});
