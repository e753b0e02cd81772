import { describe, expect, test } from "bun:test";
import { existsSync } from "node:fs";
import { engineForTests, hasBusybox, isRoot } from "../harness.ts";

const why = !isRoot ? "needs root" : !hasBusybox ? "no busybox-static" : "";
const disk = ["/dev/vda", "/dev/sda", "/dev/nvme0n1", "/dev/xvda", "/dev/loop0"].find((path) => existsSync(path));

describe.skipIf(why !== "")(`containers over the API${why && ` (${why})`}`, () => {
  const engine = engineForTests();
  type Answer = Record<string, never> & { Id: string; message: string };
  const call = async (method: string, path: string, body?: unknown) => {
    const answer = await engine.api(method, path, body);
    const text = await answer.text();
    return { status: answer.status, body: (text === "" ? {} : JSON.parse(text)) as Answer };
  };
  const create = async (name: string, body: object = {}) =>
    (await call("POST", `/containers/create?name=${name}`, { Image: "busybox", Cmd: ["sleep", "1000"], ...body })).body;
  const inspect = async (name: string) => (await call("GET", `/containers/${name}/json`)).body as never as Inspect;
  interface Inspect {
    Config: Record<string, unknown>;
    HostConfig: Record<string, unknown>;
    State: { Status: string };
  }
  const remove = (name: string) => call("DELETE", `/containers/${name}?force=1`);

  test("inspect has every field of docker's, set or not", async () => {
    await create("plain");
    const { Config, HostConfig } = await inspect("plain");
    for (const name of ["Domainname", "User", "AttachStdin", "Tty", "Volumes", "Entrypoint", "OnBuild", "Labels"]) {
      expect(Config).toHaveProperty(name);
    }
    expect(HostConfig).toMatchObject({
      ...{ Binds: null, CapAdd: null, CpuShares: 0, Memory: 0, PidsLimit: null, ConsoleSize: [0, 0], Devices: [] },
      ...{ BlkioWeightDevice: [], Ulimits: [], Privileged: false, PidMode: "", ContainerIDFile: "", Isolation: "" },
    });
    expect(await engine.ok("inspect", "-f", "{{.HostConfig.Memory}} {{.HostConfig.PidMode}}", "plain")).toBe("0 ");
    const settings = async (version: string) => {
      const answer = await fetch(`http://inro/v${version}/containers/plain/json`, { unix: engine.socket });
      return ((await answer.json()) as { NetworkSettings: object }).NetworkSettings;
    };
    expect(Object.keys(await settings("1.52"))).toEqual(["SandboxID", "SandboxKey", "Ports", "Networks"]);
    expect(await settings("1.51")).toMatchObject({ Bridge: "", IPAddress: "", MacAddress: "", Networks: {} });
    expect(await engine.ok("inspect", "-f", "{{.NetworkSettings.IPAddress}}|", "plain")).toBe("|");
    await remove("plain");
  });

  test("what is kept, what is discarded with a warning, what is refused", async () => {
    const { Id, ...made } = await create("fields", {
      NetworkDisabled: true,
      HostConfig: {
        Annotations: { "io.example.a": "b" },
        KernelMemory: 1 << 30,
        GroupAdd: ["audio"],
        DeviceCgroupRules: ["c 10:200 rwm"],
        ContainerIDFile: "/x",
        Unknown: { a: 1 },
      },
      Unknown: 5,
    });
    expect(made).toEqual({ Warnings: [expect.stringContaining("KernelMemory discarded")] } as never);
    const { Config, HostConfig } = await inspect("fields");
    expect(Config.NetworkDisabled).toBe(true);
    expect(HostConfig).toMatchObject({ NetworkMode: "none", GroupAdd: ["audio"], ContainerIDFile: "/x" });
    expect((await call("GET", `/containers/json?all=1`)).body).toMatchObject([
      { HostConfig: { Annotations: { "io.example.a": "b" } } },
    ]);
    await remove(Id);
    for (const [HostConfig, message] of [
      [{ StorageOpt: { size: "1G" } }, "storage option size"],
      [{ Isolation: "hyperv" }, "invalid isolation"],
      [{ BlkioWeightDevice: [{ Path: "/dev/sda", Weight: 1 }] }, "range of blkio weight is from 10 to 1000"],
      [{ BlkioDeviceReadBps: [{ Path: "/dev/sda", Rate: -1 }] }, "must not be negative"],
    ] as const) {
      const { status, body } = await call("POST", "/containers/create", { Image: "busybox", Cmd: ["x"], HostConfig });
      expect({ status, message: body.message }).toEqual({ status: 400, message: expect.stringContaining(message) });
    }
  });

  test("update: limits of a running container, lifted too", async () => {
    await create("limited", { HostConfig: { PidsLimit: 50, Memory: 64 << 20 } });
    await call("POST", "/containers/limited/start");
    const inside = async (file: string) =>
      (
        await engine.ok(
          "exec",
          "limited",
          "sh",
          "-c",
          `cat /sys/fs/cgroup/${file} /sys/fs/cgroup/*/${file} 2>/dev/null; true`,
        )
      ).trim();
    expect(await inside("pids.max")).toBe("50");
    expect(
      (await call("POST", "/containers/limited/update", { PidsLimit: 70, Memory: 128 << 20, MemorySwap: -1 })).status,
    ).toBe(200);
    expect(await inside("pids.max")).toBe("70");
    expect((await call("POST", "/containers/limited/update", { PidsLimit: -1 })).status).toBe(200);
    expect(await inside("pids.max")).toBe("max");
    expect((await inspect("limited")).HostConfig).toMatchObject({ PidsLimit: 0, Memory: 128 << 20, MemorySwap: -1 });
    const bad = await call("POST", "/containers/limited/update", { Memory: 1024 });
    expect(bad).toEqual({ status: 400, body: { message: "minimum memory limit allowed is 6MB" } } as never);
    await remove("limited");
  });

  test.skipIf(!disk)(
    `update: a throttle of ${disk ?? "a disk (none here)"} since 1.55, null keeps it, [] clears it`,
    async () => {
      await create("slow", { HostConfig: { BlkioDeviceReadBps: [{ Path: disk, Rate: 1 << 20 }] } });
      const update = (version: string, lists: object) =>
        fetch(`http://inro/v${version}/containers/slow/update`, {
          unix: engine.socket,
          method: "POST",
          headers: { "Content-Type": "application/json" },
          body: JSON.stringify(lists),
        });
      const kept = async () => (await inspect("slow")).HostConfig.BlkioDeviceReadBps;
      for (const [version, lists, length] of [
        ["1.54", { BlkioDeviceReadBps: [] }, 1],
        ["1.55", { BlkioDeviceReadBps: null }, 1],
        ["1.55", { BlkioDeviceReadBps: [] }, 0],
      ] as const) {
        expect((await update(version, lists)).status).toBe(200);
        expect(await kept()).toHaveLength(length);
      }
      await remove("slow");
    },
  );

  test("top: formats of ps, without a ps", async () => {
    await create("procs", { Cmd: ["sh", "-c", "sleep 1000 & wait"] });
    await call("POST", "/containers/procs/start");
    const top = async (args = "") =>
      (await call("GET", `/containers/procs/top?ps_args=${encodeURIComponent(args)}`)).body as never as {
        Titles: string[];
        Processes: string[][];
      };
    // They come by pid, which is not by age where the ids begin again.
    const last = ({ Processes }: { Processes: string[][] }) => Processes.map((row) => row.at(-1)).sort();
    let table = await top();
    while (!last(table).includes("sleep 1000")) table = await top();
    expect(table.Titles).toEqual(["UID", "PID", "PPID", "C", "STIME", "TTY", "TIME", "CMD"]);
    expect(last(table)).toEqual(["sh -c sleep 1000 & wait", "sleep 1000"]);
    expect((await top("aux")).Titles.slice(0, 3)).toEqual(["USER", "PID", "%CPU"]);
    // busybox begins its applets as /proc/self/exe, and names them a moment later.
    let names = await top("-o pid,comm");
    while (last(names).includes("exe")) names = await top("-o pid,comm");
    expect(last(names)).toEqual(["sh", "sleep"]);
    expect((await engine.ok("top", "procs", "-o", "comm")).split("\n").sort()).toEqual(["COMMAND", "sh", "sleep"]);
    expect((await call("GET", "/containers/procs/top?ps_args=-Z")).status).toBe(400);
    await call("POST", "/containers/procs/pause");
    expect((await top()).Processes).toHaveLength(2);
    await remove("procs");
    await create("idle");
    expect((await call("GET", "/containers/idle/top")).status).toBe(409);
    await remove("idle");
  });

  test("wait: each condition, before and after", async () => {
    const { Id } = await create("waited", { Cmd: ["sh", "-c", "exit 7"] });
    const waiting = (condition: string) => engine.api("POST", `/containers/waited/wait?condition=${condition}`);
    const [next, removed] = await Promise.all([waiting("next-exit"), waiting("removed")]);
    expect(await (await waiting("not-running")).json()).toMatchObject({ StatusCode: 0 });
    await call("POST", "/containers/waited/start");
    expect(await next.json()).toEqual({ StatusCode: 7 });
    expect(await (await waiting("")).json()).toEqual({ StatusCode: 7 });
    await remove(Id);
    expect(await removed.json()).toEqual({ StatusCode: 7 });
  });

  test("images: prune by label and age, shared sizes, the shape of older versions", async () => {
    const tag = (name: string) => call("POST", `/images/busybox/tag?repo=${name}`);
    await tag("unused");
    const pruned = async (filters: object) =>
      (await call("POST", `/images/prune?filters=${encodeURIComponent(JSON.stringify(filters))}`)).body;
    expect(await pruned({ dangling: ["true"] })).toEqual({ ImagesDeleted: [], SpaceReclaimed: 0 } as never);
    expect(await pruned({ dangling: ["false"], until: ["1h"] })).toMatchObject({ ImagesDeleted: [] });
    expect(await pruned({ dangling: ["false"], label: ["none"] })).toMatchObject({ ImagesDeleted: [] });
    expect((await call("POST", "/images/prune?filters=%7B%22dangling%22%3A%5B%22x%22%5D%7D")).status).toBe(400);
    const [image] = (await call("GET", "/images/json?shared-size=1")).body as never as { SharedSize: number }[];
    expect(image).toMatchObject({ SharedSize: 0, Containers: expect.any(Number) });
    const old = await fetch("http://inro/v1.43/images/json", { unix: engine.socket });
    expect(await old.json()).toMatchObject([{ Containers: -1, VirtualSize: expect.any(Number), SharedSize: -1 }]);
    const platform = (architecture: string) =>
      `platform=${encodeURIComponent(JSON.stringify({ os: "linux", architecture }))}`;
    const { Architecture } = (await call("GET", "/images/busybox/json")).body as never as { Architecture: string };
    expect((await call("GET", `/images/busybox/json?${platform(Architecture)}`)).status).toBe(200);
    for (const path of ["json", "history", "get"]) {
      const { status, body } = await call("GET", `/images/busybox/${path}?${platform("s390x")}`);
      expect({ status, message: body.message }).toEqual({
        status: 404,
        message: expect.stringContaining("does not provide the specified platform (linux/s390x)"),
      });
    }
    expect((await call("GET", "/images/busybox/json?platform=linux")).status).toBe(400);
    // Used by a container it stays; after that it goes with all its names, and gives its bytes back.
    await create("user");
    expect(await pruned({ dangling: ["false"] })).toMatchObject({ ImagesDeleted: [] });
    await remove("user");
    const gone = (await pruned({ dangling: ["false"] })) as never as {
      ImagesDeleted: object[];
      SpaceReclaimed: number;
    };
    expect(gone.ImagesDeleted).toEqual(
      expect.arrayContaining([{ Untagged: "busybox:latest" }, { Untagged: "unused:latest" }]),
    );
    expect(gone.SpaceReclaimed).toBeGreaterThan(100_000);
    await engine.busybox();
    expect(await engine.ok("history", "--format", "{{.Comment}}", "busybox")).toBe("Imported from -");
    expect(await engine.ok("history", "--format", "{{.Comment}}", "host")).toBe("the machine's own root, read-only");
    expect((await engine.ok("history", "busybox")).split("\n")[0]).toMatch(
      /^IMAGE +CREATED +CREATED BY +SIZE +COMMENT$/,
    );
  });
});
