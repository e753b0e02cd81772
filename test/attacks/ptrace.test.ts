import { afterAll, describe, expect, test } from "bun:test";
import { chmodSync, closeSync, openSync, readFileSync, writeFileSync } from "node:fs";
import { join } from "node:path";
import { encode } from "../../src/program/elf.ts";
import { Program } from "../../src/program/ir.ts";
import { MACHINE } from "../../src/program/machine.ts";
import type { Process, Seccomp, Spec } from "../../src/spec/oci-runtime.ts";
import { cannotRun, Runtime } from "../runtime/bundle.ts";

type Full = Spec & { process: Process; linux: NonNullable<Spec["linux"]> };
const reason = cannotRun ? ` (skipped: ${cannotRun})` : "";

const TRIES = 15;
const PTRACE_ATTACH = 16;
const PTRACE_DETACH = 17;
const WALL = 0x4000_0000;
const SIGCONT = 18;

/** A container's first process that stops each new one as soon as it is there, and prints what the kernel says of it. */
function racer(): Uint8Array {
  const p = new Program(2);
  const ptrace = "ptrace" as never;
  const status = p.room(2048, "status");
  const again = p.label("again");
  p.place(again);
  for (let pid = 2; pid < 2 + TRIES; pid++) {
    const next = p.label("next");
    // Once each: otherwise it would hardly get further.
    const done = p.slot(`caught ${pid}`);
    p.branch("race", done, "equal", 1, next);
    const result = p.temporary("result");
    const fd = p.temporary("status");
    const size = p.temporary("size");
    p.call("race", ptrace, [PTRACE_ATTACH, pid, 0, 0], { into: result, ignore: "all" });
    p.branch("race", result, "at most", -1, next);
    // It may be about to end.
    p.call("race", "wait4", [pid, 0, WALL, 0], { ignore: "all" });
    p.call("race", "openat", [-100, p.text(`/proc/${pid}/status`), 0, 0], { into: fd, ignore: "all" });
    p.call("race", "read", [fd, status, 2048], { into: size, ignore: "all" });
    p.call("race", "write", [1, status, size], { ignore: "all" });
    p.call("race", "close", [fd], { ignore: "all" });
    p.call("race: 1", "getpid", [], { into: done });
    p.call("race", ptrace, [PTRACE_DETACH, pid, 0, 0], { ignore: "all" });
    // What stopped it may have been execve's SIGTRAP, with the attachment's SIGSTOP still to come.
    p.call("race", "kill", [pid, SIGCONT], { ignore: "all" });
    p.place(next);
  }
  const zero = p.temporary("zero");
  p.call("race", "umask", [0], { into: zero });
  p.branch("race", zero, "at most", 0o777, again);
  p.exit("race", p.room(8, "0"));
  return encode(p, MACHINE);
}

/** Docker's way: what cannot be seen in memory is ENOSYS. */
const FILTER: Seccomp = {
  defaultAction: "SCMP_ACT_ALLOW",
  syscalls: [{ names: ["clone3"], action: "SCMP_ACT_ERRNO", errnoRet: 38 }],
};

