import { describe, expect, test } from "bun:test";
import { tarOf } from "../../src/images/testing/samples.ts";
import { engineForTests, hasBusybox, isRoot } from "../harness.ts";

const why = !isRoot ? "needs root" : hasBusybox ? "" : "no busybox-static";

/** What docker's own integration tests expect of an engine, where it is in no other test here. */
describe.skipIf(why !== "")(`answers as docker's${why && ` (${why})`}`, async () => {
  if (why) return;
  const engine = engineForTests();
  const send = (method: string, path: string, body?: unknown) =>
    fetch(`http://inro${path}`, {
      method,
      unix: engine.socket,
      ...(body === undefined ? {} : { body: JSON.stringify(body), headers: { "Content-Type": "application/json" } }),
    });
  const call = async (method: string, path: string, body?: unknown) => {
    const response = await send(method, path, body);
    const text = await response.text();
    return { status: response.status, body: text === "" ? undefined : JSON.parse(text) };
  };
  const create = async (config: object) => {
    const { status, body } = await call("POST", "/containers/create", { Image: "busybox", Cmd: ["top"], ...config });
    expect(status).toBe(201);
    return body.Id as string;
  };
  const inspect = async (id: string) => (await call("GET", `/containers/${id}/json`)).body;

  test("create: a clean working directory, no tmpfs option among the mounts, annotations since 1.46", async () => {
    const id = await create({
      WorkingDir: "/tmp//x/../y/",
      Volumes: { "/foo": {}, "/bar": {} },
      HostConfig: {
        Tmpfs: { "/foo": "", "/bar/": "size=999" },
        Mounts: [{ Type: "tmpfs", Target: "/shown" }],
        Annotations: { key: "value" },
      },
    });
    const { Config, Mounts } = await inspect(id);
    expect(Config.WorkingDir).toBe("/tmp/y");
    expect(Mounts.map((mount: { Destination: string }) => mount.Destination)).toEqual(["/shown"]);
    const listed = async (version: string) => (await call("GET", `/v${version}/containers/json?all=1`)).body[0];
    expect((await listed("1.46")).HostConfig.Annotations).toEqual({ key: "value" });
    expect((await listed("1.45")).HostConfig.Annotations).toBeUndefined();
    await engine.ok("rm", "-v", id);
  });

  test("update: a limit of processes counts since 1.40", async () => {
    const id = await create({ HostConfig: { PidsLimit: 32 } });
    expect((await call("POST", `/v1.39/containers/${id}/update`, { PidsLimit: 16 })).status).toBe(200);
    expect((await inspect(id)).HostConfig.PidsLimit).toBe(32);
    expect((await call("POST", `/v1.40/containers/${id}/update`, { PidsLimit: 16 })).status).toBe(200);
    expect((await inspect(id)).HostConfig.PidsLimit).toBe(16);
    await engine.ok("rm", id);
  });

  test("exec: the start says what the stream is like; a user that is not there is told at once", async () => {
    const id = await create({});
    await engine.ok("start", id);
    for (const [terminal, raw] of [
      [true, true],
      [true, false],
      [false, true],
      [false, false],
    ]) {
      const exec = await call("POST", `/containers/${id}/exec`, {
        Cmd: ["echo", "said"],
        Tty: terminal,
        AttachStdout: true,
      });
      const output = await send("POST", `/exec/${exec.body.Id}/start`, { Tty: raw });
      const bytes = Buffer.from(await output.arrayBuffer());
      const line = terminal ? "said\r\n" : "said\n";
      const frame = Buffer.from([1, 0, 0, 0, 0, 0, 0, line.length]);
      expect(bytes.toString("latin1")).toBe((raw ? "" : frame.toString("latin1")) + line);
    }
    const refused = await call("POST", `/containers/${id}/exec`, { Cmd: ["id"], User: "no-such-user" });
    expect(refused).toEqual({
      status: 400,
      body: { message: "unable to find user no-such-user: no matching entries in passwd file" },
    });
    await engine.ok("rm", "-f", id);
  });

  test("networks: an id comes before a name that looks like it, and a slash at the end is none", async () => {
    const made = async (name: string) => (await call("POST", "/networks/create", { Name: name })).body.Id as string;
    const id = await made("first");
    const prefix = await made(id.slice(0, 12));
    const whole = await made(id);
    expect((await call("DELETE", `/networks/${id.slice(0, 12)}`)).status).toBe(204);
    expect((await call("DELETE", `/networks/${id}`)).status).toBe(204);
    const left = (await call("GET", "/networks/")).body.map((network: { Id: string }) => network.Id);
    expect([left.includes(id), left.includes(prefix), left.includes(whole)]).toEqual([false, false, true]);
    expect((await call("DELETE", `/networks/${whole}`)).status).toBe(204);
  });

  test("build: what is wrong with a Dockerfile is the answer's status; an image that was built is an event", async () => {
    const build = async (dockerfile: string) => {
      const body = await tarOf({ Dockerfile: dockerfile });
      const response = await fetch("http://inro/build", {
        method: "POST",
        unix: engine.socket,
        headers: { "Content-Type": "application/x-tar" },
        body: new Uint8Array(body),
      });
      return { status: response.status, text: await response.text() };
    };
    for (const empty of ["", "# a comment\n"]) {
      const { status, text } = await build(empty);
      expect([status, JSON.parse(text).message]).toEqual([400, expect.stringContaining("file with no instructions")]);
    }
    const since = Date.now() / 1000;
    const { status, text } = await build("FROM busybox\nLABEL a=b\n");
    const id = /sha256:[0-9a-f]{64}/.exec(text)?.[0];
    expect([status, typeof id]).toEqual([200, "string"]);
    const events = await engine.ok("events", "--since", String(since), "--until", "0s", "-f", "type=image");
    expect(events).toContain(`image create ${id}`);
    await engine.ok("rmi", id!);
  });

  test("the words: links, archives, sizes, names", async () => {
    const id = await create({ name: "words" });
    for (const [method, path, body, status, message] of [
      [
        "POST",
        "/containers/create",
        { Image: "busybox", Cmd: ["true"], HostConfig: { Links: ["none:x"] } },
        400,
        "could not get container for none: No such container: none",
      ],
      ["POST", "/containers/create", { Image: "busybox", Env: ["=foo"] }, 400, "invalid environment variable: =foo"],
      ["GET", `/containers/${id}/archive?path=/dne`, undefined, 404, `Could not find the file /dne in container ${id}`],
      ["POST", `/containers/${id}/resize?h=&w=1`, undefined, 400, 'invalid resize height "": invalid syntax'],
      ["POST", `/containers/${id}/resize?h=1&w=-1`, undefined, 400, 'invalid resize width "-1": value out of range'],
      ["POST", `/containers/${id}/resize?h=1&w=x`, undefined, 400, 'invalid resize width "x": invalid syntax'],
      [
        "POST",
        `/containers/${id}/rename?name=a:b`,
        undefined,
        400,
        "Invalid container name (a:b), only [a-zA-Z0-9][a-zA-Z0-9_.-] are allowed",
      ],
    ] as const) {
      const answer = await call(method, path, body);
      expect([path, answer.status, answer.body.message]).toEqual([path, status, expect.stringContaining(message)]);
    }
    await engine.ok("rm", id);
  });
});
