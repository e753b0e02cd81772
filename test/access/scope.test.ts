import { afterAll, beforeAll, describe, expect, test } from "bun:test";
import { existsSync, mkdirSync, renameSync, rmSync, symlinkSync, writeFileSync } from "node:fs";
import { connect } from "node:net";
import { join } from "node:path";
import { routePatterns } from "../../src/api/router.ts";
import { command, hasBusybox, isRoot, TestEngine, temporary } from "../harness.ts";

const DOCKER = Bun.which("docker");
const PYTHON = existsSync("/usr/bin/python3");
const why = !isRoot ? "needs root" : !hasBusybox ? "no busybox-static" : "";

// What a container, an IDE or a CI job could try that got one of these sockets instead of the engine's own.
describe.skipIf(why !== "")(`sockets with limited rights${why && ` (${why})`}`, () => {
  const dir = temporary();
  const share = join(dir, "share");
  const sockets = {
    team: `allow=all,label=team=a,image=busybox,mount=${share},capability=NET_ADMIN,memory=64m,cpus=1,pids=50`,
    read: "allow=read-only",
    other: "allow=all,label=stage=prod",
    restart: "allow=POST /containers/{id}/restart,label=team=a",
    labelled: "allow=all,label=team=a",
    plain: "allow=containers,allow=exec,allow=images",
  };
  type Socket = keyof typeof sockets;
  let engine: TestEngine;
  /** Containers of others: an unlabelled one, and the team's that are more than its socket could make. */
  const ids: Record<string, string> = {};

  beforeAll(async () => {
    mkdirSync(share);
    const flags = Object.entries(sockets).flatMap(([name, rights]) => [
      "--socket",
      `path=${join(dir, name)},${rights}`,
    ]);
    engine = await new TestEngine(flags).start();
    await engine.busybox();
    await engine.ok("volume", "create", "others");
    ids.others = await engine.ok("run", "-d", "--name", "others", "-v", "others:/data", "busybox", "sleep", "1000");
    const team = ["run", "-d", "--label", "team=a", "--name"];
    ids.own = await engine.ok(...team, "own", "busybox", "sleep", "1000");
    ids.privileged = await engine.ok(...team, "mighty", "--privileged", "busybox", "sleep", "1000");
    ids.mounted = await engine.ok(...team, "mounted", "-v", "/etc:/host", "busybox", "sleep", "1000");
    ids.joined = await engine.ok(...team, "joined", "--pid", "container:mighty", "busybox", "sleep", "1000");
  });
  afterAll(async () => {
    await engine.stop();
    rmSync(dir, { recursive: true });
  });

  const call = async (socket: Socket, method: string, path: string, body?: unknown) => {
    const answer = await fetch(`http://inro${path}`, {
      unix: join(dir, socket),
      method,
      ...(body === undefined ? {} : { body: JSON.stringify(body), headers: { "Content-Type": "application/json" } }),
    });
    const text = await answer.text();
    return { status: answer.status, text };
  };
  const status = async (...args: Parameters<typeof call>) => (await call(...args)).status;
  const create = (body: object, name = "", socket: Socket = "team") =>
    call(socket, "POST", `/containers/create${name && `?name=${name}`}`, { Image: "busybox", Cmd: ["true"], ...body });
  const idOf = ({ text, status }: { text: string; status: number }) => {
    expect([status, text]).toEqual([201, expect.stringContaining('"Id"')]);
    return (JSON.parse(text) as { Id: string }).Id;
  };
  /** Bytes as they are, on a connection of their own; the answer's bytes until the engine closes or `until` is there. */
  const raw = (socket: Socket, text: string, until?: string) =>
    new Promise<string>((resolve, reject) => {
      let answer = "";
      const connection = connect(join(dir, socket));
      connection.on("data", (data) => {
        answer += data.toString("latin1");
        if (until && answer.includes(until)) connection.destroy();
      });
      connection.on("error", reject);
      connection.on("close", () => resolve(answer));
      connection.write(text);
    });

  test("the docker command runs, execs, lists and removes what is its own", async () => {
    const env = { INRO_HOST: `unix://${join(dir, "team")}` };
    const ran = await engine.inro(["run", "--name", "mine", "-v", `${share}:/s`, "busybox", "sh", "-c", "echo $0 hi"], {
      env,
    });
    expect(ran).toMatchObject({ code: 0, stdout: "sh hi\n" });
    const shown = await engine.inro([
      "inspect",
      "-f",
      '{{index .Config.Labels "team"}} {{.HostConfig.Memory}} {{.HostConfig.PidsLimit}}',
      "mine",
    ]);
    expect(shown.stdout).toBe(`a ${64 << 20} 50\n`);
    const names = (await engine.inro(["ps", "-a", "--format", "{{.Names}}"], { env })).stdout.trim().split("\n");
    expect(names.sort()).toEqual(["joined", "mighty", "mine", "mounted", "own"]);
    expect(await engine.inro(["exec", "own", "echo", "x"], { env })).toMatchObject({ code: 0, stdout: "x\n" });
    expect((await engine.inro(["rm", "mine"], { env })).code).toBe(0);
  });

  test.skipIf(!DOCKER)(`so does docker's own${DOCKER ? "" : " (no docker)"}`, async () => {
    const docker = async (...args: string[]) => {
      const child = Bun.spawn([DOCKER!, "-H", `unix://${join(dir, "team")}`, ...args], {
        env: { PATH: process.env.PATH ?? "", HOME: dir },
        stdio: ["ignore", "pipe", "pipe"],
      });
      const [stdout, stderr] = await Promise.all([
        new Response(child.stdout).text(),
        new Response(child.stderr).text(),
      ]);
      return { code: await child.exited, stdout, stderr };
    };
    expect(await docker("run", "--rm", "--init", "-v", "cache:/c", "-m", "32m", "busybox", "echo", "hi")).toEqual({
      code: 0,
      stdout: "hi\n",
      stderr: "",
    });
    expect((await docker("ps", "-q", "--filter", "name=o")).stdout.split("\n").length).toBe(4);
    expect(await docker("exec", "own", "id", "-u")).toEqual({ code: 0, stdout: "0\n", stderr: "" });
    const refused = await docker("run", "--rm", "--privileged", "busybox", "true");
    expect([refused.code, refused.stderr]).toEqual([
      125,
      expect.stringContaining("a privileged container: not allowed on the socket"),
    ]);
    expect((await docker("exec", "others", "id")).stderr).toContain("No such container: others");
    expect((await docker("volume", "rm", "cache")).stdout).toBe("cache\n");
  });

  test("a container of others is not there, by name, id and prefix of it, on every route", async () => {
    for (const ref of ["others", ids.others!, ids.others!.slice(0, 12), "%6fthers", "/others".replace("/", "%2F")]) {
      for (const [method, rest, body] of [
        ["GET", "/json"],
        ["GET", "/logs?stdout=1"],
        ["GET", "/top"],
        ["GET", "/stats?stream=0"],
        ["GET", "/changes"],
        ["GET", "/export"],
        ["GET", "/archive?path=/etc/passwd"],
        ["PUT", "/archive?path=/", {}],
        ["POST", "/wait"],
        ["POST", "/start"],
        ["POST", "/stop"],
        ["POST", "/restart"],
        ["POST", "/kill"],
        ["POST", "/pause"],
        ["POST", "/unpause"],
        ["POST", "/rename?name=x"],
        ["POST", "/resize?h=1&w=1"],
        ["POST", "/attach?stream=1&stdout=1"],
        ["POST", "/update", { Memory: 8 << 20 }],
        ["POST", "/exec", { Cmd: ["id"] }],
        ["DELETE", "?force=1"],
      ] as const) {
        const answer = await call("team", method, `/containers/${ref}${rest}`, body);
        expect(`${method} ${rest}: ${answer.status} ${answer.text}`).toContain(`: 404 {"message":"No such container: `);
      }
    }
    expect(await status("team", "POST", "/commit?container=others&repo=stolen")).not.toBe(201);
    expect((await engine.inro(["inspect", "-f", "{{.State.Status}} {{.Name}}", ids.others!])).stdout).toBe(
      "running /others\n",
    );
  });

  test("nor on any other route that there is, now or later", async () => {
    const refs: Record<string, string> = {
      containers: "others",
      volumes: "others",
      networks: "bridge",
      images: "private",
    };
    const { Id: exec } = (await (await engine.api("POST", "/containers/others/exec", { Cmd: ["id"] })).json()) as {
      Id: string;
    };
    refs.exec = exec;
    await engine.ok("tag", "busybox", "private");
    await engine.ok("rmi", "busybox");
    const seen: string[] = [];
    for (const pattern of routePatterns()) {
      const [method, path] = pattern.split(" ") as [string, string];
      const ref = refs[path.split("/")[1]!];
      if (!path.includes("*") || ref === undefined) continue;
      const text = await raw(
        "team",
        `${method} ${path.replace(/\*+/g, ref)} HTTP/1.1\r\nHost: x\r\nConnection: close\r\nContent-Type: application/json\r\nContent-Length: 2\r\n\r\n{}`,
      );
      seen.push(`${pattern}: ${text.slice(9, 12)}`);
    }
    await engine.ok("tag", "private", "busybox");
    await engine.ok("rmi", "private");
    expect(seen.length).toBeGreaterThan(40);
    expect(seen.filter((line) => !/: 40[034]$/.test(line))).toEqual([]);
  });

  test("what the team's containers are more than its socket could make, nobody acts upon through it", async () => {
    for (const [name, what] of [
      ["mighty", "a privileged container"],
      ["mounted", "a mount of the host's /etc"],
      ["joined", "a privileged container"],
    ] as const) {
      for (const [rest, body] of [
        ["/exec", { Cmd: ["id"] }],
        ["/attach?stream=1&stdin=1", undefined],
        ["/restart", undefined],
        ["/update", { Memory: 8 << 20 }],
      ] as const) {
        const { status, text } = await call("team", "POST", `/containers/${name}${rest}`, body);
        expect([status, text]).toEqual([403, expect.stringContaining(what)]);
      }
      expect(await status("team", "GET", `/containers/${name}/json`)).toBe(200);
    }
  });

  test.each([
    ["privileged", { HostConfig: { Privileged: true } }],
    ["a bind of the root", { HostConfig: { Binds: ["/:/host"] } }],
    ["a bind beside the directory", { HostConfig: { Binds: ["/etc:/x:ro"] } }],
    ["a bind out of it by ..", { HostConfig: { Binds: [`${share}/../../etc:/x`] } }],
    ["a bind of a name with its beginning", { HostConfig: { Binds: [`${share}2:/x`] } }],
    ["a bind mount", { HostConfig: { Mounts: [{ Type: "bind", Source: "/", Target: "/host" }] } }],
    ["a bind that propagates", { HostConfig: { Binds: [`${share}:/x:rshared`] } }],
    [
      "a volume's driver options",
      {
        HostConfig: {
          Mounts: [
            {
              Type: "volume",
              Target: "/x",
              VolumeOptions: { DriverConfig: { Options: { type: "none", o: "bind", device: "/" } } },
            },
          ],
        },
      },
    ],
    ["an image mounted", { HostConfig: { Mounts: [{ Type: "image", Source: "busybox", Target: "/x" }] } }],
    ["a device", { HostConfig: { Devices: [{ PathOnHost: "/dev/null", PathInContainer: "/dev/x" }] } }],
    ["device rules", { HostConfig: { DeviceCgroupRules: ["b *:* rwm"] } }],
    ["device requests", { HostConfig: { DeviceRequests: [{ Count: -1 }] } }],
    ["the network of the host", { HostConfig: { NetworkMode: "host" } }],
    ["the network of the host as an endpoint", { NetworkingConfig: { EndpointsConfig: { host: {} } } }],
    ["the processes of the host", { HostConfig: { PidMode: "host" } }],
    ["the IPC of the host", { HostConfig: { IpcMode: "host" } }],
    ["the names of the host", { HostConfig: { UTSMode: "host" } }],
    ["the cgroups of the host", { HostConfig: { CgroupnsMode: "host" } }],
    ["the users of the host", { HostConfig: { UsernsMode: "host" } }],
    ["a cgroup parent", { HostConfig: { CgroupParent: "/" } }],
    ["a capability", { HostConfig: { CapAdd: ["SYS_ADMIN"] } }],
    ["a capability in other letters", { HostConfig: { CapAdd: ["net_admin", "cap_sys_module"] } }],
    ["all capabilities", { HostConfig: { CapAdd: ["ALL"] } }],
    ["no seccomp", { HostConfig: { SecurityOpt: ["seccomp=unconfined"] } }],
    ["an own seccomp profile", { HostConfig: { SecurityOpt: ['seccomp={"defaultAction":"SCMP_ACT_ALLOW"}'] } }],
    ["no AppArmor", { HostConfig: { SecurityOpt: ["apparmor:unconfined"] } }],
    ["open system paths", { HostConfig: { SecurityOpt: ["systempaths=unconfined"] } }],
    ["writable cgroups", { HostConfig: { SecurityOpt: ["writable-cgroups=true"] } }],
    ["no masked paths", { HostConfig: { MaskedPaths: [] } }],
    ["fewer read-only paths", { HostConfig: { ReadonlyPaths: ["/proc/bus"] } }],
    ["more memory", { HostConfig: { Memory: 65 << 20 } }],
    ["unlimited swap", { HostConfig: { MemorySwap: -1 } }],
    ["more processors", { HostConfig: { NanoCpus: 2e9 } }],
    ["more processors by a quota", { HostConfig: { CpuQuota: 200_000, CpuPeriod: 50_000 } }],
    ["no processor limit", { HostConfig: { CpuQuota: -1 } }],
    ["more processes", { HostConfig: { PidsLimit: 51 } }],
    ["published ports", { HostConfig: { PortBindings: { "80/tcp": [{ HostPort: "80" }] } } }],
    [
      "another log driver",
      { HostConfig: { LogConfig: { Type: "syslog", Config: { "syslog-address": "unix:///run/x" } } } },
    ],
    ["annotations", { HostConfig: { Annotations: { a: "b" } } }],
    ["never killed for memory", { HostConfig: { OomKillDisable: true } }],
    ["killed last for memory", { HostConfig: { OomScoreAdj: -500 } }],
    ["a field of the future", { HostConfig: { MakeMeRoot: 1 } }],
    ["a field of the future beside it", { RunOn: "everything" }],
    ["a field in other letters", { HostConfig: { privileged: true } }],
    ["__proto__", JSON.parse('{"HostConfig":{"__proto__":{"Privileged":true}}}')],
    ["another team's label", { Labels: { team: "b" } }],
    ["another socket's label", { Labels: { stage: "prod" } }],
  ])("create is refused: %s", async (_what, body) => {
    const all = async () =>
      ((await (await engine.api("GET", "/containers/json?all=1")).json()) as { Id: string }[]).map(({ Id }) => Id);
    const before = await all();
    const plain = await create(body);
    expect([plain.status, plain.text]).toEqual([403, expect.stringContaining("not allowed")]);
    // inro's own way to run is no way around.
    const text = JSON.stringify({ Image: "busybox", Cmd: ["true"], ...body });
    const head = `POST /inro/run HTTP/1.1\r\nHost: x\r\nConnection: Upgrade\r\nUpgrade: inro\r\nContent-Type: application/json\r\nContent-Length: ${Buffer.byteLength(text)}\r\n\r\n`;
    expect(await raw("team", head + text)).toStartWith("HTTP/1.1 403");
    expect(await all()).toEqual(before);
  });

  test.each([
    ["the network", { NetworkMode: "container:others" }],
    ["the processes", { PidMode: "container:others" }],
    ["the IPC", { IpcMode: "container:others" }],
    ["the volumes", { VolumesFrom: ["others:rw"] }],
    ["links", { Links: ["others:o"] }],
    ["a volume by name", { Binds: ["others:/data"] }],
    ["a volume by mount", { Mounts: [{ Type: "volume", Source: "others", Target: "/data" }] }],
  ])("what containers of others have is not there: %s", async (_what, HostConfig) => {
    const { status, text } = await create({ HostConfig });
    expect([status, text]).toEqual([404, expect.stringMatching(/No such container: others|no such volume/)]);
  });

  test("nor a volume of others by Config.Volumes, and a joined container must be one that it could make", async () => {
    expect(await create({ Volumes: { "others:/data": {} } })).toMatchObject({ status: 404 });
    for (const name of ["mighty", "joined"]) {
      expect((await create({ HostConfig: { PidMode: `container:${name}` } })).status).toBe(403);
    }
    const joined = idOf(await create({ HostConfig: { PidMode: "container:own" } }));
    // By id: the name may be another container's when this one is started.
    expect(await engine.ok("inspect", "-f", "{{.HostConfig.PidMode}}", joined)).toBe(`container:${ids.own}`);
    await engine.ok("rm", joined);
  });

  test("a symlink that is made in the shared directory leads nowhere", async () => {
    mkdirSync(join(share, "inside"));
    writeFileSync(join(share, "inside", "file"), "inside\n");
    const run = async (source: string) => {
      const made = await create({ Cmd: ["cat", "/x/file"], HostConfig: { Binds: [`${source}:/x`] } });
      if (made.status !== 201) return { id: "", output: made.text };
      const id = idOf(made);
      const started = await call("team", "POST", `/containers/${id}/start`);
      if (started.status === 204) await engine.ok("wait", id);
      const output = started.status === 204 ? (await engine.inro(["logs", id])).stdout : started.text;
      return { id, output };
    };
    const good = await run(join(share, "inside"));
    expect(good.output).toBe("inside\n");
    // Swapped after the container was made, and before its next start.
    mkdirSync(join(dir, "secret"));
    writeFileSync(join(dir, "secret", "file"), "secret\n");
    renameSync(join(share, "inside"), join(share, "away"));
    symlinkSync(join(dir, "secret"), join(share, "inside"));
    const again = await call("team", "POST", `/containers/${good.id}/start`);
    expect([again.status, again.text]).toEqual([400, expect.stringContaining("leads out of")]);
    // Files of a container that does not run come by the same mounts.
    const copied = await call("team", "GET", `/containers/${good.id}/archive?path=/x/file`);
    expect([copied.status, copied.text]).toEqual([400, expect.stringContaining("leads out of")]);
    symlinkSync("../secret", join(share, "up"));
    const up = await run(join(share, "up"));
    expect(up.output).toContain("leads out of");
    const gone = await run(join(share, "missing"));
    expect(gone.output).toContain("ENOENT");
    expect([up.id, gone.id]).toEqual(["", ""]);
    await engine.ok("rm", good.id);
  });

  test("volumes: what is made is marked, what is others' is not there, options are refused", async () => {
    expect((await call("team", "POST", "/volumes/create", { Name: "v1" })).text).toContain('"team":"a"');
    const options = { Name: "v2", DriverOpts: { type: "none", o: "bind", device: "/etc" } };
    expect(await status("team", "POST", "/volumes/create", options)).toBe(403);
    expect(await status("team", "POST", "/volumes/create", { Name: "others" })).toBe(404);
    expect(await status("team", "GET", "/volumes/others")).toBe(404);
    expect(await status("team", "DELETE", "/volumes/others?force=1")).toBe(404);
    const id = idOf(await create({ Volumes: { "/anonymous": {} }, HostConfig: { Binds: ["v3:/named"] } }));
    const names = (JSON.parse((await call("team", "GET", "/volumes")).text) as { Volumes: { Name: string }[] }).Volumes;
    expect(names.map(({ Name }) => Name.replace(/^[0-9a-f]{64}$/, "anonymous")).sort()).toEqual([
      "anonymous",
      "v1",
      "v3",
    ]);
    await engine.ok("rm", "-v", id);
    // One of the team's that somebody else made of the machine's directory.
    await engine.ok(
      "volume",
      "create",
      "--label",
      "team=a",
      "-o",
      "type=none",
      "-o",
      "o=bind",
      "-o",
      "device=/etc",
      "etc",
    );
    expect((await create({ HostConfig: { Binds: ["etc:/x"] } })).status).toBe(404);
    await engine.ok("volume", "rm", "etc");
    const pruned = await call("team", "POST", `/volumes/prune?filters={"all":["1"]}`);
    expect((JSON.parse(pruned.text) as { VolumesDeleted: string[] }).VolumesDeleted.sort()).toEqual(["v1", "v3"]);
    expect(await engine.ok("volume", "ls", "-q")).toBe("others");
  });

  test("networks: what is made is marked, what is others' is not there, the machine's interfaces are nobody's", async () => {
    await engine.ok("network", "create", "theirs");
    const made = await call("team", "POST", "/networks/create", { Name: "ours" });
    expect(made.status).toBe(201);
    expect(await engine.ok("network", "inspect", "-f", "{{.Labels}}", "ours")).toBe("map[team:a]");
    const others = await engine.ok("network", "inspect", "-f", "{{.Id}}", "theirs");
    for (const ref of ["theirs", others, others.slice(0, 12), "bridge", "host"]) {
      expect([ref, await status("team", "GET", `/networks/${ref}`)]).toEqual([ref, 404]);
      expect(await status("team", "DELETE", `/networks/${ref}`)).toBe(404);
      expect(await status("team", "POST", `/networks/${ref}/connect`, { Container: "own" })).toBe(404);
      expect(await status("team", "POST", `/networks/${ref}/disconnect`, { Container: "others" })).toBe(404);
    }
    expect(await status("team", "POST", "/networks/ours/connect", { Container: "others" })).toBe(404);
    expect(await status("team", "POST", "/networks/ours/connect", { Container: "mighty" })).toBe(403);
    for (const body of [
      { HostConfig: { NetworkMode: "theirs" } },
      { NetworkingConfig: { EndpointsConfig: { theirs: {} } } },
    ]) {
      expect((await create(body)).status).toBe(404);
    }
    for (const more of [
      { Driver: "macvlan", Options: { parent: "eth0" } },
      { Options: { "com.docker.network.bridge.name": "docker0" } },
      { IPAM: { Config: [{ Subnet: "10.0.0.0/8" }] } },
      { ConfigFrom: { Network: "theirs" } },
      { Labels: { team: "b" } },
    ]) {
      expect([more, await status("team", "POST", "/networks/create", { Name: "more", ...more })]).toEqual([more, 403]);
    }
    const list = JSON.parse((await call("team", "GET", "/networks")).text) as { Name: string }[];
    expect(list.map(({ Name }) => Name)).toEqual(["ours"]);
    expect((await call("team", "POST", "/networks/prune")).text).toContain("ours");
    expect(await engine.ok("network", "ls", "-q", "--filter", "name=theirs")).not.toBe("");
    await engine.ok("network", "rm", "theirs");
  });

  test("commit: what is made of a container carries the label, and takes no other image's name", async () => {
    const env = { INRO_HOST: `unix://${join(dir, "labelled")}` };
    expect((await engine.inro(["commit", "others", "stolen"], { env })).code).toBe(1);
    expect((await engine.inro(["commit", "mighty", "stolen"], { env })).code).toBe(1);
    expect((await engine.inro(["commit", "own", "busybox"], { env })).stderr).toContain(
      "the name busybox:latest of another image",
    );
    expect((await engine.inro(["commit", "-c", "LABEL team=b", "own", "other"], { env })).stderr).toContain(
      "a change of labels",
    );
    expect(await engine.inro(["commit", "own", "own-image"], { env })).toMatchObject({ code: 0, stderr: "" });
    expect((await engine.inro(["images", "--format", "{{.Repository}}"], { env })).stdout).toBe("own-image\n");
    expect((await engine.inro(["rmi", "own-image"], { env })).code).toBe(0);
    expect(await status("team", "POST", "/commit?container=own&repo=x")).toBe(403);
  });

  test.skipIf(!PYTHON)(
    `mounted into a container in place of the engine's own socket${PYTHON ? "" : " (no python3)"}`,
    async () => {
      const script = `
import http.client, socket, json
def ask(method, path, body=None):
    c = http.client.HTTPConnection("x"); c.sock = socket.socket(socket.AF_UNIX); c.sock.connect("/run/docker.sock")
    c.request(method, path, body and json.dumps(body), {"Content-Type": "application/json"})
    return c.getresponse().status
print(ask("GET", "/containers/own/json"), ask("GET", "/containers/others/json"),
      ask("POST", "/containers/create", {"Image": "busybox", "Cmd": ["sh"], "HostConfig": {"Privileged": True}}),
      ask("POST", "/containers/create", {"Image": "busybox", "Cmd": ["sh"], "HostConfig": {"Binds": ["/:/host"]}}))`;
      const mount = `${join(dir, "team")}:/run/docker.sock`;
      expect(await engine.ok("run", "--rm", "-v", mount, "host", "python3", "-c", script)).toBe("200 404 403 403");
    },
  );

  test("prune takes the team's only, whatever the filters say", async () => {
    const others = await engine.ok("create", "busybox", "true");
    const own = idOf(await create({}));
    for (const filters of [
      "",
      `?filters={"label":{}}`,
      `?filters={"label":{"team=a":false}}`,
      `?filters={"label!":["x"]}`,
    ]) {
      const { status, text } = await call("team", "POST", `/containers/prune${filters}`);
      expect([status, text]).toEqual([200, expect.not.stringContaining(others)]);
    }
    expect(await engine.ok("ps", "-aq", "--no-trunc")).toContain(others);
    expect(await engine.ok("ps", "-aq", "--no-trunc")).not.toContain(own);
    await engine.ok("rm", others);
  });

  test("lists and events tell of the team's only", async () => {
    for (const query of [
      "?all=1",
      "?all=1&filters={}",
      `?all=1&filters={"label":["team"]}`,
      `?limit=100&filters={"name":["others"]}`,
    ]) {
      const { text } = await call("team", "GET", `/containers/json${query}`);
      expect(text).not.toContain(ids.others!);
    }
    expect(await status("team", "GET", `/containers/json?filters={"before":["others"]}`)).toBe(404);
    expect(JSON.parse((await call("team", "GET", "/info")).text)).toMatchObject({ Containers: 4 });
    const since = Math.floor(Date.now() / 1000) - 1;
    await engine.ok("rename", "others", "others2");
    await engine.ok("rename", "others2", "others");
    const mine = idOf(await create({}, "evented"));
    await engine.ok("rm", "evented");
    const { text } = await call("team", "GET", `/events?since=${since}&until=${Math.floor(Date.now() / 1000) + 1}`);
    expect(text).toContain(mine);
    expect(text).toContain('"destroy"');
    expect(text).not.toContain("others");
  });

  test("an image's labels give nobody a container", async () => {
    const made = await engine.ok("create", "--label", "x=y", "busybox", "true");
    const tar = join(dir, "labelled.tar");
    await engine.ok("save", "-o", tar, "busybox");
    await engine.ok("import", "--change", "LABEL team=a", tar, "labelled");
    const inherited = await engine.ok("create", "labelled", "true");
    expect(await status("team", "GET", `/containers/${inherited}/json`)).toBe(404);
    expect((await call("team", "GET", "/containers/json?all=1")).text).not.toContain(inherited);
    await engine.ok("rm", made, inherited);
    await engine.ok("rmi", "labelled");
  });

  test("images: only the named ones, and no name moves to another", async () => {
    const own = await engine.ok("create", "busybox", "true");
    await engine.ok("tag", "busybox", "secret:1");
    await engine.ok("import", "--change", "CMD sh", join(dir, "labelled.tar"), "private");
    expect((await create({ Image: "private" })).status).toBe(404);
    const id = await engine.ok("inspect", "-f", "{{.Id}}", "private");
    for (const name of [id, id.slice(7, 19), "private:latest", "docker.io/library/private", "private%3Alatest"]) {
      expect(await status("team", "GET", `/images/${name}/json`)).toBe(404);
      expect(await status("team", "GET", `/images/${name}/history`)).toBe(404);
      expect(await status("team", "GET", `/images/${name}/get`)).toBe(404);
      expect(await status("team", "GET", `/images/get?names=busybox,${name}`)).toBe(404);
    }
    expect((await call("team", "GET", "/images/json")).text).not.toContain("private");
    // The machine itself, as an image.
    for (const name of ["host", "host:latest"]) expect((await create({ Image: name }, "", "team")).status).toBe(404);
    expect((await create({ Image: "host" }, "", "plain")).status).toBe(404);
    expect(await status("team", "POST", "/images/create?fromImage=evil&tag=1")).toBe(403);
    expect(await status("team", "POST", "/images/create?fromImage=busybox:1&tag=2")).toBe(403);
    expect(await status("team", "POST", "/images/create?fromImage=127.0.0.1:1/library/busybox&tag=1")).toBe(403);
    expect(await status("team", "POST", "/images/create?fromSrc=-&repo=busybox")).toBe(403);
    // What it has is reached from the machine's own network.
    const url = `/images/create?fromSrc=${encodeURIComponent("http://127.0.0.1:1/x")}&repo=x`;
    for (const name of ["team", "plain"] as const) expect(await status(name, "POST", url)).toBe(403);
    expect(await status("team", "GET", "/images/search?term=127.0.0.1:1/x")).toBe(403);
    expect(await status("team", "POST", "/images/load")).toBe(403);
    expect(await status("team", "POST", "/images/busybox/tag?repo=private")).toBe(403);
    expect(await status("team", "DELETE", "/images/busybox?force=1")).toBe(403);
    expect((await call("team", "POST", "/images/prune?filters={}")).text).not.toContain("private");
    await engine.ok("rm", own);
    await engine.ok("rmi", "private", "secret:1");
  });

  test("an exec of others, and one with more rights that others made in the team's container", async () => {
    const made = async (container: string, body: object) =>
      ((await (await engine.api("POST", `/containers/${container}/exec`, body)).json()) as { Id: string }).Id;
    const others = await made("others", { Cmd: ["id"], AttachStdout: true });
    const mighty = await made("own", { Cmd: ["id"], AttachStdout: true, Privileged: true });
    for (const [method, rest] of [
      ["GET", "/json"],
      ["POST", "/start"],
      ["POST", "/resize?h=1&w=1"],
    ] as const) {
      expect(await status("team", method, `/exec/${others}${rest}`, method === "POST" ? {} : undefined)).toBe(404);
      expect(await status("team", method, `/exec/${mighty}${rest}`, method === "POST" ? {} : undefined)).toBe(403);
    }
    expect(await status("team", "POST", "/containers/own/exec", { Cmd: ["id"], Privileged: true })).toBe(403);
    expect(await status("team", "POST", "/containers/own/exec", { Cmd: ["id"], Root: "/" })).toBe(403);
  });

  test("rename and create tell no id of others, and a name gives no rights", async () => {
    const id = idOf(await create({}, "renamed"));
    for (const { text, status } of [
      await call("team", "POST", `/containers/${id}/rename?name=others`),
      await create({}, "others"),
    ]) {
      expect([status, text]).toEqual([409, expect.not.stringContaining(ids.others!.slice(0, 12))]);
    }
    // Named as the beginning of another's id: whoever means that other gets it by a longer one, the team does not.
    const prefix = ids.others!.slice(0, 12);
    expect(await status("team", "POST", `/containers/${id}/rename?name=${prefix}`)).toBe(204);
    expect((await call("team", "GET", `/containers/${ids.others!.slice(0, 13)}/json`)).status).toBe(404);
    await engine.ok("rm", id);
  });

  test("update stays below the ceilings", async () => {
    const id = idOf(await create({}));
    for (const body of [
      { Memory: 65 << 20 },
      { MemorySwap: -1 },
      { NanoCpus: 2e9 },
      { CpuQuota: -1 },
      { CpuPeriod: 1000 },
      { PidsLimit: -1 },
      { PidsLimit: 51 },
      { Devices: [{ PathOnHost: "/dev/sda" }] },
    ]) {
      expect(await status("team", "POST", `/containers/${id}/update`, body)).toBe(403);
    }
    expect(await status("team", "POST", `/containers/${id}/update`, { PidsLimit: 20 })).toBe(200);
    await engine.ok("rm", id);
  });

  test("ps_args that could show processes of the machine under another title", async () => {
    expect(await status("team", "GET", "/containers/own/top?ps_args=-eo%20uid=PID,args")).toBe(403);
    expect(await status("team", "GET", "/containers/own/top?ps_args=-eo%20pid,args")).toBe(200);
  });

  test("a route that is not given is refused, in every spelling of its path", async () => {
    for (const path of [
      "/build",
      "/v1.47/build",
      "/build/prune",
      "/session",
      "/grpc",
      "/auth",
      "/swarm/init",
      "/plugins/pull",
      "/inro/explain",
      "/inro/explain?trace=1",
      "/inro/debug",
      "/inro/containers/own/ports",
      "/inro/volumes/others/clone",
      "/inro/volumes/others/snapshot",
    ]) {
      expect([path, (await call("team", "POST", path, {})).status]).toEqual([path, 403]);
    }
    expect(await status("team", "GET", "/inro/check?repair=1")).toBe(403);
    for (const path of [
      "//containers/others/exec",
      "/./containers/others/exec",
      "/containers/../containers/others/exec",
      "/containers/own/../others/exec",
      "/containers/own%2F..%2Fothers/exec",
      "/containers/others%2Fexec",
      "/containers//others/exec",
      "/v1.47//containers/others/exec",
      "/V1.47/containers/others/exec",
      "/%63ontainers/others/exec",
      "/containers/others/exec/",
      "/containers/others/exec%00",
      "/containers/others;x/exec",
      "http://inro/containers/others/exec",
    ]) {
      const body = '{"Cmd":["id"]}';
      const answer = await raw(
        "team",
        `POST ${path} HTTP/1.1\r\nHost: x\r\nConnection: close\r\nContent-Type: application/json\r\nContent-Length: ${body.length}\r\n\r\n${body}`,
      );
      expect([path, answer.slice(9, 12)]).toEqual([path, expect.stringMatching(/40[034]/)]);
    }
  });

  test("what comes after a refused or an attached connection's request is no request of another kind", async () => {
    const next = "POST /containers/others/kill HTTP/1.1\r\nHost: x\r\nConnection: close\r\nContent-Length: 0\r\n\r\n";
    const upgrade = (path: string) =>
      `POST ${path} HTTP/1.1\r\nHost: x\r\nConnection: Upgrade\r\nUpgrade: tcp\r\nContent-Length: 0\r\n\r\n`;
    const refused = await raw("team", upgrade("/containers/others/attach?stream=1&stdin=1") + next);
    expect(refused.match(/HTTP\/1.1 \d+/g)).toEqual(["HTTP/1.1 404"]);
    // Attached to a container that writes back what it reads: the bytes are its input, and nothing else.
    const id = idOf(
      await create({ Cmd: ["cat"], OpenStdin: true, StdinOnce: true, AttachStdin: true, AttachStdout: true }),
    );
    const attached = raw(
      "team",
      upgrade(`/containers/${id}/attach?stream=1&stdin=1&stdout=1`) + next,
      "Content-Length: 0",
    );
    expect(await status("team", "POST", `/containers/${id}/start`)).toBe(204);
    expect(await attached).toContain("POST /containers/others/kill");
    expect(await engine.ok("inspect", "-f", "{{.State.Status}}", "others")).toBe("running");
    // Two requests in one segment: each is looked at by itself.
    const two = await raw("read", `GET /_ping HTTP/1.1\r\nHost: x\r\n\r\n${next}`);
    expect(two.match(/HTTP\/1.1 \d+/g)).toEqual(["HTTP/1.1 200", "HTTP/1.1 403"]);
    await engine.ok("rm", "-f", id);
  });

  test("read-only reads, and does nothing else", async () => {
    expect((await call("read", "GET", "/containers/json?all=1")).text).toContain(ids.others!);
    expect(await status("read", "GET", "/containers/mighty/logs?stdout=1")).toBe(200);
    for (const [method, path] of [
      ["POST", "/containers/create"],
      ["POST", "/containers/own/start"],
      ["POST", "/containers/own/attach"],
      ["GET", "/containers/own/attach/ws"],
      ["GET", "/containers/own/archive?path=/etc/passwd"],
      ["GET", "/containers/own/export"],
      ["GET", "/images/busybox/get"],
      ["POST", "/containers/own/exec"],
      ["POST", "/images/create?fromImage=busybox&tag=x"],
      ["POST", "/containers/prune"],
      ["DELETE", "/containers/own"],
      ["POST", "/volumes/create"],
    ] as const) {
      expect([path, await status("read", method, path, method === "POST" ? {} : undefined)]).toEqual([path, 403]);
    }
  });

  test("one route alone: restart, and not even a list", async () => {
    expect(await status("restart", "GET", "/_ping")).toBe(200);
    expect(await status("restart", "POST", "/containers/own/restart?t=0")).toBe(204);
    expect(await status("restart", "POST", "/containers/others/restart?t=0")).toBe(404);
    expect(await status("restart", "POST", "/containers/own/stop")).toBe(403);
    expect(await status("restart", "GET", "/containers/json")).toBe(403);
  });

  test("rights that make no sense are refused at the start, before anything is made", async () => {
    const own = [
      "--data-root",
      join(dir, "x"),
      "--exec-root",
      join(dir, "x"),
      "--host",
      `unix://${join(dir, "x.sock")}`,
    ];
    const rights = `path=${join(dir, "y.sock")},allow=all,mount=${dir}`;
    const child = Bun.spawn([...command, "serve", ...own, "--socket", rights], { stdio: ["ignore", "ignore", "pipe"] });
    expect(await new Response(child.stderr).text()).toContain("the engine's own");
    expect(await child.exited).not.toBe(0);
    expect(existsSync(join(dir, "x"))).toBe(false);
  });
});
