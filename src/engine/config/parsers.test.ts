import { describe, expect, test } from "bun:test";
import { checkCpuset, parseCpuList } from "./cpuset.ts";
import { parseDeviceRule } from "./devices.ts";
import { FACTS } from "./fixture.ts";
import { hostFacts } from "./host-facts.ts";
import { hostFiles } from "./host-files.ts";
import { hostnameOf, parseExtraHost } from "./hosts.ts";
import { namespaceModes, usernsRequest } from "./modes.ts";
import { containerName, randomName } from "./names.ts";
import { parseSecurityOptions } from "./security-options.ts";
import { parseSignal } from "./signals.ts";
import { checkSysctls } from "./sysctls.ts";
import { rlimits } from "./ulimits.ts";
import { validateUpdate } from "./validate-update.ts";

describe("names", () => {
  test.each(["web", "/web", "A.b_c-9"])("%s", (name) => {
    expect(containerName(name)).toBe(name.replace("/", ""));
  });
  test.each(["", "a", "/", "-ab", "a b", "//ab", "ä1", "a/b", "ab\n"])("refused: %j", (name) => {
    expect(() => containerName(name)).toThrow("only [a-zA-Z0-9][a-zA-Z0-9_.-] are allowed");
  });
  test("random ones are valid, and new also when all plain ones are taken", () => {
    expect(randomName(() => false)).toMatch(/^[a-z]+_[a-z]+$/);
    const name = randomName((taken) => !/[0-9]$/.test(taken));
    expect(containerName(name)).toMatch(/^[a-z]+_[a-z]+[0-9]+$/);
  });
});

describe("signals", () => {
  test.each([
    ["TERM", 15],
    ["sigkill", 9],
    ["10", 10],
    ["SIGRTMIN", 34],
    ["RTMIN+3", 37],
    ["RTMAX-1", 63],
  ])("%s is %d", (text, number) => {
    expect(parseSignal(text)).toBe(number);
  });
  test.each(["", "0", "65", "FOO", "RTMAX+1", "15x", "-1", "__proto__"])("refused: %s", (text) => {
    expect(() => parseSignal(text)).toThrow("invalid signal");
  });
});

describe("CPU lists", () => {
  test("numbers", () => {
    expect([...(parseCpuList("0-2,7, 9-9") ?? [])]).toEqual([0, 1, 2, 7, 9]);
  });
  test.each(["", "a", "2-1", "1-", "0-99999", "1,,2"])("none: %j", (text) => {
    expect(parseCpuList(text)).toBeUndefined();
  });
  test("holes count", () => {
    expect(() => checkCpuset("1", "cpus", "0,2-3")).toThrow("requested 1, available: 0,2-3");
    expect(checkCpuset("0,3", "cpus", "0,2-3")).toBeUndefined();
  });
});

describe("device rules", () => {
  test.each([
    ["c 1:3 rwm", { allow: true, type: "c", major: 1, minor: 3, access: "rwm" }],
    ["a *:* m", { allow: true, type: "a", access: "m" }],
    ["b 8:* r", { allow: true, type: "b", major: 8, access: "r" }],
  ])("%s", (text, rule) => {
    expect(parseDeviceRule(text)).toEqual(rule as never);
  });
  test.each(["", "c 1:3", "x 1:3 r", "c 1:3 rwmx", "c -1:3 r", "c 1:3 r\n"])("refused: %j", (text) => {
    expect(() => parseDeviceRule(text)).toThrow("invalid device cgroup rule format");
  });
});

describe("hosts", () => {
  test.each([
    ["a:1.2.3.4", "a", "1.2.3.4"],
    ["a=::1", "a", "::1"],
    ["a.b:[fe80::1]", "a.b", "fe80::1"],
  ])("%s", (entry, name, address) => {
    expect(parseExtraHost(entry)).toEqual({ name, address });
  });
  test.each(["a:", ":1.2.3.4", "a\n:1.2.3.4", "a:1.2.3.4\n", "a=fe80::1%eth0 x"])("refused: %j", (entry) => {
    expect(() => parseExtraHost(entry)).toThrow("add-host");
  });
  test("whose name", () => {
    expect(hostnameOf("1".repeat(64), {}, {}, FACTS)).toBe("111111111111");
    expect(hostnameOf("1".repeat(64), {}, { NetworkMode: "host" }, FACTS)).toBe("machine");
    expect(hostnameOf("1".repeat(64), { Hostname: "x" }, { NetworkMode: "host" }, FACTS)).toBe("x");
  });
});

describe("modes", () => {
  test("the cgroup namespace is private, but for a privileged container on v1", () => {
    const kind = (host: object, cgroup: "v1" | "v2" | "hybrid") => namespaceModes(host, cgroup).cgroup.kind;
    expect(kind({}, "v1")).toBe("private");
    expect(kind({ Privileged: true }, "hybrid")).toBe("host");
    expect(kind({ Privileged: true }, "v2")).toBe("private");
    expect(kind({ CgroupnsMode: "host" }, "v2")).toBe("host");
  });
  test.each([
    [undefined, undefined],
    ["host", undefined],
    ["auto", 65536],
    ["private", 65536],
    ["auto:size=2000", 2000],
  ])("user namespace of %p", (mode, size) => {
    expect(usernsRequest(mode)?.size).toBe(size);
  });
});

