import { afterAll, beforeAll, describe, expect, test } from "bun:test";
import { randomUUID } from "node:crypto";
import { readdirSync } from "node:fs";
import type { ClientHttp2Session } from "node:http2";
import { join } from "node:path";
import { callOnce, openCall } from "../../src/api/buildkit/grpc.ts";
import { MessageReader, MessageWriter } from "../../src/api/buildkit/protobuf.ts";
import { readTar } from "../../src/archive/tar.ts";
import { engineForTests, hasBusybox, isRoot } from "../harness.ts";
import { control, FakeSession } from "./session.ts";

const why = !isRoot ? "needs root" : hasBusybox ? "" : "no busybox-static";
const CONTROL = "/moby.buildkit.v1.Control/";
const BRIDGE = "/moby.buildkit.v1.frontend.LLBBridge/";

describe.skipIf(why !== "")(`BuildKit's control API${why && ` (${why})`}`, () => {
  if (why) return;
  const engine = engineForTests();
  const socket = () => engine.host.replace("unix://", "");
  const steps = () => readdirSync(join(engine.dataRoot, "build/steps")).length;
  const { signal } = new AbortController();
  let http2: ClientHttp2Session;
  let leave = () => {};
  beforeAll(async () => {
    ({ http2, leave } = await control(socket()));
  });
  afterAll(() => leave());

  const map = (message: MessageWriter, field: number, entries: Record<string, string>) => {
    for (const [key, value] of Object.entries(entries)) {
      message.message(field, new MessageWriter().text(1, key).text(2, value).finish());
    }
  };
  /** A build as buildx does it: the control call, and the frontend's in it. */
  const build = async (
    session: FakeSession,
    options: Record<string, string> = {},
    exporter: { type?: string; attributes?: Record<string, string> } = {},
  ) => {
    const ref = randomUUID();
    const request = new MessageWriter().text(1, ref).text(3, exporter.type ?? "moby");
    map(request, 4, exporter.attributes ?? {});
    const solved = callOnce(http2, `${CONTROL}Solve`, request.text(5, session.id).finish(), signal);
    solved.catch(() => {});
    const metadata = { "buildkit-controlapi-buildid": ref };
    const names: string[] = [];
    const logs: string[] = [];
    const status = (async () => {
      const stream = openCall(http2, `${CONTROL}Status`, {}, signal);
      await stream.send(new MessageWriter().text(1, ref).finish());
      stream.end();
      for await (const message of stream.messages()) {
        const event = new MessageReader(message);
        for (const one of event.all(1)) names.push(new MessageReader(one).text(3));
        for (const one of event.all(3)) logs.push(new MessageReader(one).text(4));
      }
    })();
    const inner = new MessageWriter().text(2, "dockerfile.v0");
    map(inner, 3, options);
    const back = new MessageWriter();
    let result: MessageReader | undefined;
    try {
      const answer = await callOnce(http2, `${BRIDGE}Solve`, inner.finish(), signal, metadata);
      result = new MessageReader(answer).message(3)!;
      const id = result.message(3)!.text(1);
      const reference = new MessageWriter().message(3, new MessageWriter().text(1, id).finish());
      back.message(1, reference.finish());
    } catch (error) {
      back.message(
        2,
        new MessageWriter()
          .uint(1, 2)
          .text(2, (error as Error).message)
          .finish(),
      );
    }
    await callOnce(http2, `${BRIDGE}Return`, back.finish(), signal, metadata);
    const outcome = await solved.then(
      (answer) => ({ exported: new MessageReader(answer).map(1), error: "" }),
      (error: Error) => ({ exported: new Map<string, string>(), error: error.message }),
    );
    await status;
    return { ...outcome, names, logs: logs.join(""), result };
  };
  const DOCKERFILE =
    "FROM busybox AS one\nCOPY f /f\nRUN echo said > /said && echo out\nFROM scratch\nCOPY --from=one /said /f /d/\nCOPY --from=one /bin/sh /d/sh\n";
  const session = (text: string, takes: "file" | "directory" = "file") =>
    FakeSession.open(socket(), { dockerfile: { Dockerfile: text }, context: { f: "content\n" } }, takes);

  test("workers, versions and capabilities", async () => {
    const workers = new MessageReader(await callOnce(http2, `${CONTROL}ListWorkers`, new Uint8Array(), signal));
    const worker = workers.message(1)!;
    expect(worker.map(2).get("org.mobyproject.buildkit.worker.executor")).toBe("inro");
    expect(worker.message(3)!.text(2)).toBe("linux");
    const info = new MessageReader(await callOnce(http2, `${CONTROL}Info`, new Uint8Array(), signal));
    expect(info.message(1)!.text(1)).toBe("inro");
    const health = await callOnce(http2, "/grpc.health.v1.Health/Check", new Uint8Array(), signal);
    expect(new MessageReader(health).uint(1)).toBe(1);
  });

  test("an image of the engine, its progress, its names", async () => {
    const client = await session(DOCKERFILE);
    const built = await build(client, { "label:l": "v" }, { attributes: { name: "control:1,control:2" } });
    client.close();
    expect(built.error).toBe("");
    expect(built.names).toContain("[one 3/3] RUN echo said > /said && echo out");
    expect(built.logs).toContain("out\n");
    expect(built.exported.get("image.name")).toBe("docker.io/library/control:1,docker.io/library/control:2");
    const [image] = JSON.parse(await engine.ok("image", "inspect", "control:2"));
    expect(image.Id).toBe(built.exported.get("containerimage.config.digest"));
    expect(image.Config.Labels).toEqual({ l: "v" });
    expect(built.result!.map(10).get("containerimage.config")).toContain('"rootfs"');
  });

  test("files of the result are the client's, in a directory or a tar", async () => {
    const client = await session(DOCKERFILE, "directory");
    const built = await build(client, {}, { type: "local" });
    client.close();
    expect(built.error).toBe("");
    const { sh, ...files } = Object.fromEntries(
      [...client.files].map(([path, text]) => [path.replace(/^d\//, ""), text]),
    );
    expect(files).toEqual({ d: "/", f: "content\n", said: "said\n" });
    expect(sh!.length).toBeGreaterThan(0);
    const other = await session(DOCKERFILE);
    expect((await build(other, {}, { type: "tar" })).error).toBe("");
    other.close();
    const [{ data } = { data: Buffer.alloc(0) }] = other.received;
    const names: string[] = [];
    for await (const { name } of readTar([data])) names.push(name);
    expect(names).toEqual(["d/", "d/f", "d/said", "d/sh"]);
  });

  test("a target's other looks", async () => {
    const client = await session("# one says it\nFROM busybox AS one\nARG A=b\nRUN --mount=type=secret,id=s true\n");
    const look = async (name: string) => {
      const { result } = await build(client, { requestid: `frontend.${name}` }, { type: "" });
      return JSON.parse(result!.map(10).get("result.json")!);
    };
    expect(await look("outline")).toEqual({
      name: "one",
      description: "says it",
      args: [{ name: "A", value: "b" }],
      secrets: [{ name: "s" }],
    });
    expect((await look("targets")).targets).toEqual([
      { name: "one", default: true, description: "says it", base: "busybox" },
    ]);
    expect((await look("lint")).warnings).toEqual([]);
    client.close();
  });

  test("what fails says where, and leaves no image", async () => {
    const client = await session("FROM busybox\nRUN echo before; exit 3\n");
    const built = await build(client, {}, { attributes: { name: "control:failed" } });
    client.close();
    expect(built.error).toContain(">>> RUN echo before; exit 3");
    expect(built.error).toContain("exit code: 3");
    expect((await engine.inro(["image", "inspect", "control:failed"])).code).not.toBe(0);
  });

  test("a client that leaves ends its build", async () => {
    const client = await session("FROM busybox\nRUN echo started; sleep 1000\n");
    const own = await control(socket());
    const request = new MessageWriter().text(1, randomUUID()).text(5, client.id).text(6, "dockerfile.v0").finish();
    const solved = callOnce(own.http2, `${CONTROL}Solve`, request, signal).catch((error: Error) => error.message);
    while (steps() === 0) await new Promise(setImmediate);
    own.leave();
    await solved;
    // The step's directory goes when its processes have: this ends, or the test's time does.
    while (steps() > 0) await new Promise(setImmediate);
    client.close();
  });

  test("what a build keeps, and its removal", async () => {
    const usage = new MessageReader(await callOnce(http2, `${CONTROL}DiskUsage`, new Uint8Array(), signal));
    const records = usage.all(1).map((record) => new MessageReader(record));
    expect(records.map((record) => record.text(9))).toContain("[one 3/3] RUN echo said > /said && echo out");
    const gone: string[] = [];
    const stream = openCall(http2, `${CONTROL}Prune`, {}, signal);
    await stream.send(new MessageWriter().bool(2, true).finish());
    stream.end();
    for await (const message of stream.messages()) gone.push(new MessageReader(message).text(1));
    expect(gone.sort()).toEqual(records.map((record) => record.text(1)).sort());
  });

  test("what is wrong is said", async () => {
    expect((await engine.api("POST", "/grpc")).status).toBe(400);
    const fails = (method: string, message: MessageWriter, metadata = {}) =>
      callOnce(http2, method, message.finish(), signal, metadata).then(
        () => "",
        (error: Error) => error.message,
      );
    expect(await fails("/a.b/C", new MessageWriter())).toContain("is not supported");
    // Cut in the middle of a character, and longer than a header when it is escaped.
    expect(await fails(`/${"a".repeat(198)}\u{1f600}`, new MessageWriter())).toContain("is not supported");
    const long = new MessageWriter().text(1, "long").text(6, "dockerfile.v0").text(9, "\u00e9".repeat(90_000));
    expect(await fails(`${CONTROL}Solve`, long)).toContain("invalid entitlement");
    expect(await fails(`${CONTROL}Solve`, new MessageWriter().text(1, "../x").text(6, "dockerfile.v0"))).toContain(
      "needs a name",
    );
    const llb = new MessageWriter().text(1, "x").message(2, Buffer.from([10, 0]));
    expect(await fails(`${CONTROL}Solve`, llb)).toContain("LLB");
    const other = new MessageWriter().text(1, "y").text(5, "none").text(6, "gateway.v0");
    expect(await fails(`${CONTROL}Solve`, other)).toContain("gateway.v0 is not supported");
    const rights = new MessageWriter().text(1, "z").text(6, "dockerfile.v0").text(9, "device");
    expect(await fails(`${CONTROL}Solve`, rights)).toContain("invalid entitlement");
  });
});
