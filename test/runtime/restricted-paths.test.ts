import { afterAll, beforeAll, describe, expect, test } from "bun:test";
import { existsSync, mkdirSync, symlinkSync, writeFileSync } from "node:fs";
import { join } from "node:path";
import { cannotRun } from "./bundle.ts";
import { type Change, MountRuntime } from "./mount-bundle.ts";

describe.skipIf(cannotRun !== undefined)(
  `restricted paths and labels${cannotRun ? ` (skipped: ${cannotRun})` : ""}`,
  () => {
    let runtime: MountRuntime;
    beforeAll(() => {
      runtime = new MountRuntime();
    });
    afterAll(() => runtime.close());
    const run: MountRuntime["mount"] = (...args) => runtime.mount(...args);

    test("root.readonly closes the root, and not what is mounted", async () => {
      const readonly: Change = (s) => {
        s.root!.readonly = true;
      };
      const mounts = [{ destination: "/t", type: "tmpfs", source: "t" }];
      const { out, err } = await run(
        "touch /x; touch /bin/x; touch /t/x /dev/shm/x && echo ok",
        mounts,
        undefined,
        readonly,
      );
      expect(out).toBe("ok\n");
      expect(err.match(/Read-only file system/g)).toHaveLength(2);
    });

    test("readonlyPaths: closed, and else as they were; maskedPaths: empty; missing ones are skipped", async () => {
      const { out, err } = await run(
        "touch /bin/x; touch /t/ro/x; echo > /dev/null && cat /file /dir/* /link /proc/keys; ls -A /dir /link.d; grep -E ' /(bin|t/ro) ' /proc/self/mountinfo",
        [
          { destination: "/t", type: "tmpfs", source: "t", options: ["nosuid", "mode=777"] },
          { destination: "/t/ro", source: "src", options: ["bind", "nodev"] },
        ],
        (bundle) => {
          const root = join(bundle, "rootfs");
          writeFileSync(join(root, "file"), "secret");
          for (const name of ["dir", "real"]) {
            mkdirSync(join(root, name));
            writeFileSync(join(root, name, "inside"), "secret");
          }
          symlinkSync("/file", join(root, "link"));
          symlinkSync("../../../real", join(root, "link.d"));
        },
        (s) => {
          s.linux.readonlyPaths = ["/bin", "/t/ro", "/dev", "/none", "/file/none"];
          s.linux.maskedPaths = ["/link", "/dir", "/link.d", "/proc/keys", "/none/deep", "/proc/none"];
        },
      );
      expect(err.match(/Read-only file system/g)).toHaveLength(2);
      expect(err).not.toMatch(/denied|secret/);
      const ends = out
        .trim()
        .split("\n")
        .slice(-2)
        .map((line) => line.split(" ")[5]);
      expect(out).not.toContain("secret");
      expect(ends).toEqual(["ro,relatime", "ro,nodev,relatime"]);
    });

    const selinux = existsSync("/sys/fs/selinux/enforce");
    test.skipIf(!selinux)(`mountLabel${selinux ? "" : " (skipped: no SELinux)"}`, async () => {
      const label = "system_u:object_r:tmp_t:s0";
      const { out } = await run(
        "cat /proc/mounts",
        [{ destination: "/t", type: "tmpfs", source: "t" }],
        undefined,
        (s) => {
          s.linux.mountLabel = label;
        },
      );
      const labelled = out
        .split("\n")
        .filter((line) => line.includes(`context=${label}`))
        .map((line) => line.split(" ")[1]);
      for (const path of ["/t", "/dev", "/dev/pts", "/dev/shm"]) expect(labelled).toContain(path);
      for (const path of ["/proc", "/sys", "/dev/mqueue"]) expect(labelled).not.toContain(path);
    });
  },
);