describe.skipIf(cannotRun !== undefined)(`exec beside processes with CAP_SYS_PTRACE${reason}`, () => {
  const runtime = new Runtime();
  afterAll(() => runtime.close());

  // biome-ignore format: a table
  const cases: [name: string, change: (spec: Full) => void, seccomp: string | undefined, nnp: string][] = [
    ["no filter",                  (s) => { s.process.noNewPrivileges = false; },                             "0", "0"],
    ["no_new_privs",               (s) => { s.process.noNewPrivileges = true; },                              "0", "1"],
    ["a filter",                   (s) => { s.process.noNewPrivileges = false; s.linux.seccomp = FILTER; },   "2", "0"],
    // Without privileges to gain the filter comes last, perhaps after the attack.
    ["a filter, no_new_privs",     (s) => { s.process.noNewPrivileges = true; s.linux.seccomp = FILTER; },    undefined, "1"],
  ];
  for (const [name, change, seccomp, nnp] of cases) {
    test(`${name}: what is caught has no more than it will have`, async () => {
      const id = `race${name.length}`;
      const bundle = runtime.bundle("", ((s: Full) => {
        const caps = ["CAP_SYS_PTRACE"];
        s.process.capabilities = { bounding: caps, permitted: caps, effective: caps };
        s.process.args = ["/racer"];
        change(s);
      }) as never);
      const file = join(bundle, "rootfs/racer");
      writeFileSync(file, racer());
      chmodSync(file, 0o755);
      const out = join(runtime.dir, id);
      const fd = openSync(out, "w");
      expect(await runtime.spawn(["run", "-d", "-b", bundle, id], ["ignore", fd, "inherit"]).exited).toBe(0);
      closeSync(fd);
      for (let i = 0; i < TRIES; i++) {
        // Long enough to be caught, if late, by a racer that has to wait for a processor.
        expect(await runtime.run(["exec", id, "busybox", "sleep", "0.05"])).toEqual({ code: 0, out: "", err: "" });
      }
      const caught = readFileSync(out, "utf8")
        .split(/^(?=Name:)/m)
        .filter(Boolean);
      expect(caught.length).toBeGreaterThan(0);
      for (const status of caught) {
        const field = (key: string) => new RegExp(`^${key}:\\t(.*)$`, "m").exec(status)?.[1];
        const found = ["CapPrm", "CapEff", "CapBnd", "CapInh"].map((key) => [key, field(key)]);
        const wanted = ["CapPrm", "CapEff", "CapBnd"].map((key) => [key, "0000000000080000"]);
        expect(found).toEqual([...wanted, ["CapInh", "0000000000000000"]]);
        expect(field("NoNewPrivs")).toBe(nnp);
        if (seccomp) expect(field("Seccomp")).toBe(seccomp);
      }
      await runtime.ok("delete", "-f", id);
    });
  }

  test("and all else is as with any exec", async () => {
    const bundle = runtime.bundle("sleep 1000", ((s: Full) => {
      const caps = ["CAP_SYS_PTRACE", "CAP_KILL"];
      s.process.capabilities = { bounding: caps, permitted: caps, effective: caps };
      s.process.noNewPrivileges = false;
      s.linux.seccomp = FILTER;
      s.process.rlimits = [{ type: "RLIMIT_NOFILE", soft: 100, hard: 100 }];
    }) as never);
    await runtime.ok("run", "-d", "-b", bundle, "same");
    const exec = (...args: string[]) => runtime.run(["exec", ...args]);
    expect(await exec("same", "sh", "-c", "exit 7")).toMatchObject({ code: 7 });
    expect(await exec("same", "sh", "-c", "kill -TERM $$")).toMatchObject({ code: 143 });
    expect(await exec("same", "nope")).toMatchObject({ code: 255, err: expect.stringContaining("not found in $PATH") });
    expect(await exec("--cwd", "/nowhere", "same", "true")).toMatchObject({
      code: 255,
      err: expect.stringContaining("process.cwd"),
    });
    expect(
      await exec("-u", "5:6", "-g", "7", "--cwd", "/bin", "same", "sh", "-c", "id; pwd; ulimit -n; ls /proc/$$/fd; :"),
    ).toEqual({ code: 0, out: "uid=5 gid=6 groups=7\n/bin\n100\n0\n1\n2\n", err: "" });
    expect(await exec("-t", "same", "sh", "-c", "test -t 0 && echo hi > /dev/tty")).toMatchObject({
      code: 0,
      out: "hi\r\n",
    });
    const pidFile = join(runtime.dir, "same-pid");
    await runtime.ok("exec", "-d", "--pid-file", pidFile, "same", "sleep", "1000");
    const pid = Number(readFileSync(pidFile, "utf8"));
    expect(JSON.parse(await runtime.ok("ps", "-f", "json", "same"))).toContain(pid);
    const { pid: first } = await runtime.status("same");
    for (const file of ["cgroup", "ns/pid", "ns/mnt", "ns/cgroup"]) {
      const read = (of: number) =>
        file === "cgroup"
          ? readFileSync(`/proc/${of}/cgroup`, "utf8")
          : Bun.spawnSync(["readlink", `/proc/${of}/${file}`]).stdout.toString();
      expect([file, read(pid)]).toEqual([file, read(first)]);
    }
    const kept = join(runtime.dir, "kept");
    writeFileSync(kept, "kept\n");
    const [keptFd, outFd] = [openSync(kept, "r"), openSync(`${kept}-out`, "w")];
    const args = ["exec", "--preserve-fds", "1", "same", "cat", "/proc/self/fd/3"];
    expect(await runtime.spawn(args, ["ignore", outFd, "inherit", keptFd]).exited).toBe(0);
    for (const fd of [keptFd, outFd]) closeSync(fd);
    expect(readFileSync(`${kept}-out`, "utf8")).toBe("kept\n");
    await runtime.ok("delete", "-f", "same");
  });
});
