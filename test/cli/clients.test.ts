import { afterAll, describe, expect, test } from "bun:test";
import { mkdtempSync, rmSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { PassThrough } from "node:stream";
// @ts-expect-error: it comes without types.
import Docker from "dockerode";
import { sha256 } from "../../src/base/digest.ts";
import { tarOf } from "../../src/images/testing/samples.ts";
import { DOCKER_REGISTRY, startRegistry } from "../../src/registry/testing/docker-registry.ts";
import { TestPusher } from "../../src/registry/testing/push.ts";
import { MEDIA } from "../../src/spec/oci-image.ts";
import { engineForTests, hasBusybox, isRoot } from "../harness.ts";

const why = !isRoot ? "needs root" : !hasBusybox ? "no busybox-static" : "";
const docker = Bun.which("docker");
const noDocker = why || (docker ? "" : "no docker command");
const engine = why ? undefined : engineForTests();

describe.skipIf(noDocker !== "")(`docker's own command line${noDocker && ` (${noDocker})`}`, () => {
  const config = mkdtempSync(join(tmpdir(), "inro-docker-"));
  afterAll(() => rmSync(config, { recursive: true }));
  const run = async (args: string[], stdin = "") => {
    const child = Bun.spawn([docker!, ...args], {
      env: { ...process.env, DOCKER_HOST: engine!.host, DOCKER_CONFIG: config, DOCKER_CONTEXT: "" },
      stdin: Buffer.from(stdin),
      stdout: "pipe",
      stderr: "pipe",
    });
    const [stdout, stderr] = await Promise.all([new Response(child.stdout).text(), new Response(child.stderr).text()]);
    return { code: await child.exited, stdout, stderr };
  };

  test("version and info", async () => {
    expect((await run(["version", "--format", "{{.Server.APIVersion}}"])).stdout).toBe("1.55\n");
    expect((await run(["info", "--format", "{{.OSType}} {{.Images}}"])).stdout).toBe("linux 1\n");
  });

  test("run: streams, stdin, status, --rm", async () => {
    expect(await run(["run", "--rm", "busybox", "sh", "-c", "echo o; echo e >&2; exit 3"])).toEqual({
      code: 3,
      stdout: "o\n",
      stderr: "e\n",
    });
    expect(await run(["run", "--rm", "-i", "busybox", "cat"], "through docker\n")).toEqual({
      code: 0,
      stdout: "through docker\n",
      stderr: "",
    });
    expect((await run(["run", "--rm", "busybox", "nope"])).code).toBe(127);
    expect((await run(["run", "--rm", "busybox", "/etc"])).code).toBe(126);
    expect((await run(["ps", "-aq"])).stdout).toBe("");
  });

  test("run -d, ps, inspect, logs, exec, top, stop, rm", async () => {
    const started = await run([
      "run",
      "-d",
      "--name",
      "dd",
      "--init",
      "busybox",
      "sh",
      "-c",
      "echo begun; exec sleep 1000",
    ]);
    expect(started).toMatchObject({ code: 0, stdout: expect.stringMatching(/^[0-9a-f]{64}\n$/) });
    expect((await run(["ps", "--format", "{{.Names}} {{.Image}} {{.State}}"])).stdout).toBe("dd busybox running\n");
    expect((await run(["inspect", "-f", "{{.Name}} {{.State.Status}} {{.HostConfig.Init}}", "dd"])).stdout).toBe(
      "/dd running true\n",
    );
    while ((await run(["logs", "dd"])).stdout !== "begun\n");
    expect(await run(["exec", "-i", "dd", "cat"], "in\n")).toMatchObject({ code: 0, stdout: "in\n" });
    expect((await run(["exec", "dd", "sh", "-c", "exit 9"])).code).toBe(9);
    expect((await run(["top", "dd"])).stdout).toContain("sleep 1000");
    expect(await run(["stop", "dd"])).toMatchObject({ code: 0, stdout: "dd\n" });
    expect((await run(["wait", "dd"])).stdout).toBe("143\n");
    expect(await run(["rm", "dd"])).toMatchObject({ code: 0, stdout: "dd\n" });
  });

  test.skipIf(!DOCKER_REGISTRY)("pull, images, tag, save, load, rmi", async () => {
    const registry = await startRegistry();
    try {
      const layer = await tarOf({ file: "x\n" });
      const image = {
        architecture: process.arch === "x64" ? "amd64" : "arm64",
        os: "linux",
        config: {},
        rootfs: { type: "layers", diff_ids: [sha256(layer)] },
      };
      await new TestPusher(registry.host, "small").image(image, [{ data: layer, mediaType: MEDIA.ociLayer }], "1");
      const name = `${registry.host}/small:1`;
      const pulled = await run(["pull", name]);
      expect(pulled).toMatchObject({ code: 0, stderr: "" });
      expect(pulled.stdout).toContain(`Status: Downloaded newer image for ${name}\n`);
      expect((await run(["pull", `${registry.host}/small:2`])).stderr).toMatch(/manifest .*unknown/);
      expect((await run(["tag", name, "small:local"])).code).toBe(0);
      expect((await run(["images", "--format", "{{.Repository}}:{{.Tag}}", "small"])).stdout).toBe("small:local\n");
      const archive = join(config, "small.tar");
      expect((await run(["save", "-o", archive, "small:local"])).code).toBe(0);
      expect((await run(["rmi", "small:local", name])).code).toBe(0);
      expect((await run(["load", "-i", archive])).stdout).toContain("Loaded image: small:local\n");
      expect((await run(["rmi", "small:local"])).stdout).toContain("Deleted: sha256:");
    } finally {
      await registry.stop();
    }
  });
});

describe.skipIf(why !== "")(`dockerode${why && ` (${why})`}`, () => {
  const api = new Docker({ socketPath: engine?.socket ?? "" });
  const collect = (stream: NodeJS.ReadableStream) =>
    new Promise<string>((resolve, reject) => {
      let text = "";
      stream.on("data", (chunk) => {
        text += chunk;
      });
      stream.on("end", () => resolve(text)).on("error", reject);
    });
  const apart = async (stream: NodeJS.ReadableStream) => {
    const [out, err] = [new PassThrough(), new PassThrough()];
    api.modem.demuxStream(stream, out, err);
    stream.on("end", () => {
      out.end();
      err.end();
    });
    const [stdout, stderr] = await Promise.all([collect(out), collect(err)]);
    return { stdout, stderr };
  };

  test("createContainer, attach with stdin, start, wait, logs, remove", async () => {
    const container = await api.createContainer({
      Image: "busybox",
      Cmd: ["sh", "-c", "read x; echo got $x; echo no >&2; exit 4"],
      OpenStdin: true,
      StdinOnce: true,
    });
    const stream = await container.attach({ stream: true, stdin: true, stdout: true, stderr: true, hijack: true });
    const output = apart(stream);
    await container.start();
    stream.write("dockerode\n");
    expect(await container.wait()).toMatchObject({ StatusCode: 4 });
    expect(await output).toEqual({ stdout: "got dockerode\n", stderr: "no\n" });
    const logs = (await container.logs({ stdout: true, stderr: true, follow: true })) as NodeJS.ReadableStream;
    expect(await apart(logs)).toEqual({ stdout: "got dockerode\n", stderr: "no\n" });
    expect((await container.inspect()).State).toMatchObject({ Status: "exited", ExitCode: 4 });
    await container.remove();
    expect(await container.inspect().catch((error: { statusCode: number }) => error.statusCode)).toBe(404);
  });

  test("exec with stdin and its half-close; a terminal is one raw stream", async () => {
    const container = await api.createContainer({ Image: "busybox", Cmd: ["sleep", "1000"] });
    await container.start();
    const exec = await container.exec({
      Cmd: ["sh", "-c", "cat; echo end; exit 6"],
      AttachStdin: true,
      AttachStdout: true,
      AttachStderr: true,
    });
    const stream = await exec.start({ hijack: true, stdin: true });
    const output = apart(stream);
    stream.end("half-closed\n");
    expect(await output).toEqual({ stdout: "half-closed\nend\n", stderr: "" });
    expect(await exec.inspect()).toMatchObject({ Running: false, ExitCode: 6 });
    const tty = await container.exec({
      Cmd: ["sh", "-c", "tty; echo x >&2"],
      AttachStdout: true,
      AttachStderr: true,
      Tty: true,
    });
    expect(await collect(await tty.start({ hijack: true, Tty: true }))).toBe("/dev/pts/0\r\nx\r\n");
    await container.remove({ force: true });
  });
});
