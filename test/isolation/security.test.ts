import { afterAll, describe, expect, test } from "bun:test";
import { existsSync, mkdtempSync, readFileSync, rmSync, statSync, writeFileSync } from "node:fs";
import { join } from "node:path";
import { engineForTests } from "../harness.ts";
import { Box, missing, shell } from "./container.ts";

const CAPABILITIES = ["CapInh", "CapPrm", "CapEff", "CapBnd", "CapAmb"];
/** CHOWN DAC_OVERRIDE FOWNER FSETID KILL SETGID SETUID SETPCAP NET_BIND_SERVICE NET_RAW SYS_CHROOT MKNOD AUDIT_WRITE SETFCAP */
const DEFAULT = [0, 1, 3, 4, 5, 6, 7, 8, 10, 13, 18, 27, 29, 31];
const NET_ADMIN = 12;
const bit = (n: number) => 1n << BigInt(n);
const set = (numbers: readonly number[]) => numbers.reduce((bits, n) => bits | bit(n), 0n);

/** A device of the host that is not among a container's own, and can be opened by everyone's root. */
const device = ["/dev/fuse", "/dev/loop-control", "/dev/vsock"].find((path) => existsSync(path));
const numbers = (path: string) => {
  const { rdev } = statSync(path);
  return `${(rdev >> 8) & 0xfff} ${(rdev & 0xff) | ((rdev >> 12) & 0xfff00)}`;
};

const v1 = existsSync("/sys/fs/cgroup/pids/cgroup.procs");