test("security options", () => {
  const parse = (...options: string[]) => parseSecurityOptions(options, { ...FACTS, seccomp: true, apparmor: true });
  expect(parse("no-new-privileges:true", "apparmor=mine", "label=disable", "seccomp=unconfined")).toEqual({
    noNewPrivileges: true,
    seccomp: { kind: "unconfined" },
    apparmor: "mine",
    writableCgroups: false,
    unconfinedPaths: false,
  });
  expect(parse("no-new-privileges=false").noNewPrivileges).toBe(false);
  expect(() => parse("no-new-privileges=maybe")).toThrow("invalid --security-opt");
  expect(() => parse("apparmor=a b")).toThrow("invalid AppArmor profile name");
  const rule = { names: ["mkdir"], action: "SCMP_ACT_NOTIFY" };
  const notify = JSON.stringify({ defaultAction: "SCMP_ACT_ALLOW", listenerPath: "/x", syscalls: [rule] });
  expect(() => parse(`seccomp=${notify}`)).toThrow("SCMP_ACT_NOTIFY: the engine hands no listener");
});

test("sysctls: names with dots; those of one interface are refused", () => {
  const modes = namespaceModes({}, "v2");
  const dotted = checkSysctls({ "net/ipv4/conf/all/forwarding": "1", "kernel.shm_rmid_forced": "1" }, modes);
  expect(dotted).toEqual({ "net.ipv4.conf.all.forwarding": "1", "kernel.shm_rmid_forced": "1" });
  for (const name of ["net.ipv4.conf.eth0.forwarding", "net/ipv6/conf/eth0/x"]) {
    expect(() => checkSysctls({ [name]: "1" }, modes)).toThrow("interface specific");
  }
  for (const name of ["kernel.domainname", "kernel.hostname", "vm.swappiness", "kernel.shmfoo", "fs.file-max", "net"]) {
    expect(() => checkSysctls({ [name]: "1" }, modes)).toThrow("sysctl");
  }
  expect(() => checkSysctls({ "net.core.x": "1\n2" }, modes)).toThrow("invalid value");
});

test("ulimits: the same twice, unlimited, soft beyond hard", () => {
  const one = (Soft: number, Hard: number, Name = "core") => ({ Name, Soft, Hard });
  expect(rlimits([one(-1, -1)], FACTS)).toEqual([{ type: "RLIMIT_CORE", soft: 2 ** 64, hard: 2 ** 64 }]);
  expect(() => rlimits([one(1, 1), one(1, 1)], FACTS)).toThrow("given twice");
  expect(() => rlimits([one(-1, 5)], FACTS)).toThrow("less than or equal to hard");
  expect(() => rlimits([one(1, -2)], FACTS)).toThrow("use -1 for unlimited");
  expect(() => rlimits([one(1, -1, "nofile")], FACTS)).toThrow("hard limit unlimited is above the engine's own 4096");
});

describe("update", () => {
  const present = { Memory: 64 << 20, MemorySwap: 128 << 20, CpuQuota: 5000, PidsLimit: 5, Privileged: true };
  test("changes what is given and nothing else", () => {
    const { host } = validateUpdate(
      { Memory: 32 << 20, NanoCpus: 1e9, Privileged: false, CpuShares: 0 },
      present,
      { blockDevices: true },
      FACTS,
    );
    expect(host).toEqual({ Memory: 32 << 20, MemorySwap: 128 << 20, NanoCpus: 1e9, PidsLimit: 5, Privileged: true });
  });
  test("a limit of processes is lifted by zero and below; lists of block devices count since 1.55", () => {
    const disk = [{ Path: "/dev/sda", Rate: 1 }];
    const update = (body: object, blockDevices = true) =>
      validateUpdate(body, { ...present, BlkioDeviceReadBps: disk }, { blockDevices }, FACTS).host;
    for (const PidsLimit of [0, -1]) expect(update({ PidsLimit }).PidsLimit).toBe(0);
    expect(update({ PidsLimit: null }).PidsLimit).toBe(5);
    expect(update({ BlkioDeviceReadBps: null }).BlkioDeviceReadBps).toEqual(disk);
    expect(update({ BlkioDeviceReadBps: [] }).BlkioDeviceReadBps).toEqual([]);
    expect(update({ BlkioDeviceReadBps: [] }, false).BlkioDeviceReadBps).toEqual(disk);
  });

  test.each([
    [{ Memory: 256 << 20 }, "memory limit should be smaller than already set memoryswap limit"],
    [{ CpusetCpus: "9" }, "requested CPUs are not available"],
    [{ Memory: "1" }, "invalid JSON: Memory: expected an integer"],
    [{ RestartPolicy: { Name: "sometimes" } }, "invalid restart policy: unknown policy 'sometimes'"],
    [{ RestartPolicy: { Name: "always", MaximumRetryCount: 1 } }, "can only be used with 'on-failure'"],
  ])("refused: %j", (body, message) => {
    expect(() => validateUpdate(body, present, { blockDevices: true }, FACTS)).toThrow(message);
  });
});

describe("this machine", () => {
  test("its facts", () => {
    const facts = hostFacts();
    expect(parseCpuList(facts.cpus)?.size).toBeGreaterThan(0);
    expect(facts.kernel.major).toBeGreaterThanOrEqual(5);
    expect(facts.hardLimits.RLIMIT_NOFILE).toBeGreaterThan(0);
    expect(Object.keys(facts.hardLimits)).toHaveLength(16);
    expect(facts.maskedPaths).toContain("/proc/kcore");
  });
  test("its device nodes", () => {
    expect(hostFiles.stat("/dev/null")).toMatchObject({ type: "c", major: 1, minor: 3, mode: 0o666 });
    expect(hostFiles.stat("/dev")?.type).toBe("directory");
    expect(hostFiles.stat("/dev/null/x")).toBeUndefined();
    expect(hostFiles.list("/dev")).toContain("null");
  });
});
