import { describe, expect, test } from "bun:test";
import fc from "fast-check";
import { InroError } from "../../base/errors.ts";
import { FACTS, FILES, lookup } from "./fixture.ts";
import { usernsRequest } from "./modes.ts";
import { planMounts } from "./mount-plan.ts";
import { toSpec } from "./to-spec.ts";
import { validateCreate } from "./validate-create.ts";

describe("whatever is sent", () => {
  const words = (list: string) => list.split(" ");
  const text = fc.oneof(
    fc.string(),
    fc.constantFrom(
      ...words("container:a host private none auto auto:size=2000 root web:44 /srv 0-1 SIGTERM batch"),
      "",
      "\0",
      "../x",
    ),
  );
  const entry = fc.oneof(
    fc.string(),
    fc.constantFrom(
      ...words("/x:/y /x:/y:ro v1:/z:nocopy A=1 NET_ADMIN ALL no-new-privileges seccomp={} apparmor=unconfined video"),
    ),
    fc.constantFrom("c 1:3 r", "a:1.2.3.4", "/proc/x"),
  );
  const key = fc.oneof(
    fc.string(),
    fc.constantFrom("/tmp/x", "80/tcp", "net.core.somaxconn", "kernel.msgmax", "a", "__proto__"),
  );
  const integer = fc.oneof(fc.constantFrom(0, -1, 10, 1000, 5000, 64 << 20, 1e9, 1e300), fc.integer());
  const object = fc.record(
    {
      Type: fc.constantFrom("bind", "volume", "tmpfs", "json-file"),
      Name: fc.constantFrom("nofile", "core", "no"),
      Source: fc.constantFrom("/s", "vol"),
      Target: fc.constantFrom("/t", "/", "x"),
      Soft: integer,
      Hard: integer,
      PathOnHost: fc.constantFrom("/dev/fuse", "/dev/snd", "/dev/no"),
      Path: fc.constantFrom("/dev/sda", "/dev/fuse"),
      Rate: integer,
      Test: fc.array(fc.constantFrom("CMD", "NONE", "x")),
    },
    { requiredKeys: [] },
  );
  const FIELDS: [fc.Arbitrary<unknown>, string, string][] = [
    [
      text,
      "Hostname Domainname User WorkingDir StopSignal",
      "NetworkMode UsernsMode PidMode IpcMode UTSMode CgroupnsMode CgroupParent CpusetCpus CpusetMems Runtime",
    ],
    [
      fc.boolean(),
      "Tty OpenStdin StdinOnce AttachStdin",
      "AutoRemove Privileged ReadonlyRootfs Init OomKillDisable PublishAllPorts RestartOnUnhealthy",
    ],
    [
      integer,
      "StopTimeout",
      "ShmSize OomScoreAdj Memory MemorySwap MemoryReservation MemorySwappiness NanoCpus CpuShares CpuPeriod CpuQuota PidsLimit BlkioWeight TTL IdleTTL",
    ],
    [
      fc.array(entry, { maxLength: 3 }),
      "Env Cmd Entrypoint Shell",
      "Binds CapAdd CapDrop SecurityOpt GroupAdd DeviceCgroupRules MaskedPaths ReadonlyPaths ExtraHosts",
    ],
    [fc.dictionary(key, fc.oneof(fc.constant(""), fc.string()), { maxKeys: 2 }), "Labels", "Tmpfs Sysctls Annotations"],
    [fc.dictionary(key, fc.constant({}), { maxKeys: 2 }), "Volumes ExposedPorts", ""],
    [object, "Healthcheck", "RestartPolicy LogConfig"],
    [fc.array(object, { maxLength: 2 }), "", "Mounts Devices Ulimits BlkioDeviceReadBps"],
    [fc.tuple(integer, integer), "", "ConsoleSize"],
  ];
  // Mostly values of the field's own type, so that bodies get past the first check.
  const some = (column: 1 | 2) => {
    const fields = FIELDS.flatMap((row) =>
      words(row[column])
        .filter(Boolean)
        .map((name) => {
          const value = fc.oneof({ weight: 30, arbitrary: row[0] }, { weight: 1, arbitrary: fc.jsonValue() });
          return value.map((one) => [name, one] as const);
        }),
    );
    return fc.array(fc.oneof(...fields), { maxLength: 3 }).map((pairs) => Object.fromEntries(pairs));
  };

  test("is accepted or refused with an InroError, also as an image's config and in the spec", () => {
    const body = fc
      .record({ config: some(1), host: some(2) })
      .map(({ config, host }) => ({ Image: "x", Cmd: ["a"], ...config, HostConfig: host }));
    let accepted = 0;
    let refused = 0;
    fc.assert(
      fc.property(
        fc.oneof({ weight: 9, arbitrary: body }, { weight: 1, arbitrary: fc.jsonValue() }),
        some(1),
        (request, image) => {
          try {
            const { config, host } = validateCreate(request, image as never, FACTS);
            const volumes = planMounts(config, host).map((mount) => ({
              ...mount,
              source: `/host${mount.destination}`,
            }));
            const size = usernsRequest(host.UsernsMode)?.size;
            const spec = toSpec({
              ...(size === undefined ? {} : { userns: { hostID: 100000, size } }),
              id: "0".repeat(64),
              config,
              host,
              rootfs: { lookup },
              volumes,
              facts: FACTS,
              hostFiles: FILES,
            });
            expect(spec.process?.args?.[0]).toBeTruthy();
          } catch (error) {
            if (!(error instanceof InroError) || error.kind === "internal") throw error;
            refused++;
            return;
          }
          accepted++;
        },
      ),
      { numRuns: 2000 },
    );
    // Of no use if it only ever sees one side.
    expect(Math.min(accepted, refused)).toBeGreaterThan(100);
  });
});