describe.skipIf(missing !== "")(`security${missing}`, async () => {
  const engine = missing ? undefined! : engineForTests();
  const dir = mkdtempSync("/var/tmp/inro-security-");
  afterAll(() => rmSync(dir, { recursive: true, force: true }));

  const status = async (...flags: string[]) => {
    const text = await shell(engine, "exec cat /proc/self/status", ...flags);
    const field = (name: string) => new RegExp(`^${name}:\\s*(.*)$`, "m").exec(text)?.[1] ?? "";
    return { field, caps: (name: string) => BigInt(`0x${field(name)}`) };
  };

  test("root has exactly 14 capabilities, and no way to more", async () => {
    const { caps } = await status();
    expect(CAPABILITIES.map(caps)).toEqual([0n, set(DEFAULT), set(DEFAULT), set(DEFAULT), 0n]);
  });

  test.skipIf(!v1)("with SYS_ADMIN it finds no release_agent in cgroup v1 (CVE-2022-0492; needs v1)", async () => {
    const script = "mkdir /m && mount -t cgroup -o pids none /m && ls /m | grep -c -e release_agent -e cgroup.procs";
    expect(await shell(engine, script, "--cap-add", "SYS_ADMIN")).toBe("1");
  });

  test("another user has none, and the bounding set of root", async () => {
    const { caps } = await status("-u", "1000");
    expect(CAPABILITIES.map(caps)).toEqual([0n, 0n, 0n, set(DEFAULT), 0n]);
  });

  test.each([
    ["--cap-drop ALL", []],
    ["--cap-add NET_ADMIN", [...DEFAULT, NET_ADMIN]],
    ["--cap-add cap_net_admin --cap-drop chown", [...DEFAULT.filter((n) => n !== 0), NET_ADMIN]],
    ["--cap-drop ALL --cap-add NET_ADMIN", [NET_ADMIN]],
  ])("%s", async (flags, wanted) => {
    const { caps } = await status(...flags.split(" "));
    expect(["CapPrm", "CapEff", "CapBnd"].map(caps)).toEqual(Array(3).fill(set(wanted)));
  });

  test("a dropped capability is missed", async () => {
    expect(await shell(engine, "touch /x; chown 1000 /x; stat -c %u /x")).toBe("1000");
    expect((await engine.sh("touch /x; chown 1000 /x", "--cap-drop", "CHOWN")).stderr).toContain(
      "Operation not permitted",
    );
  });

  test("an unknown capability is an error", async () => {
    const { code, stderr } = await engine.sh("true", "--cap-add", "NOPE");
    expect(code).toBe(125);
    expect(stderr).toContain("NOPE");
  });

  test("--security-opt no-new-privileges", async () => {
    expect((await status()).field("NoNewPrivs")).toBe("0");
    expect((await status("--security-opt", "no-new-privileges")).field("NoNewPrivs")).toBe("1");
    expect((await status("--security-opt", "no-new-privileges", "-u", "1000", "--init")).field("NoNewPrivs")).toBe("1");
  });

  test("a seccomp filter is on; unconfined has none", async () => {
    expect((await status()).field("Seccomp")).toBe("2");
    expect((await status("--security-opt", "no-new-privileges")).field("Seccomp")).toBe("2");
    expect((await status("-u", "1000")).field("Seccomp")).toBe("2");
    expect((await status("--security-opt", "seccomp=unconfined")).field("Seccomp")).toBe("0");
  });

  test("the default profile refuses a new user namespace, unconfined does not", async () => {
    expect((await engine.sh("unshare -U true")).stderr).toContain("Operation not permitted");
    expect(await shell(engine, "unshare -U true && echo ok", "--security-opt", "seccomp=unconfined")).toBe("ok");
  });

  test.each([
    ["names", { names: ["kill"] }],
    ["the old form with one name", { name: "kill", args: [] }],
  ])("a profile with %s denies kill", async (form, rule) => {
    const path = join(dir, `${form.length}.json`);
    writeFileSync(
      path,
      JSON.stringify({ defaultAction: "SCMP_ACT_ALLOW", syscalls: [{ ...rule, action: "SCMP_ACT_ERRNO" }] }),
    );
    const { code, stderr } = await engine.sh("kill -0 1", "--security-opt", `seccomp=${path}`);
    expect(stderr).toContain("Operation not permitted");
    expect(code).not.toBe(0);
    expect((await engine.sh("kill -0 1")).code).toBe(0);
  });

  test("a profile's own errno, and a profile that is none", async () => {
    const path = join(dir, "errno.json");
    writeFileSync(
      path,
      JSON.stringify({
        defaultAction: "SCMP_ACT_ALLOW",
        syscalls: [{ names: ["mkdir", "mkdirat"], action: "SCMP_ACT_ERRNO", errnoRet: 28 }],
      }),
    );
    expect((await engine.sh("mkdir /x", "--security-opt", `seccomp=${path}`)).stderr).toContain("No space left");
    writeFileSync(path, "{");
    expect((await engine.sh("true", "--security-opt", `seccomp=${path}`)).code).toBe(125);
    writeFileSync(path, '{"defaultAction":"SCMP_ACT_NOPE"}');
    const { code, stderr } = await engine.sh("true", "--security-opt", `seccomp=${path}`);
    expect([code, stderr]).toEqual([125, expect.stringContaining("SCMP_ACT_NOPE")]);
  });

  test("dmesg is denied by the filter, and allowed with --cap-add SYSLOG", async () => {
    expect((await engine.sh("dmesg")).stderr).toContain("Operation not permitted");
    expect((await engine.sh("dmesg", "--cap-add", "SYSLOG")).code).toBe(0);
    // Not the filter but the capability, where the kernel asks for it.
    if (readFileSync("/proc/sys/kernel/dmesg_restrict", "utf8").trim() === "1")
      expect((await engine.sh("dmesg", "--security-opt", "seccomp=unconfined")).stderr).toContain(
        "Operation not permitted",
      );
  });

  test("a plain user binds port 80", async () => {
    const script = "echo hello | nc -l -p 80 & until nc 127.0.0.1 80 < /dev/null 2> /dev/null; do :; done";
    expect(await shell(engine, script, "-u", "1000")).toBe("hello");
    const sysctl = ["--sysctl", "net.ipv4.ip_unprivileged_port_start=1024"];
    expect((await engine.sh("nc -l -p 80", "-u", "1000", ...sysctl)).stderr).toContain("Permission denied");
  });

  test("--sysctl, and only what belongs to the container", async () => {
    expect(await shell(engine, "cat /proc/sys/kernel/msgmax", "--sysctl", "kernel.msgmax=4096")).toBe("4096");
    expect((await engine.sh("true", "--sysctl", "kernel.panic=1")).code).toBe(125);
    expect((await engine.sh("true", "--sysctl", "net.ipv4.ip_forward=1", "--network", "host")).code).toBe(125);
  });

  const masked = (path: string) => {
    test.skipIf(!existsSync(path))(
      `${path} is masked${existsSync(path) ? "" : " (this kernel has none)"}`,
      async () => {
        expect(await shell(engine, `if [ -d ${path} ]; then ls -A ${path}; else cat ${path}; fi`)).toBe("");
        expect((await engine.sh(`touch ${path}/x 2>/dev/null || echo x > ${path} && [ -s ${path} ]`)).code).not.toBe(0);
      },
    );
  };
  for (const path of ["/proc/kcore", "/proc/keys", "/proc/timer_list", "/proc/interrupts", "/proc/sched_debug"])
    masked(path);
  for (const path of ["/proc/acpi", "/proc/scsi", "/sys/firmware", "/sys/devices/virtual/powercap"]) masked(path);

  test("/proc/sys and its like are read-only", async () => {
    const { stderr } = await engine.sh(
      "echo 1 > /proc/sys/kernel/panic; echo h > /proc/sysrq-trigger; echo 1 > /proc/irq/default_smp_affinity",
    );
    expect(stderr.match(/Read-only file system/g)?.length).toBeGreaterThanOrEqual(2);
    expect(stderr.match(/can't create/g)?.length).toBe(3);
  });

  test("/sys and its cgroups are read-only", async () => {
    expect(
      (await engine.sh("touch /sys/x; mkdir /sys/fs/cgroup/x")).stderr.match(/Read-only file system/g),
    ).toHaveLength(2);
    const script = "for d in /sys/fs/cgroup/*; do [ -d $d ] && mkdir $d/x; done";
    expect(await shell(engine, `(${script}) 2>&1 | grep -v Read-only; true`)).toBe("");
  });

  test("/dev has docker's nodes and links", async () => {
    // /dev/core is a link to /proc/kcore, where there is one.
    const core = existsSync("/proc/kcore") ? ["core"] : [];
    const names = "fd full mqueue null ptmx pts random shm stderr stdin stdout tty urandom zero".split(" ");
    expect((await shell(engine, "ls -1 /dev")).split("\n")).toEqual([...core, ...names]);
    expect(
      await shell(engine, "head -c 4 /dev/zero | wc -c; echo x > /dev/null; echo x > /dev/full || echo full"),
    ).toBe("4\nfull");
  });

  test("--privileged: all capabilities and devices, no filter, no masks", async () => {
    const { caps, field } = await status("--privileged");
    const own = /^CapBnd:\s*(.*)$/m.exec(readFileSync("/proc/self/status", "utf8"))?.[1];
    expect(caps("CapEff")).toBe(BigInt(`0x${own}`));
    expect(field("Seccomp")).toBe("0");
    const mounts = await shell(engine, "cat /proc/self/mounts", "--privileged");
    expect(mounts).not.toMatch(/ \/proc\/| \/sys\/firmware/);
    expect(mounts).toMatch(/^sysfs \/sys sysfs rw/m);
    expect((await engine.sh("hostname x; mkdir /m; mount -t tmpfs m /m", "--privileged")).code).toBe(0);
  });

  test.skipIf(!device)("--privileged sees the host's devices", async () => {
    expect((await engine.sh(`: < ${device}`, "--privileged")).code).toBe(0);
    expect((await engine.sh(`: < ${device}`)).stderr).toContain("no such file");
  });

  test.skipIf(!device)("a node that the container makes of a device it was not given does not open", async () => {
    const script = `mknod /d c ${numbers(device!)}; : < /d`;
    expect((await engine.sh(script)).stderr).toContain("Operation not permitted");
    expect(await shell(engine, "mknod /d c 1 5; head -c 3 /d | wc -c")).toBe("3");
  });

  test.skipIf(!device)("--device gives one device, with its name and rights", async () => {
    const { stdout, stderr } = await engine.sh(
      "[ -c /dev/mine ] && : < /dev/mine && echo read; : > /dev/mine",
      ...["--device", `${device}:/dev/mine:r`],
    );
    expect(stdout).toBe("read\n");
    expect(stderr).toContain("Operation not permitted");
    expect((await engine.sh(`: < ${device} && : <> ${device}`, "--device", device!)).code).toBe(0);
    const rule = `c ${numbers(device!).replace(" ", ":")} rwm`;
    expect((await engine.sh(`mknod /d c ${numbers(device!)}; : < /d`, "--device-cgroup-rule", rule)).code).toBe(0);
  });

  test("--device of what is none is an error", async () => {
    for (const path of ["/etc/hosts", "/nope"]) {
      const { code, stderr } = await engine.sh("true", "--device", path);
      // Not docker's 127, which it gives for every text with "no such file": no command was looked for.
      expect([code, stderr]).toEqual([
        125,
        expect.stringContaining(`error gathering device information while adding custom device "${path}"`),
      ]);
    }
  });

  test("--security-opt systempaths=unconfined lifts the masks and nothing else", async () => {
    const flags = ["--security-opt", "systempaths=unconfined"];
    expect(await shell(engine, "grep -c ' /proc/' /proc/self/mounts; true", ...flags)).toBe("0");
    expect((await status(...flags)).caps("CapBnd")).toBe(set(DEFAULT));
  });

  test("an unknown --security-opt is an error", async () => {
    const { code, stderr } = await engine.sh("true", "--security-opt", "nope=1");
    expect([code, stderr]).toEqual([125, expect.stringContaining("nope")]);
  });

  test("the network is the container's own: a loopback, and nothing of the host", async () => {
    expect(
      await shell(
        engine,
        "ls /sys/class/net; cat /sys/class/net/lo/operstate; ping -c 1 127.0.0.1 > /dev/null && echo up",
      ),
    ).toMatch(/^lo\n\w+\nup$/);
  });

  test("--network host is the host's", async () => {
    await using box = await Box.run(engine, ["--network", "host"]);
    expect(await box.sh("wc -l < /proc/net/dev")).toBe(
      String(readFileSync("/proc/net/dev", "utf8").split("\n").length - 1),
    );
  });
});
