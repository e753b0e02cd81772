import { describe, expect, test } from "bun:test";
import { InroError } from "../../base/errors.ts";
import { DEFAULT_CAPABILITIES } from "../../security/capabilities.ts";
import { defaultProfile } from "../../security/seccomp/profile.ts";
import type { Spec } from "../../spec/oci-runtime.ts";
import { FACTS, spec } from "./fixture.ts";

describe("seccomp", () => {
  const facts = { ...FACTS, seccomp: true };
  const seccomp = (HostConfig: object) => spec({ HostConfig }, {}, facts).linux?.seccomp;
  const context = (names: readonly string[]) => ({ caps: names, abi: facts.abi, kernel: facts.kernel });

  test("the default profile follows the capabilities", () => {
    expect(seccomp({})).toEqual(defaultProfile(context(DEFAULT_CAPABILITIES)));
    const admin = seccomp({ CapAdd: ["SYS_ADMIN"] })?.syscalls?.flatMap((rule) => rule.names);
    expect(admin).toContain("mount");
    expect(seccomp({})?.syscalls?.flatMap((rule) => rule.names)).not.toContain("mount");
  });

  test.each([
    [{ SecurityOpt: ["seccomp=unconfined"] }, false],
    [{ SecurityOpt: ["seccomp:unconfined"] }, false],
    [{ Privileged: true }, false],
    [{ Privileged: true, SecurityOpt: ["seccomp=builtin"] }, true],
  ])("%j: %p", (HostConfig, there) => {
    expect(seccomp(HostConfig) !== undefined).toBe(there);
  });

  test("a profile of the user's", () => {
    const profile = { defaultAction: "SCMP_ACT_ALLOW", syscalls: [{ names: ["mkdir"], action: "SCMP_ACT_ERRNO" }] };
    expect(seccomp({ SecurityOpt: [`seccomp=${JSON.stringify(profile)}`] })).toEqual(profile as never);
  });

  test.each([["seccomp={"], ['seccomp={"defaultAction":"FOO"}']])("%s is refused at create", (option) => {
    expect(() => seccomp({ SecurityOpt: [option] })).toThrow(InroError);
  });
});

describe("refused by the machine or the image", () => {
  test.each([
    [{ User: "nobody" }, {}, "unable to find user nobody: no matching entries in passwd file"],
    [
      { HostConfig: { Devices: [{ PathOnHost: "/dev/nothing" }] } },
      {},
      'error gathering device information while adding custom device "/dev/nothing": no such file or directory',
    ],
    [
      { HostConfig: { Devices: [{ PathOnHost: "/etc/passwd" }] } },
      {},
      'error gathering device information while adding custom device "/etc/passwd": not a device node',
    ],
    [{ HostConfig: { BlkioDeviceReadBps: [{ Path: "/dev/fuse", Rate: 1 }] } }, {}, "no such block device: /dev/fuse"],
    [
      { HostConfig: { OomScoreAdj: -1 } },
      {},
      "oom score adj -1 is below the engine's own 0, and the engine lacks CAP_SYS_RESOURCE",
    ],
    [
      { User: "far", HostConfig: { UsernsMode: "auto" } },
      { userns: { hostID: 1, size: 65536 } },
      "uid 90000 is outside of the container's user namespace, which has 65536 ids",
    ],
    [{ HostConfig: { Binds: ["/srv:/x:rshared"] } }, {}, "path /srv is mounted on / but it is not a shared mount"],
    [
      { HostConfig: { Binds: ["/mnt/slave/x:/x:shared"] } },
      {},
      "path /mnt/slave/x is mounted on /mnt/slave but it is not a shared mount",
    ],
    [{ HostConfig: { NetworkMode: "container:web" } }, {}, "the network namespace of container web is not available"],
  ])("%j", (body, more, message) => {
    expect(() => spec(body, more)).toThrow(message);
  });

  test("slave below a shared or slave mount, also one with a space in its name, is fine", () => {
    for (const source of ["/mnt/shared", "/mnt/slave/x", "/mnt/a b"]) {
      const { mounts } = spec({ HostConfig: { Binds: [`${source}:/x:rslave`] } });
      expect(mounts?.at(-4)).toEqual({ destination: "/x", type: "bind", source, options: ["rbind", "rslave"] });
    }
  });

  test("old kernels: read-only is not recursive, and refused where it must be", () => {
    const old = { ...FACTS, kernel: { major: 5, minor: 10 } };
    expect(spec({ HostConfig: { Binds: ["/s:/x:ro"] } }, {}, old).mounts?.at(-4)?.options).toContain("ro");
    const mount = {
      Type: "bind",
      Source: "/s",
      Target: "/x",
      ReadOnly: true,
      BindOptions: { ReadOnlyForceRecursive: true },
    };
    expect(() => spec({ HostConfig: { Mounts: [mount] } }, {}, old)).toThrow("needs Linux 5.12");
  });

  test("with CAP_SYS_RESOURCE limits and scores may go beyond the engine's own", () => {
    const facts = { ...FACTS, capabilities: [...FACTS.capabilities, "CAP_SYS_RESOURCE"] };
    const HostConfig = { OomScoreAdj: -500, Ulimits: [{ Name: "nofile", Soft: 1, Hard: 1e6 }] };
    expect(spec({ HostConfig }, {}, facts).process).toMatchObject({
      oomScoreAdj: -500,
      rlimits: [{ type: "RLIMIT_NOFILE", soft: 1, hard: 1e6 }],
    });
  });

  test("a container's score goes back to 0 where the engine has another one", () => {
    expect(spec({}, {}, { ...FACTS, oomScoreAdj: -500 }).process?.oomScoreAdj).toBe(0);
    expect(spec({}, {}, { ...FACTS, oomScoreAdj: 500 }).process).not.toHaveProperty("oomScoreAdj");
  });
});

test("privileged: devices of its own need no rules, and may have other places", () => {
  const HostConfig = { Privileged: true, Devices: [{ PathOnHost: "/dev/sda", PathInContainer: "/disk" }] };
  const { linux } = spec({ HostConfig });
  expect(linux?.devices?.map(({ path }) => path)).toEqual([
    "/dev/fuse",
    "/dev/sda",
    "/dev/snd/controlC0",
    "/dev/snd/seq",
    "/disk",
  ]);
  expect(linux?.resources?.devices).toEqual([{ allow: true, type: "a", access: "rwm" }]);
});

test("a mount over /dev or /sys takes the defaults below it away", () => {
  const at = (made: Spec) => made.mounts?.map((mount) => mount.destination).slice(0, -3);
  expect(at(spec({ HostConfig: { Binds: ["/dev:/dev"] } }))).toEqual(["/proc", "/sys", "/sys/fs/cgroup", "/dev"]);
  expect(at(spec({ HostConfig: { Binds: ["/sys:/sys"], IpcMode: "none" } }))).toEqual([
    "/proc",
    "/dev",
    "/dev/pts",
    "/dev/mqueue",
    "/sys",
  ]);
});
