import { afterAll, beforeAll, describe, expect, test } from "bun:test";
import { mkdirSync, writeFileSync } from "node:fs";
import { join } from "node:path";
import type { Mount } from "../../../src/spec/oci-runtime.ts";
import { asRoot, cannotRun as cannot, PlainRuntime } from "./user.ts";

const cannotRun = cannot ?? (asRoot ? undefined : "not root, who makes the host's mounts");

describe.skipIf(cannotRun !== undefined)(`a plain user's mounts${cannotRun ? ` (skipped: ${cannotRun})` : ""}`, () => {
  let runtime: PlainRuntime;
  let source = "";
  beforeAll(() => {
    runtime = new PlainRuntime();
    source = join(runtime.dir, "locked");
    mkdirSync(source);
    Bun.spawnSync(["mount", "-t", "tmpfs", "-o", "nosuid,nodev,noatime,mode=777", "inro-test", source]);
    writeFileSync(join(source, "file"), "x\n");
  });
  afterAll(async () => {
    Bun.spawnSync(["umount", source]);
    await runtime.close();
  });
  let ids = 0;
  const run = (mounts: Mount[], script = "grep ' /m ' /proc/self/mountinfo | cut -d ' ' -f 6; cat /m/file") =>
    runtime.run([
      "run",
      "-b",
      runtime.bundle(script, (s) => {
        s.mounts = s.mounts!.concat(mounts);
      }),
      `r${ids++}`,
    ]);

  test.each<[string, string]>([
    ["bind", "rw,nosuid,nodev,noatime"],
    ["bind ro", "ro,nosuid,nodev,noatime"],
    ["bind rw noexec nosuid", "rw,nosuid,nodev,noexec,noatime"],
    ["rbind rro exec", "ro,nosuid,nodev,noatime"],
    ["bind noatime", "rw,nosuid,nodev,noatime"],
  ])("the locked flags of a source stay: %s", async (options, wanted) => {
    const { out, err } = await run([{ destination: "/m", source, options: options.split(" ") }]);
    expect([out, err]).toEqual([`${wanted}\nx\n`, ""]);
  });

  test.each([["bind suid"], ["rbind dev"], ["bind atime"], ["bind strictatime"], ["rbind rsuid"]])(
    "%s asks for a locked one to be cleared: refused",
    async (options) => {
      const { code, err } = await run([{ destination: "/m", source, options: options.split(" ") }]);
      expect({ code, err }).toEqual({
        code: 1,
        err: expect.stringMatching(/mount_setattr.*EPERM.*cannot be taken back/),
      });
    },
  );

  test("CVE-2023-25809: of the machine's cgroups nothing can be written", async () => {
    const script =
      "grep -E ' /sys(/fs/cgroup\\S*)? ' /proc/self/mountinfo | cut -d ' ' -f 6 | cut -d , -f 1 | sort -u; mkdir /sys/fs/cgroup/x";
    const { out, err } = await run([], script);
    expect(out).toBe("ro\n");
    expect(err).toContain("Read-only file system");
  });
});
