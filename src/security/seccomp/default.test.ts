import { describe, expect, test } from "bun:test";
import { type Abi, syscallNumber } from "../../linux/syscall-numbers.ts";
import { CAPABILITIES, DEFAULT_CAPABILITIES } from "../capabilities.ts";
import { checkFilter, runFilter } from "./bpf-interpreter.ts";
import { compileUncached } from "./compile.ts";
import { DEFAULT_PROFILE } from "./default.ts";
import { type Context, defaultProfile } from "./profile.ts";

const ARCH: Record<Abi, number> = {
  x86_64: 0xc000_003e,
  x32: 0xc000_003e,
  i386: 0x4000_0003,
  aarch64: 0xc000_00b7,
  arm: 0x4000_0028,
};
const ALLOW = 0x7fff_0000;
const EPERM = 0x5_0001;
const ENOSYS = 0x5_0026;

function machine(
  abi: "x86_64" | "aarch64",
  caps: readonly string[] = DEFAULT_CAPABILITIES,
  kernel = { major: 6, minor: 1 },
) {
  const context: Context = { caps, abi, kernel };
  const { code, count } = compileUncached(defaultProfile(context), abi);
  checkFilter(code);
  const call = (name: string | number, args: (number | bigint)[] = [], of: Abi = abi) =>
    runFilter(code, {
      arch: ARCH[of],
      nr: typeof name === "number" ? name : syscallNumber(of, name)!,
      args: args.map(BigInt),
    });
  return { call, count };
}

test("its size", () => {
  expect(DEFAULT_PROFILE.rules[0]!.names).toHaveLength(361);
  expect(new Set(DEFAULT_PROFILE.rules[0]!.names).size).toBe(361);
  expect(DEFAULT_PROFILE.rules).toHaveLength(35);
  expect(DEFAULT_PROFILE.archMap).toHaveLength(9);
  expect(machine("x86_64").count).toBeLessThan(400);
  expect(machine("aarch64").count).toBeLessThan(300);
});

test("its architectures", () => {
  const of = (abi: Abi) => defaultProfile({ caps: [], abi, kernel: { major: 6, minor: 1 } }).architectures;
  expect(of("x86_64")).toEqual(["SCMP_ARCH_X86_64", "SCMP_ARCH_X86", "SCMP_ARCH_X32"]);
  expect(of("aarch64")).toEqual(["SCMP_ARCH_AARCH64", "SCMP_ARCH_ARM"]);
});

describe.each(["x86_64", "aarch64"] as const)("a container without extra capabilities on %s", (abi) => {
  const { call } = machine(abi);
  test.each(
    "read openat execve futex mseal cachestat fchmodat2 landlock_create_ruleset statmount listmount setxattrat chroot ptrace process_vm_readv".split(
      " ",
    ),
  )("%s is allowed", (name) => expect(call(name)).toBe(ALLOW));
  test.each(
    "add_key keyctl request_key io_uring_setup io_uring_enter userfaultfd kexec_load pivot_root swapon move_pages mount umount2 unshare setns bpf reboot init_module acct kcmp pidfd_getfd process_madvise settimeofday clock_settime vhangup mbind syslog perf_event_open open_by_handle_at fsopen quotactl sethostname".split(
      " ",
    ),
  )("%s is EPERM", (name) => expect(call(name)).toBe(EPERM));
  test("clone3 and calls newer than the profile are ENOSYS", () => {
    expect(call("clone3")).toBe(ENOSYS);
    expect(call("removexattrat")).toBe(ALLOW);
    expect(call(syscallNumber(abi, "removexattrat")! + 1)).toBe(ENOSYS);
  });
  test("clone makes threads and processes but no namespaces", () => {
    expect(call("clone", [0x003d_0f00])).toBe(ALLOW);
    for (const flag of [0x2_0000, 0x200_0000, 0x400_0000, 0x800_0000, 0x1000_0000, 0x2000_0000, 0x4000_0000]) {
      expect(call("clone", [flag | 0x11])).toBe(EPERM);
    }
  });
  test("socket: not AF_ALG, not AF_VSOCK, whatever stands above the 32 bits that the kernel reads", () => {
    for (const family of [1, 2, 10, 16, 37, 39, 41]) expect(call("socket", [family])).toBe(ALLOW);
    for (const family of [38n, 40n, (1n << 32n) + 38n, (0xffff_ffffn << 32n) + 40n]) {
      expect(call("socket", [family])).toBe(EPERM);
    }
  });
  test("personality", () => {
    for (const ok of [0, 8, 0x2_0000, 0x2_0008, 0xffff_ffff]) expect(call("personality", [ok])).toBe(ALLOW);
    for (const not of [0x4_0000, 0x2_0001, 0xffff_ffff_ffff_ffffn]) expect(call("personality", [not])).toBe(EPERM);
  });
});

