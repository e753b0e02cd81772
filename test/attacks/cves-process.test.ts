import { afterAll, describe, expect, test } from "bun:test";
import { closeSync, mkdirSync, openSync, readFileSync, readlinkSync, statSync, writeFileSync } from "node:fs";
import { join } from "node:path";
import { sys } from "../../src/linux/call.ts";
import * as k from "../../src/linux/constants.ts";
import type { Process, Spec } from "../../src/spec/oci-runtime.ts";
import { cannotRun, Runtime } from "../runtime/bundle.ts";

type Full = Spec & { process: Process; linux: NonNullable<Spec["linux"]> };
const reason = cannotRun ? ` (skipped: ${cannotRun})` : "";
const F_GET_SEALS = 1034;

describe.skipIf(cannotRun !== undefined)(`what others of the kind had, of the process${reason}`, () => {
  const runtime = new Runtime();
  afterAll(() => runtime.close());
  const config = (change: (spec: Full) => void) => (s: unknown) => change(s as Full);

  /** A container that runs, and one that waits for start in the same pid namespace; the second's pid as the first sees it. */
  async function neighbours(name: string, capabilities: string[] | undefined) {
    const [first, second] = [`${name}1`, `${name}2`];
    const change = config((s) => {
      s.linux.maskedPaths = [];
      if (capabilities)
        s.process.capabilities = { bounding: capabilities, effective: capabilities, permitted: capabilities };
    });
    await runtime.ok("run", "-d", "-b", runtime.bundle("sleep 1000", change), first);
    const { pid } = await runtime.status(first);
    const joined = config((s) => {
      const namespaces = s.linux.namespaces?.filter(({ type }) => type !== "pid") ?? [];
      s.linux.namespaces = [...namespaces, { type: "pid", path: `/proc/${pid}/ns/pid` }];
    });
    await runtime.ok("create", "-b", runtime.bundle("sleep 1000", joined), second);
    const waiting = (await runtime.status(second)).pid;
    const inside = /^NSpid:.*\t(\d+)$/m.exec(readFileSync(`/proc/${waiting}/status`, "utf8"))?.[1] ?? "";
    expect(Number(inside)).toBeGreaterThan(1);
    return { first, second, waiting, inside };
  }

  test("CVE-2016-9962: what is set up gives its descriptors and memory to nobody", async () => {
    const { first, second, inside } = await neighbours("dumpable", undefined);
    const look = `cd /proc/${inside} && ls root/ cwd/; cat fd/3 environ maps mem; readlink exe cwd root fd/*; echo done`;
    expect((await runtime.run(["exec", first, "sh", "-c", look])).out).toBe("done\n");
    await runtime.ok("delete", "-f", second);
    await runtime.ok("delete", "-f", first);
  });

  test("CVE-2019-5736: the runtime is in a sealed file of memory, for whoever finds it in /proc", async () => {
    const all = ["CAP_SYS_PTRACE", "CAP_DAC_OVERRIDE", "CAP_SYS_ADMIN", "CAP_FOWNER"];
    const { first, second, waiting, inside } = await neighbours("exe", all);
    expect(readlinkSync(`/proc/${waiting}/exe`)).toStartWith("/memfd:inro-runtime");
    const fd = openSync(`/proc/${waiting}/exe`, "r");
    const seals = sys("fcntl", "F_GET_SEALS", fd, F_GET_SEALS, 0);
    closeSync(fd);
    expect(seals).toBe(k.F_SEAL_SEAL | k.F_SEAL_SHRINK | k.F_SEAL_GROW | k.F_SEAL_WRITE);
    const content = readFileSync(`/proc/${waiting}/exe`);
    const attack = `readlink /proc/${inside}/exe; echo overwritten > /proc/${inside}/exe`;
    const { out, err } = await runtime.run(["exec", first, "sh", "-c", attack]);
    expect(out).toContain("memfd:inro-runtime");
    expect(err).toContain("can't create");
    expect(readFileSync(`/proc/${waiting}/exe`).equals(content)).toBe(true);
    await runtime.ok("delete", "-f", second);
    // The other way: the runtime is made to execute itself. That is the same file, which knows nobody outside.
    const binary = statSync(process.execPath);
    for (const command of ["/proc/self/exe", "/proc/1/exe"]) {
      expect((await runtime.run(["exec", first, command, "--help"])).code, command).not.toBe(0);
    }
    const after = statSync(process.execPath);
    expect([after.mtimeMs, after.size, after.ino]).toEqual([binary.mtimeMs, binary.size, binary.ino]);
    await runtime.ok("delete", "-f", first);
  });

  test("CVE-2024-21626: no descriptor of ours is a working directory, or a command", async () => {
    const secret = join(runtime.dir, "secret");
    mkdirSync(secret);
    writeFileSync(join(secret, "marker"), "of the host");
    const marker = openSync(secret, "r");
    await runtime.ok("run", "-d", "-b", runtime.bundle("sleep 1000"), "cwd");
    const look = "ls; cat marker ../marker; pwd";
    for (const n of [0, 3, 5, 8, 9, 12, 400, 600]) {
      for (const way of [`/proc/self/fd/${n}`, `/proc/self/fd/${n}/../../..`]) {
        const bundle = runtime.bundle(
          look,
          config((s) => (s.process.cwd = way)),
        );
        const run = await runtime.run(["run", "-b", bundle, "leak"]);
        expect({ way, code: run.code, out: run.out }).toEqual({ way, code: 1, out: "" });
        const exec = await runtime.run(["exec", "--cwd", way, "cwd", "sh", "-c", look]);
        expect({ way, code: exec.code, out: exec.out }).toEqual({ way, code: 255, out: "" });
      }
    }
    expect((await runtime.run(["exec", "cwd", `/proc/self/fd/9${secret}/marker`])).code).toBe(255);
    expect(await runtime.ok("exec", "cwd", "sh", "-c", "ls /proc/$$/fd; :")).toBe("0\n1\n2\n");
    closeSync(marker);
    await runtime.ok("delete", "-f", "cwd");
  });

  test("CVE-2016-3697: a number is a user id, whoever bears it as a name", async () => {
    const bundle = runtime.bundle("sleep 1000");
    mkdirSync(join(bundle, "rootfs/etc"));
    writeFileSync(join(bundle, "rootfs/etc/passwd"), "1000:x:0:0::/root:/bin/sh\nroot:x:0:0::/root:/bin/sh\n");
    writeFileSync(join(bundle, "rootfs/etc/group"), "1001:x:0:1000\n");
    await runtime.ok("run", "-d", "-b", bundle, "names");
    const id = "busybox grep -E '^(Uid|Gid|Groups)' /proc/self/status; echo $HOME";
    const { out } = await runtime.run(["exec", "--user", "1000:1001", "names", "sh", "-c", id]);
    expect(out.replace(/[ \t]+/g, " ")).toBe("Uid: 1000 1000 1000 1000\nGid: 1001 1001 1001 1001\nGroups: \n/\n");
    for (const user of ["root", "0x0", "1000:root", "-1", "4294967296", " 0", ""]) {
      const { code, out } = await runtime.run(["exec", "--user", user, "names", "id"]);
      expect({ user, code, out }).toEqual({ user, code: 255, out: "" });
    }
    await runtime.ok("delete", "-f", "names");
  });

  test("CVE-2022-29162: exec --cap raises nothing inheritable", async () => {
    const caps = "busybox grep -E '^Cap(Inh|Prm|Amb)' /proc/self/status";
    await runtime.ok("run", "-d", "-b", runtime.bundle("sleep 1000"), "caps");
    const parse = (lines: string) =>
      Object.fromEntries([...lines.matchAll(/^(Cap...):\t(\w+)$/gm)].map((m) => [m[1], m[2]]));
    const plain = parse(await runtime.ok("exec", "--cap", "CAP_CHOWN", "caps", "sh", "-c", caps));
    expect(plain).toEqual({ CapInh: "0000000000000000", CapPrm: "0000000020000421", CapAmb: "0000000000000000" });
    await runtime.ok("delete", "-f", "caps");
    const bundle = runtime.bundle(
      "sleep 1000",
      config((s) => {
        const kill = ["CAP_KILL"];
        s.process.capabilities = { bounding: kill, permitted: kill, effective: kill, inheritable: kill };
      }),
    );
    await runtime.ok("run", "-d", "-b", bundle, "caps");
    const inherits = parse(await runtime.ok("exec", "--cap", "CAP_CHOWN", "caps", "sh", "-c", caps));
    expect(inherits).toEqual({ CapInh: "0000000000000020", CapPrm: "0000000000000021", CapAmb: "0000000000000000" });
    await runtime.ok("delete", "-f", "caps");
  });

  test("a process file without capabilities has the container's, not all there are", async () => {
    const bundle = runtime.bundle(
      "sleep 1000",
      config((s) => (s.process.rlimits = [])),
    );
    await runtime.ok("run", "-d", "-b", bundle, "file");
    const path = join(runtime.dir, "bare.json");
    const args = ["/bin/busybox", "grep", "^CapPrm", "/proc/self/status"];
    writeFileSync(path, JSON.stringify({ args, cwd: "/", user: { uid: 0, gid: 0 } }));
    expect(await runtime.ok("exec", "--process", path, "file")).toBe("CapPrm:\t0000000020000420\n");
    await runtime.ok("delete", "-f", "file");
  });
});
