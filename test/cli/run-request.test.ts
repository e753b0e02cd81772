import { describe, expect, test } from "bun:test";
import { isStatus } from "../../src/client/api-error.ts";
import { parseEndpoint } from "../../src/client/endpoint.ts";
import { Engine } from "../../src/client/engine.ts";
import { RunStream } from "../../src/client/run-stream.ts";
import type { Hijacked } from "../../src/client/transport.ts";
import type { CreateRequest } from "../../src/spec/docker-api.ts";
import { engineForTests, hasBusybox, isRoot } from "../harness.ts";

const why = !isRoot ? "needs root" : !hasBusybox ? "no busybox-static" : "";

describe.skipIf(why !== "")(`POST /inro/run${why && ` (${why})`}`, async () => {
  if (why) return;
  const server = engineForTests();
  const engine = new Engine({ endpoint: parseEndpoint(server.host) });

  const open = async (script: string, more: Partial<CreateRequest> = {}, query = {}) => {
    const connection = await engine.runContainer(
      {
        Image: "busybox",
        Cmd: ["sh", "-c", script],
        AttachStdout: true,
        AttachStderr: true,
        HostConfig: { AutoRemove: true },
        ...more,
      },
      query,
    );
    if (!connection) throw new Error("the engine does not know the request");
    return connection;
  };
  const stdin = { AttachStdin: true, OpenStdin: true, StdinOnce: true };

  /** Reads to the connection's end, or until `enough`. */
  const read = async (connection: Hijacked, enough: (stream: RunStream, text: string) => boolean = () => false) => {
    const stream = new RunStream(() => {});
    const text = { stdout: "", stderr: "" };
    for (let chunk = await connection.read(); chunk; chunk = await connection.read()) {
      for (const { stream: name, data } of stream.push(chunk)) text[name] += Buffer.from(data).toString();
      if (enough(stream, text.stdout)) break;
    }
    return { ...text, created: stream.created, failed: stream.failed, exited: stream.exited };
  };
  const gone = async (id: string) =>
    isStatus(await engine.inspectContainer(id).catch((error: unknown) => error), 404) ? "gone" : "there";

  test("both streams, the status, and the container is removed before the client hears of it", async () => {
    const { created, ...rest } = await read(await open("echo out; echo err >&2; exit 7"));
    expect(rest).toEqual({ stdout: "out\n", stderr: "err\n", failed: undefined, exited: { StatusCode: 7 } });
    expect(await gone(created!.Id)).toBe("gone");
  });

  test("without AutoRemove it stays, with its status", async () => {
    const { created, exited } = await read(await open("exit 3", { HostConfig: {} }, { name: "stays" }));
    expect(exited?.StatusCode).toBe(3);
    const { Id, State } = await engine.inspectContainer("stays");
    expect({ Id, code: State.ExitCode }).toEqual({ Id: created!.Id, code: 3 });
    await engine.removeContainer("stays");
  });

  test("stdin, and its end while the output goes on", async () => {
    const connection = await open("cat; echo end", stdin);
    await connection.write(Buffer.from("typed\n"));
    connection.end();
    expect(await read(connection)).toMatchObject({ stdout: "typed\nend\n", exited: { StatusCode: 0 } });
  });

  test("a refused create is an answer with its status, and leaves nothing", async () => {
    const refused = (more: Partial<CreateRequest>, query = {}) =>
      open("true", more, query).then(
        () => "ran",
        (error: { status: number; message: string }) => `${error.status} ${error.message}`,
      );
    expect(await refused({ Image: "nowhere" })).toBe("404 No such image: nowhere:latest");
    expect(await refused({ HostConfig: { Memory: 1 } })).toStartWith("400 ");
    expect(await refused({}, { detachKeys: "ctrl-1" })).toStartWith("400 invalid detach keys");
    expect(await server.ok("ps", "-aq")).toBe("");
    const plain = await server.api("POST", "/inro/run", { Image: "busybox" });
    expect([plain.status, await server.ok("ps", "-aq")]).toEqual([400, ""]);
  });

  test.each([
    ["/etc/passwd", 126],
    ["/nope", 127],
  ] as const)("a start of %s fails with %d, and leaves nothing", async (path, exitCode) => {
    const { created, failed, exited } = await read(await open("", { Cmd: [path] }));
    expect({ exitCode: failed?.exitCode, exited }).toEqual({ exitCode, exited: undefined });
    expect(failed?.message).toContain(path);
    expect(await gone(created!.Id)).toBe("gone");
  });

  test("the detach keys end the stream without a word, and the process goes on", async () => {
    const connection = await open("cat", { ...stdin, Tty: true }, { name: "detached", detachKeys: "x,y" });
    await connection.write(Buffer.from("xy"));
    expect(await read(connection)).toMatchObject({ failed: undefined, exited: undefined });
    expect((await engine.inspectContainer("detached")).State.Running).toBe(true);
    await engine.removeContainer("detached", { force: true });
  });

  test("a client that vanishes ends the process's stdin, and leaves nothing", async () => {
    const connection = await open("echo ready; cat", stdin);
    const { created } = await read(connection, (_, text) => text.includes("ready"));
    const removed = await engine.waitContainer(created!.Id, "removed");
    connection.close();
    await removed.result;
    expect(await gone(created!.Id)).toBe("gone");
  });

  test("a client that vanishes while the process writes does not hold it back", async () => {
    const connection = await open("echo ready; head -c 8000000 /dev/zero");
    const { created } = await read(connection, (_, text) => text.includes("ready"));
    const removed = await engine.waitContainer(created!.Id, "removed").catch((error: unknown) => error);
    connection.close();
    if (!(removed instanceof Error)) await (removed as { result: Promise<unknown> }).result;
    expect(await gone(created!.Id)).toBe("gone");
  });

  test("a large output arrives whole", async () => {
    const size = 64 << 20;
    const child = server.spawn(["run", "--rm", "busybox", "sh", "-c", `head -c ${size} /dev/zero; exit 5`]);
    let arrived = 0;
    for await (const chunk of child.stdout as unknown as AsyncIterable<Uint8Array>) arrived += chunk.length;
    expect([arrived, await child.exited]).toEqual([size, 5]);
  });
});
