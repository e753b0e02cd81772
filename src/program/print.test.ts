import { describe, expect, test } from "bun:test";
import * as k from "../linux/constants.ts";
import type { SyscallName } from "../linux/signatures.ts";
import { Data, Offset, type Operand, Program } from "./ir.ts";
import { describe as describeProgram, diff, format, nameStep } from "./print.ts";

function words(...values: (number | bigint)[]): Buffer {
  const bytes = Buffer.alloc(values.length * 8);
  for (const [i, value] of values.entries()) bytes.writeBigUInt64LE(BigInt(value), i * 8);
  return bytes;
}

/** The one line of one call. */
function line(call: SyscallName, args: (p: Program) => Operand[]): string {
  const p = new Program(3);
  p.call("", call, args(p));
  return describeProgram(p)[0]!.text;
}

describe("one call", () => {
  const cases: [wanted: string, call: SyscallName, args: (p: Program) => Operand[]][] = [
    [
      'mount("proc", "/proc", "proc", MS_NOSUID|MS_NODEV|MS_NOEXEC, NULL)',
      "mount",
      (p) => [p.text("proc"), p.text("/proc"), p.text("proc"), k.MS_NOSUID | k.MS_NODEV | k.MS_NOEXEC, 0],
    ],
    [
      'mount(NULL, "/", NULL, MS_REC|MS_PRIVATE, NULL)',
      "mount",
      (p) => [0, p.text("/"), 0, k.MS_PRIVATE | k.MS_REC, 0],
    ],
    ["umount2(<old>, MNT_DETACH|0x10)", "umount2", (p) => [p.slot("old"), 18]],
    ['mkdirat(AT_FDCWD, "dev/pts", 0755)', "mkdirat", (p) => [k.AT_FDCWD, p.text("dev/pts"), 0o755]],
    [
      'mknodat(<dev>, "null", S_IFCHR|0666, 259)',
      "mknodat",
      (p) => [p.slot("dev"), p.text("null"), k.S_IFCHR | 0o666, 259],
    ],
    ["umask(0)", "umask", () => [0]],
    ['openat(5, "x", O_RDONLY)', "openat", (p) => [5, p.text("x"), 0]],
    ['openat(5, "x", O_RDONLY|O_CLOEXEC)', "openat", (p) => [5, p.text("x"), k.O_CLOEXEC]],
    ['openat(5, "x", O_CLOEXEC|O_PATH)', "openat", (p) => [5, p.text("x"), k.O_PATH | k.O_CLOEXEC]],
    ['openat(5, "x", O_RDWR|O_TMPFILE, 0600)', "openat", (p) => [5, p.text("x"), k.O_TMPFILE | k.O_RDWR, 0o600]],
    ["dup3(<tty>, 0, 0)", "dup3", (p) => [p.slot("tty"), 0, 0]],
    ["prctl(PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0)", "prctl", () => [k.PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0]],
    ["prctl(0x3e7)", "prctl", () => [999]],
    ['prctl(PR_SET_NAME, "inro")', "prctl", (p) => [k.PR_SET_NAME, p.text("inro")]],
    ["prctl(PR_SET_PDEATHSIG, SIGKILL)", "prctl", () => [k.PR_SET_PDEATHSIG, 9]],
    ["kill(<pid>, SIGKILL)", "kill", (p) => [p.slot("pid"), 9]],
    ["kill(1, SIGABRT)", "kill", () => [1, 6]],
    ["kill(1, 64)", "kill", () => [1, 64]],
    ["setresuid(0, -1, -1)", "setresuid", () => [0, 0xffff_ffff, -1]],
    ["clone(SIGCHLD, NULL)", "clone", () => [17, 0]],
    ["clone(CLONE_VM|CLONE_NEWPID|SIGCHLD)", "clone", () => [k.CLONE_NEWPID | 0x100 | 17]],
    ["setns(<net>, CLONE_NEWNET)", "setns", (p) => [p.slot("net"), k.CLONE_NEWNET]],
    ["socket(AF_UNIX, SOCK_SEQPACKET|SOCK_CLOEXEC, 0)", "socket", () => [1, 5 | k.SOCK_CLOEXEC, 0]],
    ["capset(NULL, 0xffffffffffffffff)", "capset", () => [0, -1]],
    [
      "execve(NULL, {arguments}, {2 variables})",
      "execve",
      (p) => [0, p.strings(["a"], "arguments"), p.strings(["A=1", "B=2"], "2 variables")],
    ],
    ["read(<go>, {go byte}+4, 1)", "read", (p) => [p.slot("go"), new Offset(p.room(8, "go byte"), 4), 1]],
    ["close_range(3, 4294967295, CLOSE_RANGE_CLOEXEC)", "close_range", () => [3, 0xffff_ffff, 4]],
    ["fchdir(1, 2)", "fchdir", () => [1, 2]],
  ];
  test.each(cases)("%s", (wanted, call, args) => expect(line(call, args)).toBe(wanted));

  test("structures print by field", () => {
    const how = words(k.O_PATH | k.O_CLOEXEC, 0, k.RESOLVE_IN_ROOT | k.RESOLVE_NO_MAGICLINKS);
    expect(line("openat2", (p) => [p.slot("rootfs"), p.text("dev/shm"), p.bytes(how, "open_how"), 24])).toBe(
      'openat2(<rootfs>, "dev/shm", {flags=O_CLOEXEC|O_PATH, resolve=RESOLVE_NO_MAGICLINKS|RESOLVE_IN_ROOT}, 24)',
    );
    const creates = words(k.O_CREAT, 0o644, 0);
    expect(line("openat2", (p) => [3, p.text("f"), p.bytes(creates, "open_how"), 24])).toBe(
      'openat2(3, "f", {flags=O_RDONLY|O_CREAT, mode=0644}, 24)',
    );
    const attr = words(k.MOUNT_ATTR_RDONLY | k.MOUNT_ATTR_NOATIME, k.MOUNT_ATTR__ATIME, k.MS_PRIVATE, 9);
    expect(
      line("mount_setattr", (p) => [-1, p.text(""), k.AT_RECURSIVE | k.AT_EMPTY_PATH, p.bytes(attr, "attr"), 32]),
    ).toBe(
      'mount_setattr(-1, "", AT_EMPTY_PATH|AT_RECURSIVE, {attr_set=MOUNT_ATTR_RDONLY|MOUNT_ATTR_NOATIME, ' +
        "attr_clr=MOUNT_ATTR__ATIME, propagation=MS_PRIVATE, userns_fd=9}, 32)",
    );
  });

  test("a structure shows what rows before it have stored there, and what it points to", () => {
    const p = new Program(3);
    const cgroup = p.result("", "cgroup", "openat", [k.AT_FDCWD, p.text("/g"), k.O_PATH]);
    const bytes = words(BigInt(k.CLONE_INTO_CGROUP) | BigInt(k.CLONE_NEWPID) | 0x1000n, 0, 0, 0, 17, 0, 0, 0, 0, 0, 0);
    const args = new Data(bytes, "clone_args", [[8, p.room(4, "pidfd")]]);
    const call = () => p.call("", "clone3", [args, 88]);
    call();
    p.store("", cgroup, new Offset(args, 80));
    call();
    const flags = "flags=CLONE_PIDFD|CLONE_NEWPID|CLONE_INTO_CGROUP, pidfd={pidfd}, exit_signal=SIGCHLD";
    const text = describeProgram(p).map((step) => step.text);
    expect(text[1]).toBe(`clone3({${flags}}, 88)`);
    expect(text[3]).toBe(`clone3({${flags}, cgroup=<cgroup>}, 88)`);
  });

  test("text is bounded and cannot drive a terminal", () => {
    expect(line("chdir", (p) => [p.text("x".repeat(201))])).toBe(`chdir("${"x".repeat(200)}"...)`);
    expect(line("chdir", (p) => [p.text('a"\n\x1b[2J\x9b\u202e')])).toBe('chdir("a\\"\\n\\u001b[2J\\u009b\\u202e")');
    const p = new Program(3);
    p.call("why\x1b", "fchdir", [p.slot("s\x1b")]);
    p.call("y".repeat(300), "write", [1, p.room(4, `a\nb${"z".repeat(300)}`), 4]);
    const [first, second] = describeProgram(p);
    expect(first).toMatchObject({ text: "fchdir(<s\\u001b>)", why: "why\\u001b" });
    expect(second!.text).toStartWith("write(1, {a\\u000ab");
    expect(second!.text.length).toBeLessThan(250);
    expect(second!.why).toBe(`${"y".repeat(200)}...`);
  });
});

