import { afterAll, beforeAll, describe, expect, test } from "bun:test";
import { mkdirSync, readdirSync, readFileSync, rmSync, symlinkSync, writeFileSync } from "node:fs";
import { join } from "node:path";
import * as k from "../../../src/linux/constants.ts";
import { mknodat } from "../../../src/linux/file.ts";
import { cannotRun, Runtime } from "../bundle.ts";
import { lastError, Traces } from "./traces.ts";

// biome-ignore lint/suspicious/noExplicitAny: wrong on purpose
type Any = any;

describe.skipIf(cannotRun !== undefined)(`a bad bundle${cannotRun ? ` (skipped: ${cannotRun})` : ""}`, () => {
  let runtime: Runtime;
  let traces: Traces;
  let cases = 0;
  beforeAll(() => {
    runtime = new Runtime();
    traces = new Traces(runtime, "bad");
  });
  afterAll(() => runtime.close());

  /** `create` of a bundle must fail with these words, on stderr and in the log, and leave nothing. */
  async function refused(bundle: string, words: string | RegExp, seconds = 20): Promise<void> {
    const log = join(runtime.dir, "log");
    rmSync(log, { force: true });
    const args = ["--log", log, "--log-format", "json", "create", "-b", bundle, traces.id(cases++)];
    const started = performance.now();
    const result = await runtime.run(args);
    if (result.code === 0) await runtime.ok("delete", "--force", args.at(-1)!);
    expect(result).toEqual({ code: 1, out: "", err: expect.stringMatching(words) });
    expect(performance.now() - started).toBeLessThan(seconds * 1000);
    expect(result.err.length).toBeLessThan(8192);
    expect(lastError(log)).toMatch(words);
    await traces.settle();
  }

  const withText = (text: string | Uint8Array): string => {
    const bundle = runtime.bundle("true");
    writeFileSync(join(bundle, "config.json"), text);
    return bundle;
  };

  /** The text of a config that is right but for what `change` does to it. */
  const textOf = (change: (text: string) => string) =>
    withText(change(readFileSync(config(runtime.bundle("true")), "utf8")));
  const config = (bundle: string) => join(bundle, "config.json");

  test.each<[string, () => string | Uint8Array, RegExp]>([
    ["an empty file", () => "", /config\.json: not valid JSON/],
    ["blanks", () => " \n\t", /config\.json: not valid JSON/],
    ["no object", () => "[]", /config\.json: the file: must be an object, is an array/],
    ["null", () => "null", /config\.json: the file: must be an object, is null/],
    ["a number", () => "1e999", /config\.json: the file: must be an object, is a number/],
    ["cut short", () => '{"ociVersion":"1.0.0","root":{"pa', /config\.json: not valid JSON/],
    ["two documents", () => "{}{}", /config\.json: not valid JSON/],
    ["a NUL at its end", () => "{}\0", /config\.json: not valid JSON/],
    ["NULs alone", () => new Uint8Array(4096), /config\.json: not valid JSON/],
    ["no UTF-8", () => Buffer.from('{"ociVersion":"\xff\xfe"}', "latin1"), /config\.json: not UTF-8/],
    ["UTF-16", () => Buffer.from('\ufeff{"ociVersion":"1.0.0"}', "utf16le"), /config\.json: not UTF-8/],
    [
      "a byte order mark",
      () => '\ufeff{"ociVersion":"1.0.0"}',
      /config\.json: not valid JSON: it begins with a byte order mark/,
    ],
    ["10^6 arrays deep", () => "[".repeat(1e6), /config\.json: (not valid JSON|nested too deep)/],
    ["10^5 objects deep", () => `${'{"a":'.repeat(1e5)}1${"}".repeat(1e5)}`, /config\.json: /],
    ["over the limit", () => `{"x":"${"x".repeat(40 << 20)}"}`, /config\.json: over \d+ bytes/],
    ["a prototype", () => '{"__proto__":{"ociVersion":"1.0.0"}}', /ociVersion: required/],
  ])("config.json: %s", async (_, text, words) => {
    await refused(withText(text()), words);
  });

  test("config.json that is no file", async () => {
    const instead = (make: (path: string) => void) => {
      const bundle = runtime.bundle("true");
      rmSync(config(bundle));
      make(config(bundle));
      return bundle;
    };
    await refused(
      instead(() => {}),
      /JSON specification file config\.json not found/,
    );
    await refused(instead(mkdirSync), /config\.json: .*not a regular file/);
    await refused(
      instead((path) => mknodat(k.AT_FDCWD, path, k.S_IFIFO | 0o600, 0)),
      /config\.json: .*not a regular file/,
    );
    await refused(
      instead((path) => symlinkSync("/dev/zero", path)),
      /config\.json: .*not a regular file/,
    );
    await refused(
      instead((path) => symlinkSync("config.json", path)),
      /config\.json: .*ELOOP/,
    );
    await refused(join(runtime.dir, "nowhere"), /config\.json not found/);
  });

  test.each<[string, (spec: Any) => unknown, RegExp]>([
    ["an id map too many", (s) => Object.assign(s.linux, maps(1000)), /uidMappings.*340/],
    ["id maps that overlap", (s) => Object.assign(s.linux, maps(2, 0)), /id map|uidMappings|EINVAL/],
    ["a long path", (s) => (s.root.path = "r/".repeat(4000)), /root\.path/],
    ["a long name", (s) => (s.mounts[0].destination = `/${"x".repeat(300)}`), /ENAMETOOLONG/],
    ["a long hostname", (s) => (s.hostname = "h".repeat(65)), /hostname/],
    ["a long option", (s) => s.mounts[1].options.push("x".repeat(5000)), /mounts/],
    ["an unknown option", (s) => s.mounts[1].options.push("nonsense"), /nonsense|EINVAL/],
    ["an unknown file system", (s) => (s.mounts[3].type = "nonsense"), /nonsense/],
    [
      "a bind of nothing",
      (s) => s.mounts.push({ destination: "/x", type: "bind", source: "/nowhere", options: ["bind"] }),
      /does not exist: \/nowhere/,
    ],
    ["a mount over /", (s) => s.mounts.push({ destination: "/", type: "tmpfs" }), /on \/: the root/],
    ["a mount over .. of /", (s) => s.mounts.push({ destination: "/x/../..", type: "tmpfs" }), /on \/: the root/],
    ["a mount over itself", (s) => s.mounts.push({ destination: "/bin/../proc/self", type: "tmpfs" }), /proc/],
    ["a sysctl of the host", (s) => (s.linux.sysctl = { "kernel.core_pattern": "|/bin/sh" }), /kernel\.core_pattern/],
    ["a sysctl that climbs", (s) => (s.linux.sysctl = { "net/../kernel/core_pattern": "x" }), /sysctl/],
    [
      "a sysctl that is none",
      (s) => (s.linux.sysctl = { "net.ipv4.nope": "1" }),
      /linux\.sysctl net\.ipv4\.nope: .*ENOENT/,
    ],
    ["a variable too long", (s) => s.process.env.push(`X=${"x".repeat(3 << 20)}`), /process\.env\[2]: too long/],
    ["a device as /", (s) => (s.linux.devices = [{ path: "/", type: "c", major: 1, minor: 3 }]), /linux\.devices/],
    ["a device out of the root", (s) => (s.linux.devices = [{ path: "/../../x", type: "x" }]), /linux\.devices/],
    ["10^5 masked paths", (s) => (s.linux.maskedPaths = names(1e5)), /the config asks for too much/],
    ["10^5 read-only paths", (s) => (s.linux.readonlyPaths = names(1e5)), /the config asks for too much/],
    ["10^5 devices", (s) => (s.linux.devices = names(1e5).map(device)), /the config asks for too much/],
    ["10^5 device rules", (s) => (s.linux.resources.devices = names(1e5).map(rule)), /device/],
    ["10^5 groups", (s) => (s.process.user.additionalGids = names(1e5).map((_, i) => i)), /setgroups|additionalGids/],
    ["10^5 rlimits", (s) => (s.process.rlimits = names(1e5).map(() => s.process.rlimits[0])), /RLIMIT_NOFILE twice/],
    ["a cgroup that is all", (s) => (s.linux.cgroupsPath = "/"), /cgroup/],
    ["a seccomp that is text", (s) => (s.linux.seccomp = "on"), /seccomp/],
    ["a seccomp action", (s) => (s.linux.seccomp = { defaultAction: "SCMP_ACT_NONE" }), /SCMP_ACT_NONE/],
    ["a unified key that climbs", (s) => (s.linux.resources.unified = { "../cgroup.procs": "1" }), /unified/],
    [
      "a rlimit beyond the host's",
      (s) => (s.process.rlimits = [{ type: "RLIMIT_NOFILE", soft: 2 ** 40, hard: 2 ** 40 }]),
      /RLIMIT_NOFILE/,
    ],
    ["a hook of nothing", (s) => (s.hooks = { createRuntime: [{ path: "/nowhere" }] }), /createRuntime/],
    ["a working directory that is a file", (s) => (s.process.cwd = "/bin/busybox"), /cwd/],
    ["a network namespace that is a file", (s) => ns(s, "network", "/etc/passwd"), /network.*(EINVAL|no namespace)/],
    ["a network namespace of another type", (s) => ns(s, "network", "/proc/self/ns/uts"), /network/],
    ["a network namespace that is a directory", (s) => ns(s, "network", "/proc/self/ns"), /network/],
    [
      "a network namespace that is nowhere",
      (s) => ns(s, "network", "/nowhere"),
      /network.*\/nowhere.*(ENOENT|does not exist)/,
    ],
    ["an ipc namespace that never opens", (s) => ns(s, "ipc", fifo()), /ipc/],
  ])("%s", async (_, change, words) => {
    await refused(runtime.bundle("true", change), words);
  });

  const maps = (count: number, step = 1) => {
    const map = Array.from({ length: count }, (_, i) => ({ containerID: i * step, hostID: 100000 + i, size: 1 }));
    return { namespaces: [{ type: "mount" }, { type: "user" }, { type: "uts" }], uidMappings: map, gidMappings: map };
  };
  const names = (count: number) => Array.from({ length: count }, (_, i) => `/d${i % 300}/n${i}`);
  const device = (path: string) => ({ path, type: "c", major: 1, minor: 3 });
  const rule = (_: string, i: number) => ({ allow: i % 2 === 0, type: "c", major: i, minor: i, access: "r" });
  const ns = (spec: Any, type: string, path: string) => {
    spec.linux.namespaces = spec.linux.namespaces.map((n: Any) => (n.type === type ? { type, path } : n));
  };
  const fifo = () => {
    const path = join(runtime.dir, `fifo${Math.random()}`);
    mknodat(k.AT_FDCWD, path, k.S_IFIFO | 0o600, 0);
    return path;
  };

  test("a root that is no directory of its own", async () => {
    const root = (path: string) => runtime.bundle("true", (s) => (s.root!.path = path));
    await refused(root("nowhere"), /root\.path: .* does not exist/);
    await refused(root(""), /root\.path/);
    await refused(root("config.json"), /root\.path: .* is not a directory/);
    await refused(root("/"), /root\.path: .* is the host's root/);
    await refused(root("rootfs/../../../../../../.."), /root\.path: .* is the host's root/);
    const linked = root("link");
    symlinkSync("rootfs", join(linked, "link"));
    await refused(linked, /root\.path: .* is a symbolic link/);
  });

  test("10^6 mounts", async () => {
    const mount = JSON.stringify({ destination: "/m", type: "tmpfs", source: "tmpfs" });
    const many = (count: number) =>
      textOf((text) => text.replace('"mounts":[', `"mounts":[${`${mount},`.repeat(count)}`));
    await refused(many(1e6), /config\.json: over \d+ bytes/);
    await refused(many(2e5), /mounts: .*at most \d+/);
    await refused(many(5000), /mounts: .*at most \d+/);
  });

  test("arguments that are too long together are an error of their execve", async () => {
    const bundle = runtime.bundle("", (s) => {
      s.process.args = ["sh", ...Array.from({ length: 1e5 }, () => "y".repeat(70))];
    });
    const { code, err } = await runtime.run(["run", "-b", bundle, traces.id("long")]);
    expect({ code, err }).toEqual({ code: 1, err: expect.stringContaining("E2BIG") });
    await traces.settle();
  });

  test.each<[string, (spec: Any) => unknown]>([
    ["surplus properties", (s) => Object.assign(s, { surplus: { a: [1] } }) && Object.assign(s.linux, { b: null })],
    ["null where a thing may be absent", (s) => Object.assign(s.linux, { seccomp: null, devices: null, sysctl: null })],
    ["2000 mounts", (s) => s.mounts.push(...Array.from({ length: 1990 }, (_, i) => tmpfs(`/m/${i}`)))],
    ["a relative destination", (s) => s.mounts.push(tmpfs("rel/ative"))],
    ["a destination that climbs", (s) => s.mounts.push(tmpfs("/../../../m"))],
    ["a cgroup that climbs", (s) => (s.linux.cgroupsPath = `/../../${traces.id("climbs")}`)],
    ["a device whose name climbs", (s) => (s.linux.devices = [device("/../../dev/../x")])],
    ["unknown capabilities", (s) => (s.process.capabilities = { bounding: ["CAP_NONE", "", "\u202e"] })],
    [
      "names of other scripts",
      (s) => Object.assign(s, { hostname: "h\u00f6st", annotations: { "\ud83d\ude00": "\ud800" } }),
    ],
    ["a name twice, of which the last counts", () => {}],
  ])("no error: %s", async (name, change) => {
    const bundle = runtime.bundle("true", (s) => {
      change(s);
      s.root!.readonly = false;
    });
    if (name.startsWith("a name twice")) {
      const text = readFileSync(config(bundle), "utf8");
      writeFileSync(config(bundle), text.replace('"ociVersion":', '"ociVersion":"nonsense","ociVersion":'));
    }
    const neighbours = () => readdirSync(runtime.dir).filter((name) => !/^(out|err)\d+$/.test(name));
    const before = neighbours();
    expect(await runtime.run(["run", "-b", bundle, traces.id(cases++)])).toMatchObject({ code: 0 });
    expect(readdirSync(bundle).sort()).toEqual(["config.json", "rootfs"]);
    expect(neighbours()).toEqual(before);
    await traces.settle();
  });

  const tmpfs = (destination: string) => ({ destination, type: "tmpfs", source: "tmpfs" });
});
