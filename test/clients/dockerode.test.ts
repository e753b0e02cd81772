import { describe, expect, test } from "bun:test";
import { createRequire } from "node:module";
import { PassThrough, Readable } from "node:stream";
import { tarOf } from "../../src/images/testing/samples.ts";
import { engineForTests, hasBusybox, isRoot } from "../harness.ts";

/** Without types, which it does not have itself. */
const Docker = createRequire(import.meta.url)("dockerode");

const why = !isRoot ? "needs root" : !hasBusybox ? "no busybox-static" : "";
const engine = why ? undefined : engineForTests();

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

  test("lists, stats, top, files, changes, update, rename, events, prune", async () => {
    const container = await api.createContainer({
      Image: "busybox",
      name: "ode",
      Cmd: ["sh", "-c", "echo up; exec sleep 1000"],
      Labels: { a: "b" },
    });
    await container.start();
    const listed = await api.listContainers({ filters: JSON.stringify({ label: ["a=b"] }) });
    expect(listed).toMatchObject([{ Names: ["/ode"], State: "running", Image: "busybox" }]);
    expect(await container.stats({ stream: false })).toMatchObject({ name: "/ode", pids_stats: { current: 1 } });
    expect(await container.top()).toMatchObject({ Titles: expect.arrayContaining(["PID", "CMD"]) });
    await container.putArchive(Buffer.from(await tarOf({ made: "made\n" })), { path: "/tmp" });
    expect(await collect(await container.getArchive({ path: "/tmp/made" }))).toContain("made\n");
    expect(await container.changes()).toContainEqual({ Path: "/tmp/made", Kind: 1 });
    await container.update({ Memory: 64 << 20, MemorySwap: 128 << 20 });
    await container.rename({ name: "edo" });
    expect(await container.inspect()).toMatchObject({ Name: "/edo", HostConfig: { Memory: 64 << 20 } });
    await container.pause();
    await container.unpause();
    await container.resize({ h: 5, w: 5 });
    const waiting = container.wait();
    await container.stop({ t: 0 });
    expect(await waiting).toEqual({ StatusCode: 137 });
    const until = Math.floor(Date.now() / 1000) + 1;
    const events = await collect(await api.getEvents({ since: 1, until, filters: { container: [container.id] } }));
    const actions = events
      .trim()
      .split("\n")
      .map((line) => JSON.parse(line).Action);
    expect(actions).toEqual(expect.arrayContaining(["create", "start", "rename", "pause", "unpause", "die", "stop"]));
    expect((await api.pruneContainers()).ContainersDeleted).toEqual([container.id]);
  });

  test("images and volumes", async () => {
    const image = api.getImage("busybox");
    await image.tag({ repo: "ode", tag: "1" });
    expect(await image.history()).toHaveLength(1);
    expect((await image.inspect()).RepoTags).toEqual(expect.arrayContaining(["busybox:latest", "ode:1"]));
    const saved: Buffer[] = [];
    for await (const chunk of await api.getImage("ode:1").get()) saved.push(chunk as Buffer);
    expect(await api.getImage("ode:1").remove()).toEqual([{ Untagged: "ode:1" }]);
    expect(await collect(await api.loadImage(Readable.from(saved)))).toContain("Loaded image: ode:1");
    await api.getImage("ode:1").remove();
    const volume = await api.createVolume({ Name: "ode", Labels: { a: "b" } });
    expect(await volume.inspect()).toMatchObject({ Name: "ode", Driver: "local", Labels: { a: "b" } });
    expect((await api.listVolumes()).Volumes).toMatchObject([{ Name: "ode" }]);
    await volume.remove();
    const status = (error: { statusCode: number }) => error.statusCode;
    expect(await api.getVolume("ode").inspect().catch(status)).toBe(404);
    expect(await api.getImage("nope").inspect().catch(status)).toBe(404);
    expect(await api.createContainer({ Image: "nope" }).catch(status)).toBe(404);
    expect(await api.ping()).toBeDefined();
    expect((await api.df()).Images).toHaveLength(1);
  });
});