/** A program with each kind of row. */
function everything(path = "/bin/sh"): Program {
  const p = new Program(3);
  const child = p.label("container");
  const gone = p.label("gone");
  const wstatus = p.room(4, "wait status");
  const pid = p.result(
    "namespaces: pid",
    "pid",
    "clone3",
    [p.bytes(words(k.CLONE_NEWPID, 0, 0, 0, 17), "clone_args"), 40],
    { child },
  );
  p.store("keeper", pid, wstatus);
  p.branch("keeper", pid, "at most", -1, gone);
  p.call("keeper", "wait4", [pid, wstatus, 0, 0], { ignore: ["ECHILD"], expect: 1 });
  p.exit("keeper", wstatus);
  p.place(child);
  p.call("process.args", "execve", [p.text(path), p.strings([path], "arguments"), 0], { ignore: "all" });
  p.place(gone);
  p.fail("process.args", "execve", "sh", "ENOENT");
  return p;
}

describe("a program", () => {
  test("its steps are plain data", () => {
    const steps = describeProgram(everything());
    expect(JSON.parse(JSON.stringify(steps))).toEqual(steps);
    expect(steps[3]).toEqual({
      step: 4,
      total: 7,
      call: "wait4",
      text: "wait4(<pid>, {wait status}, 0, NULL) expect 1 ignore ECHILD",
      why: "keeper",
      args: ["<pid>", "{wait status}", "0", "NULL"],
      labels: [],
    });
    expect(steps.map(({ call, labels }) => [call, ...labels])).toEqual([
      ["clone3"],
      ["store"],
      ["branch"],
      ["wait4"],
      ["exit"],
      ["execve", "container"],
      ["fail", "gone"],
    ]);
  });

  test("as a table", () => {
    expect(format(describeProgram(everything()))).toBe(
      [
        "1  clone3({flags=CLONE_NEWPID, exit_signal=SIGCHLD}, 40) = pid child to container  namespaces: pid",
        "2  store <pid> in {wait status}                                                    keeper",
        "3  if <pid> <= -1 go to gone                                                       keeper",
        "4  wait4(<pid>, {wait status}, 0, NULL) expect 1 ignore ECHILD                     keeper",
        "5  exit as {wait status}                                                           keeper",
        "container:",
        '6  execve("/bin/sh", {arguments}, NULL) ignore all errors                          process.args',
        "gone:",
        '7  fail execve "sh": ENOENT                                                        process.args',
      ].join("\n"),
    );
    expect(format([])).toBe("");
  });

  test("a narrow table wraps after spaces and |", () => {
    const p = new Program(3);
    p.call("mounts[3], of a long cause", "umount2", [p.text("/a"), 10]);
    expect(format(describeProgram(p), 48).split("\n")).toEqual([
      '1  umount2("/a", MNT_DETACH|    mounts[3], of a',
      "     UMOUNT_NOFOLLOW)             long cause",
    ]);
  });

  test("differences, by text and cause", () => {
    const a = describeProgram(everything());
    expect(diff(a, describeProgram(everything()))).toBe("");
    expect(diff(a, describeProgram(everything("/bin/ash")))).toBe(
      [
        "...",
        "  wait4(<pid>, {wait status}, 0, NULL) expect 1 ignore ECHILD  # keeper",
        "  exit as {wait status}  # keeper",
        '- container: execve("/bin/sh", {arguments}, NULL) ignore all errors  # process.args',
        '+ container: execve("/bin/ash", {arguments}, NULL) ignore all errors  # process.args',
        '  gone: fail execve "sh": ENOENT  # process.args',
      ].join("\n"),
    );
    const more = new Program(3);
    more.call("first", "setsid", []);
    more.rows.push(...everything().rows);
    // Labels hold row numbers: they are one too low now, which is a difference too.
    const changed = diff(a.slice(0, 3), describeProgram(more).slice(0, 4));
    expect(changed.split("\n")[0]).toBe("+ setsid()  # first");
    expect(changed).not.toContain("\n-");
    expect(diff(a.slice(0, 1), [])).toStartWith("- clone3(");
    expect(diff([], a.slice(0, 1))).toStartWith("+ clone3(");
  });
});

