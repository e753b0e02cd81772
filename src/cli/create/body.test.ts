import { afterAll, beforeAll, describe, expect, test } from "bun:test";
import { mkdtempSync, rmSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { parseFlags } from "../flags.ts";
import { createBody } from "./body.ts";
import { runFlags } from "./flags.ts";

let directory: string;
beforeAll(() => {
  directory = mkdtempSync(`${tmpdir()}/inro-body-`);
  writeFileSync(`${directory}/env`, "# comment\n\nA=1\nINRO_TEST_NONE\nB= x y \n  L=2\n");
  writeFileSync(`${directory}/bad`, "a b=1\n");
  writeFileSync(`${directory}/labels`, "x=1\ny\n");
  writeFileSync(`${directory}/seccomp.json`, '{\n "defaultAction": "SCMP_ACT_ALLOW"\n}');
  writeFileSync(`${directory}/broken.json`, "{");
  process.env.INRO_TEST_FOO = "bar";
});
afterAll(() => {
  rmSync(directory, { recursive: true });
  delete process.env.INRO_TEST_FOO;
});

/** The body of a command line; $D is the test's directory. */
function body(line: string) {
  const words = line.split(" ").map((word) => word.replace("$D", directory).replaceAll("_", " "));
  const { options, args } = parseFlags(runFlags, words, false);
  return createBody(options, args[0]!, args.slice(1));
}
const host = (line: string) => body(line).HostConfig;

const attached = { AttachStdin: false, AttachStdout: true, AttachStderr: true };

describe("the body of create", () => {
  test("is the least that was said", () => {
    expect(body("host")).toEqual({
      Image: "host",
      ...attached,
      Tty: false,
      OpenStdin: false,
      StdinOnce: false,
      Env: [],
      Labels: {},
      HostConfig: {},
    });
  });

  test.each([
    ["-it host", { AttachStdin: true, AttachStdout: true, Tty: true, OpenStdin: true, StdinOnce: true }],
    ["-d host", { AttachStdin: false, AttachStdout: false, AttachStderr: false }],
    ["-di host", { AttachStdin: false, OpenStdin: true, StdinOnce: false }],
    ["-a STDOUT host", { AttachStdin: false, AttachStdout: true, AttachStderr: false }],
    ["-a stdin -i host", { AttachStdin: true, AttachStdout: false, StdinOnce: true }],
    ["host ls -l --rm", { Cmd: ["ls", "-l", "--rm"] }],
    ["--entrypoint /x host a", { Entrypoint: ["/x"], Cmd: ["a"] }],
    ["--entrypoint= host a", { Entrypoint: [""], Cmd: ["a"] }],
    ["-u 1:2 -w /x -h name --domainname d host", { User: "1:2", WorkingDir: "/x", Hostname: "name", Domainname: "d" }],
    ["--stop-signal 9 --stop-timeout 3 host", { StopSignal: "9", StopTimeout: 3 }],
    ["--no-healthcheck host", { Healthcheck: { Test: ["NONE"] } }],
    [
      "--health-cmd look --health-interval 1m --health-timeout 1.5s --health-retries 2 host",
      { Healthcheck: { Test: ["CMD-SHELL", "look"], Interval: 60e9, Timeout: 1.5e9, Retries: 2 } },
    ],
    [
      "--health-http http://127.0.0.1:80/ --health-start-period 250ms --health-start-interval 10ms host",
      { Healthcheck: { Test: ["HTTP", "http://127.0.0.1:80/"], StartPeriod: 250e6, StartInterval: 10e6 } },
    ],
    ["--health-tcp 127.0.0.1:1 host", { Healthcheck: { Test: ["TCP", "127.0.0.1:1"] } }],
    ["--health-interval 3s host", { Healthcheck: { Interval: 3e9 } }],
    ["-l a=b -l c --label-file $D/labels host", { Labels: { x: "1", y: "", a: "b", c: "" } }],
    ["-e A=1 -e A=2 -e B= host", { Env: ["A=2", "B="] }],
    ["--env-file $D/env -e A=3 host", { Env: ["A=3", "B= x y ", "L=2"] }],
    ["-v /anonymous host", { Volumes: { "/anonymous": {} } }],
  ])("%s", (line, expected) => {
    expect(body(line)).toMatchObject(expected);
  });

  test("a variable without value comes from here, or removes the image's", () => {
    const parsed = parseFlags(runFlags, ["-e", "INRO_TEST_FOO", "-e", "INRO_TEST_NONE", "host"], false);
    expect(createBody(parsed.options, "host", []).Env).toEqual(["INRO_TEST_FOO=bar", "INRO_TEST_NONE"]);
  });

  test.each([
    [
      "-m 512m --memory-swap -1 --memory-reservation 1.5g",
      { Memory: 2 ** 29, MemorySwap: -1, MemoryReservation: 1.5 * 2 ** 30 },
    ],
    [
      "--shm-size 64KiB --memory-swappiness 10 --oom-kill-disable",
      { ShmSize: 65536, MemorySwappiness: 10, OomKillDisable: true },
    ],
    [
      "--cpus 1.5 -c 512 --cpu-period 1000 --cpu-quota 2000",
      { NanoCpus: 1.5e9, CpuShares: 512, CpuPeriod: 1000, CpuQuota: 2000 },
    ],
    ["--cpus .000000001 --cpuset-cpus 0-1 --cpuset-mems 0", { NanoCpus: 1, CpusetCpus: "0-1", CpusetMems: "0" }],
    ["--pids-limit -1 --oom-score-adj -500 --blkio-weight 300", { PidsLimit: -1, OomScoreAdj: -500, BlkioWeight: 300 }],
    [
      "--ulimit nofile=1:2 --ulimit core=-1",
      {
        Ulimits: [
          { Name: "nofile", Soft: 1, Hard: 2 },
          { Name: "core", Soft: -1, Hard: -1 },
        ],
      },
    ],
    ["--cap-add all", { CapAdd: ["ALL"] }],
    ["--privileged --read-only --init --rm", { Privileged: true, ReadonlyRootfs: true, Init: true, AutoRemove: true }],
    ["--tmpfs /a:size=1m --tmpfs /b", { Tmpfs: { "/a": "size=1m", "/b": "" } }],
    [
      "--device /dev/null --device /dev/zero:/dev/z:r --device /dev/full:rw",
      {
        Devices: [
          { PathOnHost: "/dev/null", PathInContainer: "/dev/null", CgroupPermissions: "rwm" },
          { PathOnHost: "/dev/zero", PathInContainer: "/dev/z", CgroupPermissions: "r" },
          { PathOnHost: "/dev/full", PathInContainer: "/dev/full", CgroupPermissions: "rw" },
        ],
      },
    ],
    ["--device-cgroup-rule c_1:*_rw", { DeviceCgroupRules: ["c 1:* rw"] }],
    ["--device-read-bps /dev/sda:1mb", { BlkioDeviceReadBps: [{ Path: "/dev/sda", Rate: 1048576 }] }],
    ["--device-write-iops /dev/sda:7", { BlkioDeviceWriteIOps: [{ Path: "/dev/sda", Rate: 7 }] }],
    ["--net none", { NetworkMode: "none" }],
    ["--network name=x", { NetworkMode: "x" }],
    ["--security-opt seccomp=$D/seccomp.json", { SecurityOpt: ['seccomp={"defaultAction":"SCMP_ACT_ALLOW"}'] }],
    [
      "--security-opt no-new-privileges --security-opt seccomp=unconfined",
      { SecurityOpt: ["no-new-privileges", "seccomp=unconfined"] },
    ],
    ["--security-opt systempaths=unconfined", { MaskedPaths: [], ReadonlyPaths: [] }],
    [
      "--pid host --ipc host --uts host --userns host --cgroupns host",
      { PidMode: "host", IpcMode: "host", UTSMode: "host", UsernsMode: "host", CgroupnsMode: "host" },
    ],
    ["--sysctl net.a=1 --annotation a=b", { Sysctls: { "net.a": "1" }, Annotations: { a: "b" } }],
    ["--restart-on-unhealthy", { RestartOnUnhealthy: true }],
    ["--ttl 1h30m --idle-ttl 250ms", { TTL: 5400e9, IdleTTL: 250e6 }],
    ["--restart on-failure:3", { RestartPolicy: { Name: "on-failure", MaximumRetryCount: 3 } }],
    [
      "--log-driver json-file --log-opt max-size=1m",
      { LogConfig: { Type: "json-file", Config: { "max-size": "1m" } } },
    ],
    ["-v /a:/b:ro -v n:/c -v ./x:/y", { Binds: ["/a:/b:ro", "n:/c", `${process.cwd()}/x:/y`] }],
    [
      "--mount type=bind,src=/a,dst=/b,readonly",
      { Mounts: [{ Type: "bind", Source: "/a", Target: "/b", ReadOnly: true }] },
    ],
    [
      "--mount src=v,dst=/b,volume-nocopy",
      { Mounts: [{ Type: "volume", Source: "v", Target: "/b", VolumeOptions: { NoCopy: true } }] },
    ],
    [
      "--mount type=tmpfs,target=/b,tmpfs-size=1m,tmpfs-mode=1777",
      { Mounts: [{ Type: "tmpfs", Target: "/b", TmpfsOptions: { SizeBytes: 1048576, Mode: 0o1777 } }] },
    ],
    ['--mount type=bind,"src=/a,b",dst=/c', { Mounts: [{ Type: "bind", Source: "/a,b", Target: "/c" }] }],
  ])("%s", (line, expected) => {
    expect(host(`${line} host`)).toMatchObject(expected);
  });

  test("capabilities get their full names", () => {
    const { options } = parseFlags(runFlags, ["--cap-drop", "net_admin", "--cap-drop", "CAP_SYS_ADMIN", "host"]);
    expect(createBody(options, "host", []).HostConfig?.CapDrop).toEqual(["CAP_NET_ADMIN", "CAP_SYS_ADMIN"]);
  });
});

test.each([
  ["-m 1x", 'invalid argument "1x" for "-m, --memory" flag: invalid suffix: \'x\''],
  ["-m -5", "invalid size: '-5'"],
  ["--cpus x", "failed to parse x as a rational number"],
  ["--cpus 1.0000000001", "value is too precise"],
  ["--pids-limit x", 'strconv.ParseInt: parsing "x": invalid syntax'],
  ["--blkio-weight 99999", "value out of range"],
  ["--ulimit nofile=5:2", "ulimit soft limit must be less than or equal to hard limit: 5 > 2"],
  ["--ulimit foo=1", "invalid ulimit type: foo"],
  ["--ulimit x", "invalid ulimit argument: x"],
  ["--device /dev/null:/a:b:c", "bad format for path: /dev/null:/a:b:c"],
  ["--device /dev/null:/x:q", "bad mode specified: q"],
  ["--device-read-bps sda:1", "bad format for device path: sda:1"],
  ["--device-read-bps /dev/sda:x", "invalid rate for device: /dev/sda:x"],
  ["--network name=x,gateway=1", "invalid field key gateway"],
  ["--security-opt foo", 'Invalid --security-opt: "foo"'],
  ["--security-opt seccomp=/nope", "opening seccomp profile (/nope) failed: open /nope: no such file or directory"],
  ["--security-opt seccomp=$D/broken.json", "compacting json for seccomp profile"],
  ["--pid foo", "--pid: invalid PID mode"],
  ["--uts foo", "--uts: invalid UTS mode"],
  ["--userns foo", "--userns: invalid USER mode"],
  ["--cgroupns foo", "--cgroupns: invalid CGROUP mode"],
  ["--sysctl kernel.foo=1", "sysctl 'kernel.foo=1' is not allowed"],
  ["--memory-swappiness 101", "Valid memory swappiness range is 0-100"],
  ["--restart on-failure:x", "invalid restart policy format: maximum retry count must be an integer"],
  ["--no-healthcheck --health-retries 1", "--no-healthcheck conflicts with --health-* options"],
  ["--health-cmd x --health-tcp y", "conflicting options: --health-cmd and --health-tcp"],
  ["--health-timeout=-1s", "--health-timeout cannot be negative"],
  ["--health-retries=-1", "--health-retries cannot be negative"],
  ["--health-interval x", 'time: invalid duration "x"'],
  ["--rm --restart-on-unhealthy", "conflicting options: cannot specify both --restart-on-unhealthy and --rm"],
  ["--rm --restart always", "conflicting options: cannot specify both --restart and --rm"],
  ["-d -a stdin", "conflicting options: cannot specify both --attach and --detach"],
  ["-a foo", "valid streams are STDIN, STDOUT and STDERR"],
  ["-e =x", "invalid environment variable: =x"],
  ["--env-file $D/bad", "variable 'a b' contains whitespaces"],
  ["--env-file $D/none", "no such file or directory"],
  ["--storage-opt size", "invalid storage option"],
  ["--log-driver none --log-opt a=b", "invalid logging opts for driver none"],
  ["-v a:b:c:d", "too many colons"],
  ["-v /a:", "empty section between colons"],
  ["--mount type=bind", "target is required"],
  ["--mount type=bind,dst=/x,foo=1", "unexpected key 'foo' in 'foo=1'"],
  ["--mount type=bind,foo,dst=/x", "invalid field 'foo' must be a key=value pair"],
  ["--mount type=bind,dst=/x,ro=maybe", "invalid value for ro: maybe"],
  ["--mount dst=/x,tmpfs-size=1m", "cannot mix 'tmpfs-*' options with mount type 'volume'"],
  ["--mount type=tmpfs,dst=/x,tmpfs-mode=9", "invalid value for tmpfs-mode: 9"],
  ["--mount type=bind,dst=/x,bind-recursive=foo", "invalid value for bind-recursive: foo"],
  ["--mount type=bind,dst=/x,bind-nonrecursive", "bind-nonrecursive is deprecated"],
  ['--mount "type=bind', 'missing " in quoted-field'],
])("%s is refused", (line, message) => {
  expect(() => body(`${line} host`)).toThrow(message);
});
