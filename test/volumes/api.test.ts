import { describe, expect, test } from "bun:test";
import { existsSync, mkdirSync, writeFileSync } from "node:fs";
import { join } from "node:path";
import type { Volume } from "../../src/spec/docker-api.ts";
import { engineForTests } from "../harness.ts";
import { missing } from "../isolation/container.ts";

const ANONYMOUS = { "com.docker.volume.anonymous": "" };

describe.skipIf(missing !== "")(`volumes: API and command line${missing}`, () => {
  const engine = missing ? undefined! : engineForTests();
  const json = async <T>(method: string, path: string, body?: unknown): Promise<{ status: number; body: T }> => {
    const response = await engine.api(method, path, body);
    const text = await response.text();
    return { status: response.status, body: text === "" ? (undefined as T) : JSON.parse(text) };
  };
  const message = async (method: string, path: string, body?: unknown) => {
    const answer = await json<{ message: string }>(method, path, body);
    return `${answer.status} ${answer.body.message}`;
  };
  const create = (body: object) => json<Volume>("POST", "/volumes/create", body);
  const names = async (filters: object) =>
    (
      await json<{ Volumes: Volume[] }>("GET", `/volumes?filters=${encodeURIComponent(JSON.stringify(filters))}`)
    ).body.Volumes.map(({ Name }) => Name);

  test("what is created is found again, and the same name again is the same volume", async () => {
    const { status, body } = await create({ Name: "first", Labels: { a: "1" } });
    expect(status).toBe(201);
    expect(body).toMatchObject({ Name: "first", Driver: "local", Scope: "local", Labels: { a: "1" }, Options: null });
    expect(body.Mountpoint).toBe(join(engine.dataRoot, "volumes/first/_data"));
    expect(existsSync(body.Mountpoint)).toBe(true);
    expect((await create({ Name: "first", Labels: { b: "2" } })).body).toEqual(body);
    expect((await json<Volume>("GET", "/volumes/first")).body).toEqual(body);
    const anonymous = (await create({ Labels: { a: "1" } })).body;
    expect(anonymous.Name).toMatch(/^[0-9a-f]{64}$/);
    expect(anonymous.Labels).toEqual({ a: "1", ...ANONYMOUS });
    expect((await engine.api("DELETE", `/volumes/${anonymous.Name}`)).status).toBe(204);
  });

  test("wrong requests are docker's errors, and leave nothing", async () => {
    const before = await names({});
    expect(await message("GET", "/volumes/none")).toBe("404 get none: no such volume");
    expect(await message("DELETE", "/volumes/none")).toBe("404 get none: no such volume");
    expect((await engine.api("DELETE", "/volumes/none?force=1")).status).toBe(204);
    expect(await message("PUT", "/volumes/first?version=1", {})).toStartWith("503 This node is not a swarm manager");
    const wrong: [object, string][] = [
      [{ Name: "a/b" }, '400 create a/b: "a/b" includes invalid characters for a local volume name'],
      [{ Name: "x" }, "400 create x: volume name is too short"],
      [{ Name: "ok", Driver: "other" }, "404 create ok: error looking up volume plugin other"],
      [{ Name: "ok", DriverOpts: { kind: "x" } }, '400 create ok: invalid option: "kind"'],
      [{ Name: "ok", DriverOpts: { type: "tmpfs" } }, '400 create ok: missing required option: "device"'],
      [{ Name: "ok", DriverOpts: { o: "size=1m", type: "tmpfs" } }, '400 create ok: missing required option: "device"'],
      [
        { Name: "ok", DriverOpts: { type: "tmpfs", device: "tmpfs", o: "shape=round" } },
        "400 create ok: invalid tmpfs option",
      ],
      [
        { Name: "ok", DriverOpts: { type: "none", device: "relative", o: "bind" } },
        "400 create ok: invalid mount path",
      ],
      [{ Name: "ok", DriverOpts: { size: "many" } }, "400 create ok: invalid size: 'many'"],
      [{ Name: "ok", DriverOpts: { size: "1g" } }, "501 create ok: quota size requested but no quota support"],
      [{ Name: "ok", Labels: { a: 1 } }, "400 invalid JSON: Labels.a"],
      [{ Name: 5 }, "400 invalid JSON: Name"],
      [{ Name: "ok", ClusterVolumeSpec: {} }, "501 cluster volumes"],
    ];
    for (const [body, start] of wrong) expect(await message("POST", "/volumes/create", body)).toStartWith(start);
    expect(await message("GET", '/volumes?filters={"colour":["red"]}')).toBe("400 invalid filter 'colour'");
    expect(await message("GET", '/volumes?filters={"dangling":["perhaps"]}')).toStartWith(
      "400 invalid filter 'dangling",
    );
    expect(await names({})).toEqual(before);
  });

  test("an existing name with other options is a conflict", async () => {
    const options = { type: "tmpfs", device: "tmpfs", o: "size=1m" };
    expect((await create({ Name: "memory", DriverOpts: options })).body.Options).toEqual(options);
    expect((await create({ Name: "memory", DriverOpts: options })).status).toBe(201);
    expect((await create({ Name: "memory" })).status).toBe(201);
    expect(await message("POST", "/volumes/create", { Name: "memory", DriverOpts: { size: "1g" } })).toStartWith(
      "409 a volume named memory exists already with other options",
    );
    await engine.ok("volume", "rm", "memory");
  });

  test("filters choose, and a volume in use stays", async () => {
    await create({ Name: "used", Labels: { tier: "data" } });
    await create({ Name: "spare-1" });
    const id = await engine.ok("create", "-v", "used:/data", "busybox", "true");
    expect(await names({ dangling: ["false"] })).toEqual(["used"]);
    expect(await names({ dangling: ["true"], name: ["spare"] })).toEqual(["spare-1"]);
    expect(await names({ label: ["tier=data"] })).toEqual(["used"]);
    expect(await names({ driver: ["other"] })).toEqual([]);
    expect(await message("DELETE", "/volumes/used")).toBe(`409 remove used: volume is in use - [${id}]`);
    expect(await message("DELETE", "/volumes/used?force=1")).toStartWith("409 ");
    await engine.ok("rm", id);
    await engine.ok("volume", "rm", "used", "spare-1");
  });

  test("prune takes anonymous volumes that nobody uses, all of them if asked, and says what that freed", async () => {
    const { Mountpoint, Name } = (await create({})).body;
    writeFileSync(join(Mountpoint, "file"), Buffer.alloc(5000));
    await create({ Name: "named", Labels: { keep: "" } });
    const pruned = await json("POST", "/volumes/prune");
    expect(pruned.body).toEqual({ VolumesDeleted: [Name], SpaceReclaimed: 5000 });
    const prune = (filters: object) =>
      json<{ VolumesDeleted: string[] }>("POST", `/volumes/prune?filters=${JSON.stringify(filters)}`);
    expect((await prune({ all: ["true"], "label!": ["keep"] })).body.VolumesDeleted).not.toContain("named");
    expect((await prune({ all: ["true"], label: ["keep"] })).body.VolumesDeleted).toEqual(["named"]);
    expect((await prune({ all: ["maybe"] })).status).toBe(400);
    // Before 1.42 named ones went too.
    await create({ Name: "old" });
    const old = await fetch("http://inro/v1.41/volumes/prune", { unix: engine.socket, method: "POST" });
    expect(((await old.json()) as { VolumesDeleted: string[] }).VolumesDeleted).toContain("old");
  });

  test("the command line", async () => {
    expect(await engine.ok("volume", "create", "--label", "a=1", "two")).toBe("two");
    expect(await engine.ok("volume", "create", "ten-10")).toBe("ten-10");
    expect(await engine.ok("volume", "create", "ten-9")).toBe("ten-9");
    expect(await engine.ok("volume", "ls")).toBe(
      "DRIVER    VOLUME NAME\nlocal     ten-9\nlocal     ten-10\nlocal     two",
    );
    expect(await engine.ok("volume", "ls", "-qf", "name=ten")).toBe("ten-9\nten-10");
    expect(await engine.ok("volume", "ls", "-f", "label=a", "--format", '{{.Name}} {{.Label "a"}} {{.Links}}')).toBe(
      "two 1 N/A",
    );
    expect(await engine.ok("volume", "inspect", "-f", "{{.Name}} {{.Scope}}", "two", "ten-9")).toBe(
      "two local\nten-9 local",
    );
    const missing = await engine.inro(["volume", "inspect", "none"]);
    expect([missing.code, missing.stdout, missing.stderr]).toEqual([
      1,
      "[]\n",
      "Error response from daemon: get none: no such volume\n",
    ]);
    const no = await engine.inro(["volume", "prune"], { stdin: "n\n" });
    expect(no.stdout).toBe(
      "WARNING! This will remove anonymous local volumes not used by at least one container.\nAre you sure you want to continue? [y/N] ",
    );
    expect(await engine.ok("volume", "prune", "-f")).toBe("Total reclaimed space: 0B");
    const yes = await engine.inro(["volume", "prune", "-a"], { stdin: "y\n" });
    expect(yes.stdout).toEndWith("Deleted Volumes:\nten-10\nten-9\ntwo\n\nTotal reclaimed space: 0B\n");
    const both = await engine.inro(["volume", "rm", "none", "nor-this"]);
    expect([both.code, both.stderr.split("\n").length]).toEqual([1, 3]);
    expect((await engine.inro(["volume", "update", "none"])).stderr).toContain("no such volume");
  });

  test("what a crash left of a volume being made is gone, what was recorded is in its place", async () => {
    const volumes = join(engine.dataRoot, "volumes");
    await engine.kill();
    mkdirSync(join(volumes, ".new-0123/_data"), { recursive: true });
    await engine.start();
    expect(existsSync(join(volumes, ".new-0123"))).toBe(false);
  });
});
