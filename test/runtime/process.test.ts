import { afterAll, describe, expect, test } from "bun:test";
import {
  chmodSync,
  chownSync,
  closeSync,
  existsSync,
  mkdirSync,
  openSync,
  readFileSync,
  statSync,
  writeFileSync,
} from "node:fs";
import { join } from "node:path";
import { availableCapabilities } from "../../src/security/capabilities.ts";
import type { Process, Spec } from "../../src/spec/oci-runtime.ts";
import { cannotRun, Runtime } from "./bundle.ts";

type Full = Spec & { process: Process; linux: NonNullable<Spec["linux"]> };
const reason = cannotRun ? ` (skipped: ${cannotRun})` : "";

describe.skipIf(cannotRun !== undefined)(`the process${reason}`, () => {
  const runtime = new Runtime();
  afterAll(() => runtime.close());
  let count = 0;
  /** Output of a container that runs `script`. */
  async function output(script: string, change: (spec: Full) => void = () => {}) {
    const bundle = runtime.bundle(`${script}`, change as never);
    const { code, out, err } = await runtime.run(["run", "-b", bundle, `p${count++}`]);
    return { code, out, err, bundle };
  }
  const caps = "busybox grep ^Cap /proc/self/status";
  const limits = 'busybox grep "open files\\|core file" /proc/self/limits';
  const all = availableCapabilities();

  // biome-ignore format: a table
  const cases: [name: string, script: string, change: (spec: Full) => void, out: string][] = [
    ["umask: 0022",         "umask",                        () => {},                                          "0022\n"],
    ["umask",               "umask",                        (s) => (s.process.user.umask = 0o77),              "0077\n"],
    ["umask: 0",            "umask",                        (s) => (s.process.user.umask = 0),                 "0000\n"],
    ["uid, gid, groups",    "id",  (s) => (s.process.user = { uid: 1, gid: 2, additionalGids: [3, 4] }),       "uid=1 gid=2 groups=3,4\n"],
    ["no groups of ours",   "id -G",                        () => {},                                          "0\n"],
    ["the highest ids",     "id -u; id -g", (s) => (s.process.user = { uid: 4294967294, gid: 4294967294 }),    "4294967294\n4294967294\n"],
    ["oomScoreAdj",         "cat /proc/self/oom_score_adj", (s) => (s.process.oomScoreAdj = 500),              "500\n"],
    ["oomScoreAdj: absent", "cat /proc/self/oom_score_adj", () => {},               readFileSync("/proc/self/oom_score_adj", "utf8")],
    ["no_new_privs",        "busybox grep NoNewPrivs /proc/self/status", (s) => (s.process.noNewPrivileges = true), "NoNewPrivs:\t1\n"],
    ["env: the last wins",  "echo $A$B", (s) => s.process.env?.push("A=1", "B=2", "A=3"),                      "32\n"],
    ["HOME of nobody known", "echo $HOME",                  () => {},                                          "/\n"],
    ["HOME given",          "echo $HOME", (s) => s.process.env?.push("HOME=/h"),                               "/h\n"],
    ["cwd is made",         "pwd; stat -c %a:%u .", (s) => { s.process.cwd = "/dev/shm/a/b"; },                "/dev/shm/a/b\n755:0\n"],
    ["cwd of a user",       "pwd", (s) => { s.process.cwd = "/bin"; s.process.user.uid = 5; },                 "/bin\n"],
    ["a session of its own", "busybox awk '{ print $6 == $1 }' /proc/self/stat; busybox ps -o sid= | busybox head -1", () => {}, "0\n    1\n"],
    ["bounding alone",      caps, (s) => (s.process.capabilities = { bounding: ["CAP_KILL"] }),
      "CapInh:\t0000000000000000\nCapPrm:\t0000000000000000\nCapEff:\t0000000000000000\nCapBnd:\t0000000000000020\nCapAmb:\t0000000000000000\n"],
    ["ambient, of a user",  caps, (s) => { const c = ["CAP_KILL"]; s.process.user.uid = 9;
      s.process.capabilities = { bounding: c, permitted: c, effective: c, inheritable: c, ambient: c }; },
      "CapInh:\t0000000000000020\nCapPrm:\t0000000000000020\nCapEff:\t0000000000000020\nCapBnd:\t0000000000000020\nCapAmb:\t0000000000000020\n"],
    ["capabilities: absent", "busybox grep ^CapBnd /proc/self/status", (s) => { delete s.process.capabilities; },
      `${/^CapBnd:.*\n/m.exec(readFileSync("/proc/self/status", "utf8"))?.[0]}`],
  ];
  for (const [name, script, change, out] of cases) {
    test(name, async () => {
      const result = await output(script, change);
      expect({ out: result.out, err: result.err }).toEqual({ out, err: "" });
    });
  }

  test("rlimits are exact to the last digit", async () => {
    const bundle = runtime.bundle(limits);
    const config = join(bundle, "config.json");
    const hard = Number(/open files +\d+ +(\d+)/.exec(readFileSync("/proc/self/limits", "utf8"))?.[1]);
    const text = readFileSync(config, "utf8");
    const spec = JSON.parse(text);
    spec.process.rlimits = "HERE";
    const rlimits = `[{"type":"RLIMIT_NOFILE","soft":${hard - 1},"hard":${hard}},
      {"type":"RLIMIT_CORE","soft":9007199254740993,"hard":18446744073709551615}]`;
    writeFileSync(config, JSON.stringify(spec).replace('"HERE"', rlimits));
    const { out, err } = await runtime.run(["run", "-b", bundle, "limits"]);
    expect(err).toBe("");
    expect(out.replace(/ +/g, " ")).toContain(`Max open files ${hard - 1} ${hard} files`);
    expect(out.replace(/ +/g, " ")).toContain("Max core file size 9007199254740993 unlimited bytes");
    await runtime.ok("run", "-d", "-b", bundle, "limits2");
    const copy = join(runtime.root, "limits2/config.json");
    if (existsSync(copy)) expect(readFileSync(copy, "utf8")).toContain('"soft":9007199254740993');
    await runtime.ok("delete", "-f", "limits2");
    writeFileSync(config, JSON.stringify(spec).replace('"HERE"', rlimits.replace("551615", "551616")));
    expect((await runtime.run(["run", "-b", bundle, "limits"])).err).toContain("18446744073709551616 is not");
  });

  const resource = all.includes("CAP_SYS_RESOURCE");
  test.skipIf(!resource)(
    `a hard limit above ours, in a user namespace too${resource ? "" : " (skipped: no CAP_SYS_RESOURCE)"}`,
    async () => {
      const bundle = runtime.bundle("ulimit -c; ulimit -Hc", (spec) => {
        const s = spec as unknown as Full;
        s.linux.namespaces?.push({ type: "user" });
        s.linux.uidMappings = s.linux.gidMappings = [{ containerID: 0, hostID: 0, size: 10 }];
        s.process.rlimits = [{ type: "RLIMIT_CORE", soft: 512 * 2000, hard: 512 * 4000 }];
      });
      const out = join(runtime.dir, "raised");
      const fd = openSync(out, "w");
      const main = join(import.meta.dir, "../../src/main.ts");
      const command = `ulimit -c 1000; exec ${process.execPath} ${main} --root ${runtime.root} run -b ${bundle} raised`;
      const env = { ...process.env, INRO_DOOR: "inro-runtime" };
      const child = Bun.spawn(["sh", "-c", command], { stdio: ["ignore", fd, "inherit"], env });
      expect(await child.exited).toBe(0);
      closeSync(fd);
      expect(readFileSync(out, "utf8")).toBe("2000\n4000\n");
    },
  );

  test("capabilities that nobody can give are a warning", async () => {
    const missing = ["CAP_NOPE", ...["CAP_SYS_RESOURCE", "CAP_SYS_BOOT"].filter((name) => !all.includes(name))].sort();
    const names = ["CAP_KILL", ...missing];
    const { out, err, code } = await output(caps, (s) => {
      s.process.capabilities = { bounding: names, permitted: names, effective: names, ambient: ["CAP_KILL"] };
    });
    expect(out).toContain("CapEff:\t0000000000000020\n");
    expect(out).toContain("CapAmb:\t0000000000000000\n");
    expect(err).toContain(`ignoring unknown or unavailable capabilities: [${missing.join(" ")}]`);
    expect(err).toContain("can't raise ambient capability CAP_KILL");
    expect(code).toBe(0);
  });

  test("HOME comes from the container's passwd, which cannot do harm", async () => {
    const bundle = runtime.bundle("echo $HOME", (s) => {
      (s as unknown as Full).process.user.uid = 7;
      (s as unknown as Full).process.env?.push("HOME=");
    });
    const etc = join(bundle, "rootfs/etc");
    mkdirSync(etc);
    const home = async (passwd: string) => {
      writeFileSync(join(etc, "passwd"), passwd);
      return (await runtime.run(["run", "-b", bundle, `home${count++}`])).out;
    };
    // biome-ignore format: a table
    for (const [passwd, wanted] of [
      ["seven:x:7:7::/home/seven:/bin/sh\n",         "/home/seven\n"],
      ["7:x:0:0::/zero:/bin/sh\nx:x:7:7::/b\n",      "/b\n"],
      ["x:x:7:7::relative:\nx:x:7:7::/second:\n",    "/second\n"],
      ["x:x:7:7::/a\0b:\n",                          "/\n"],
      [`x:x:7:7::/${"a".repeat(5000)}:\n`,           "/\n"],
      ["x:x:07:7::/octal:\n:::::\n7\n\xff\n",        "/\n"],
    ] as const) expect(await home(passwd)).toBe(wanted);
  });

  test("a working directory that only the user may enter", async () => {
    const bundle = runtime.bundle("pwd", (spec) => {
      const s = spec as unknown as Full;
      s.linux.namespaces?.push({ type: "user" });
      s.linux.uidMappings = [{ containerID: 0, hostID: 100000, size: 10 }];
      s.linux.gidMappings = [{ containerID: 0, hostID: 100000, size: 10 }];
      s.process.user = { uid: 1, gid: 1, additionalGids: [5] };
      s.process.cwd = "/private";
    });
    chmodSync(runtime.dir, 0o755);
    for (const name of ["proc", "dev", "sys"]) mkdirSync(join(bundle, "rootfs", name));
    // Its owner is not in the user namespace, so root there has no rights over it; the group is.
    const directory = join(bundle, "rootfs/private");
    mkdirSync(directory, { mode: 0o750 });
    chownSync(directory, 0, 100005);
    expect(await runtime.run(["run", "-b", bundle, "private"])).toEqual({ code: 0, out: "/private\n", err: "" });
    await runtime.ok("create", "-b", bundle, "private");
    await runtime.ok("delete", "private");
    chmodSync(directory, 0o700);
    const { code, err } = await runtime.run(["run", "-b", bundle, "private"]);
    expect({ code, err }).toEqual({ code: 1, err: expect.stringContaining("EACCES") });
    expect(statSync(directory).mode & 0o777).toBe(0o700);
  });

  test("a session keyring of its own, which exec joins", async () => {
    const ring = async (id: string, ...flags: string[]) => {
      const script = "cat /proc/keys";
      const change = (s: unknown) => {
        (s as Full).linux.maskedPaths = [];
      };
      await runtime.ok("run", "-d", ...flags, "-b", runtime.bundle("sleep 1000", change), id);
      const found = [];
      for (let i = 0; i < 2; i++) {
        const keys = await runtime.ok("exec", id, "sh", "-c", script);
        found.push(new RegExp(`^(\\w+) .*keyring +_ses.${id}:`, "m").exec(keys)?.[1]);
      }
      await runtime.ok("delete", "-f", id);
      return found;
    };
    const [first, second] = await ring("ring");
    expect(first).toMatch(/^[0-9a-f]+$/);
    expect(second).toBe(first!);
    expect(await ring("noring", "--no-new-keyring")).toEqual([undefined, undefined]);
  });
});