test("what belongs to one architecture", () => {
  const x86 = machine("x86_64").call;
  const arm = machine("aarch64").call;
  for (const name of ["arch_prctl", "modify_ldt"]) expect(x86(name)).toBe(ALLOW);
  expect(x86("modify_ldt", [], "i386")).toBe(ALLOW);
  expect(x86("socketcall", [], "i386")).toBe(ALLOW);
  expect(x86("iopl")).toBe(EPERM);
  for (const name of ["cacheflush", "set_tls", "arm_fadvise64_64"]) expect(arm(name, [], "arm")).toBe(ALLOW);
  expect(arm("mount", [], "arm")).toBe(EPERM);
});

test.each([
  ["SYS_ADMIN", "mount umount2 unshare setns clone3 bpf perf_event_open syslog sethostname quotactl fsopen move_mount"],
  ["DAC_READ_SEARCH", "open_by_handle_at"],
  ["SYS_BOOT", "reboot"],
  ["SYS_MODULE", "init_module finit_module delete_module"],
  ["SYS_PACCT", "acct"],
  ["SYS_PTRACE", "kcmp pidfd_getfd process_madvise ptrace"],
  ["SYS_RAWIO", "iopl ioperm"],
  ["SYS_TIME", "settimeofday clock_settime"],
  ["SYS_TTY_CONFIG", "vhangup"],
  ["SYS_NICE", "get_mempolicy mbind set_mempolicy set_mempolicy_home_node"],
  ["SYSLOG", "syslog"],
  ["BPF", "bpf"],
  ["PERFMON", "perf_event_open"],
])("CAP_%s opens %s", (cap, names) => {
  const without = machine(
    "x86_64",
    CAPABILITIES.filter((c) => !["CAP_SYS_ADMIN", `CAP_${cap}`].includes(c)),
    { major: 4, minor: 7 },
  );
  const having = machine("x86_64", [`CAP_${cap}`]);
  for (const name of names.split(" ")) {
    expect(having.call(name)).toBe(ALLOW);
    // What a second capability opens as well is not closed by the lack of this one.
    if (!["bpf", "perf_event_open", "syslog"].includes(name) || cap !== "SYS_ADMIN")
      expect(without.call(name)).not.toBe(ALLOW);
  }
});

test("chroot goes with its capability, ptrace with the kernel", () => {
  expect(machine("x86_64", []).call("chroot")).toBe(EPERM);
  expect(machine("x86_64", [], { major: 4, minor: 7 }).call("ptrace")).toBe(EPERM);
  expect(machine("x86_64", [], { major: 4, minor: 8 }).call("ptrace")).toBe(ALLOW);
});

test("SYS_ADMIN may clone namespaces, yet not open AF_VSOCK", () => {
  const { call } = machine("x86_64", CAPABILITIES);
  expect(call("clone", [0x1000_0000])).toBe(ALLOW);
  expect(call("socket", [40])).toBe(EPERM);
  expect(call("io_uring_setup")).toBe(EPERM);
});

test("a call costs few instructions: libseccomp's list for runc takes 129 on the mean of the common ones", () => {
  const { code } = compileUncached(
    defaultProfile({ caps: DEFAULT_CAPABILITIES, abi: "x86_64", kernel: { major: 6, minor: 1 } }),
    "x86_64",
  );
  const cost = (name: string) => {
    const done = { instructions: 0 };
    runFilter(code, { arch: ARCH.x86_64, nr: syscallNumber("x86_64", name)!, args: [2n, 1n, 0n, 0n, 0n, 0n] }, done);
    return done.instructions;
  };
  const plain = `read write close fstat poll lseek mmap mprotect brk rt_sigaction ioctl readv writev select madvise
    nanosleep getpid sendto recvfrom connect accept4 execve exit wait4 kill fcntl getdents64 futex epoll_wait openat
    newfstatat getrandom statx clock_gettime sendmsg recvmsg clone3 mount`.split(/\s+/);
  for (const name of plain) expect([name, cost(name)]).toEqual([name, 11]);
  // Their arguments are looked at.
  for (const name of ["socket", "clone"]) expect(cost(name)).toBeLessThanOrEqual(20);
});
