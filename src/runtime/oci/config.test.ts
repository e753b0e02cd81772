import { afterAll, beforeAll, describe, expect, test } from "bun:test";
import { mkdirSync, mkdtempSync, rmSync, symlinkSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { readConfig } from "./config.ts";
import { defaultSpec } from "./spec.ts";

let bundle: string;
beforeAll(() => {
  bundle = mkdtempSync(join(tmpdir(), "inro-config-"));
  mkdirSync(join(bundle, "rootfs"));
  writeFileSync(join(bundle, "file"), "");
  symlinkSync("rootfs", join(bundle, "link"));
});
afterAll(() => rmSync(bundle, { recursive: true }));

// biome-ignore lint/suspicious/noExplicitAny: wrong types on purpose
type Any = any;
const read = (change: (spec: Any) => void, warnings: string[] = []) => {
  const spec = defaultSpec(false);
  change(spec);
  return readConfig(JSON.stringify(spec), bundle, (message) => warnings.push(message));
};

describe("a config that is wrong", () => {
  test.each<[string, (spec: Any) => void]>([
    ["ociVersion: required", (s) => delete s.ociVersion],
    ["ociVersion: must be a string, is a number", (s) => (s.ociVersion = 1)],
    ['ociVersion: "1" is no SemVer version', (s) => (s.ociVersion = "1")],
    ["ociVersion: 2.0.0 is not supported", (s) => (s.ociVersion = "2.0.0")],
    ["root: required", (s) => delete s.root],
    ["root.path: required", (s) => delete s.root.path],
    ["root.readonly: must be true or false, is a string", (s) => (s.root.readonly = "yes")],
    ["does not exist", (s) => (s.root.path = "nowhere")],
    ["is not a directory", (s) => (s.root.path = "file")],
    ["is a symbolic link", (s) => (s.root.path = "link")],
    ["process: required", (s) => delete s.process],
    ["process.cwd: required", (s) => delete s.process.cwd],
    ["process.cwd: must be an absolute path, is tmp", (s) => (s.process.cwd = "tmp")],
    ["process.args: must be an array, is a string", (s) => (s.process.args = "sh")],
    ["process.args: must not be empty", (s) => (s.process.args = [])],
    ["process.args[0]: must not be empty", (s) => (s.process.args = [""])],
    ["process.args[1]: has a NUL", (s) => (s.process.args = ["sh", "a\0b"])],
    ['process.env: "X" is not NAME=VALUE', (s) => (s.process.env = ["X"])],
    ['process.env: "=x" is not NAME=VALUE', (s) => (s.process.env = ["=x"])],
    ["process.user.uid: -1 is not an integer from 0 to 4294967295", (s) => (s.process.user.uid = -1)],
    ["process.rlimits: RLIMIT_NOFILE twice", (s) => s.process.rlimits.push(s.process.rlimits[0])],
    ['process.rlimits[0].type: unknown "RLIMIT_X"', (s) => (s.process.rlimits[0].type = "RLIMIT_X")],
    ["RLIMIT_NOFILE: soft 2 is over hard 1", (s) => Object.assign(s.process.rlimits[0], { soft: 2, hard: 1 })],
    ["process.oomScoreAdj: 1001 is not an integer", (s) => (s.process.oomScoreAdj = 1001)],
    ['linux.namespaces[0].type: unknown "spaceship"', (s) => (s.linux.namespaces[0].type = "spaceship")],
    ["linux.namespaces: pid twice", (s) => s.linux.namespaces.push({ type: "pid" })],
    ["linux.namespaces: the path of pid must be absolute", (s) => (s.linux.namespaces[0].path = "ns")],
    ["unable to restrict sys entries without a private MNT namespace", (s) => (s.linux.namespaces = [{ type: "uts" }])],
    ["hostname: needs a uts namespace", (s) => (s.linux.namespaces = [{ type: "mount" }])],
    ["a new user namespace needs uidMappings and gidMappings", (s) => s.linux.namespaces.push({ type: "user" })],
    [
      "linux.uidMappings: need a user namespace",
      (s) => (s.linux.uidMappings = [{ containerID: 0, hostID: 0, size: 1 }]),
    ],
    ["linux.uidMappings[0].size: required", (s) => (s.linux.uidMappings = [{ containerID: 0, hostID: 0 }])],
    ["linux.timeOffsets: need a new time namespace", (s) => (s.linux.timeOffsets = { monotonic: { secs: 1 } })],
    ['linux.devices[0].type: unknown "x"', (s) => (s.linux.devices = [{ path: "/dev/x", type: "x" }])],
    [
      "linux.sysctl: kernel.hostname is not allowed as it conflicts",
      (s) => (s.linux.sysctl = { "kernel.hostname": "x" }),
    ],
    ["linux.sysctl: vm.swappiness is not in a separate", (s) => (s.linux.sysctl = { "vm.swappiness": "1" })],
    [
      "linux.sysctl: user.max_user_namespaces is not allowed",
      (s) => (s.linux.sysctl = { "user.max_user_namespaces": "1" }),
    ],
    ["linux.maskedPaths[0]: must be an absolute path", (s) => (s.linux.maskedPaths = ["proc"])],
    ['linux.rootfsPropagation: unknown "up"', (s) => (s.linux.rootfsPropagation = "up")],
    ["linux.resources.memory.limit: must be a number", (s) => (s.linux.resources.memory = { limit: "1g" })],
    ["mounts[0].destination: required", (s) => delete s.mounts[0].destination],
    ["hooks.prestart[0].path: must be an absolute path", (s) => (s.hooks = { prestart: [{ path: "x" }] })],
    ["hooks.poststop[0].timeout: 0 is not an integer", (s) => (s.hooks = { poststop: [{ path: "/x", timeout: 0 }] })],
  ])("%s", (message, change) => {
    expect(() => read(change)).toThrow(message);
  });

  test("is no JSON", () => {
    expect(() => readConfig("{", bundle, () => {})).toThrow("config.json: not valid JSON");
    expect(() => readConfig("[]", bundle, () => {})).toThrow("config.json: the file: must be an object, is an array");
  });
});

describe("a config that is right", () => {
  test("unknown properties and null pass", () => {
    read((s) => Object.assign(s, { future: 1, hooks: null, linux: { ...s.linux, seccomp: null, more: [] } }));
  });

  test("paths below the bundle become absolute", () => {
    const { spec, rootfs } = read((s) => s.mounts.push({ destination: "/x", source: "data", options: ["bind"] }));
    expect(rootfs).toBe(join(bundle, "rootfs"));
    expect(spec.mounts?.at(-1)?.source).toBe(join(bundle, "data"));
  });

  test("a relative destination is warned of", () => {
    const warnings: string[] = [];
    expect(read((s) => (s.mounts[0].destination = "proc"), warnings).spec.mounts?.[0]?.destination).toBe("/proc");
    expect(warnings).toEqual(["mounts: destination proc is relative, taken as below /"]);
  });

  test("of an environment variable the last counts", () => {
    expect(read((s) => (s.process.env = ["A=1", "B=2", "A=3"])).spec.process?.env).toEqual(["A=3", "B=2"]);
  });

  test("the recursive forms of rootfsPropagation pass", () => {
    expect(read((s) => (s.linux.rootfsPropagation = "rslave")).spec.linux?.rootfsPropagation).toBe("rslave");
  });
});