describe("the name of a step", () => {
  const cases: [wanted: string, call: SyscallName, args: (p: Program) => Operand[]][] = [
    ["mount proc on /proc", "mount", (p) => [p.text("proc"), p.text("/proc"), p.text("proc"), 0, 0]],
    ["mount on /", "mount", (p) => [0, p.text("/"), 0, k.MS_PRIVATE, 0]],
    ["mount source on target", "mount", (p) => [p.slot("source"), p.room(32, "target"), 0, k.MS_BIND, 0]],
    ["openat2 /dev/shm", "openat2", (p) => [p.slot("rootfs"), p.text("/dev/shm"), 0, 24]],
    ["execve /bin/sh", "execve", (p) => [p.text("/bin/sh"), 0, 0]],
    ["execveat file", "execveat", (p) => [p.slot("file"), p.text(""), 0, 0, k.AT_EMPTY_PATH]],
    [
      "move_mount overlay to rootfs",
      "move_mount",
      (p) => [p.slot("overlay"), p.text(""), p.slot("rootfs"), p.text(""), 0],
    ],
    ["symlinkat dev/fd", "symlinkat", (p) => [p.text("/proc/self/fd"), 3, p.text("dev/fd")]],
    ["fsconfig lowerdir+", "fsconfig", (p) => [p.slot("overlay"), 1, p.text("lowerdir+"), p.text("/l"), 0]],
    ["fsconfig FSCONFIG_CMD_CREATE", "fsconfig", (p) => [p.slot("overlay"), 6, 0, 0, 0]],
    ["fchdir rootfs", "fchdir", (p) => [p.slot("rootfs")]],
    ["prctl PR_SET_NO_NEW_PRIVS", "prctl", () => [k.PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0]],
    ["setns net", "setns", (p) => [p.slot("net"), k.CLONE_NEWNET]],
    ["unshare CLONE_NEWNS", "unshare", () => [k.CLONE_NEWNS]],
    ["ioctl TIOCSCTTY", "ioctl", (p) => [p.slot("tty"), k.TIOCSCTTY, 0]],
    ["close", "close", () => [5]],
    ["setsid", "setsid", () => []],
    ["chdir a\\u001b", "chdir", (p) => [p.text("a\x1b")]],
  ];
  test.each(cases)("%s", (wanted, call, args) => {
    const p = new Program(3);
    p.call("", call, args(p));
    expect(nameStep(p, 0)).toBe(wanted);
  });

  test("of other rows, and of none", () => {
    const p = everything();
    expect([1, 4, 6, 7, -1].map((row) => nameStep(p, row))).toEqual(["store", "exit", "execve sh", "row 7", "row -1"]);
  });
});
