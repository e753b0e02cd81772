import { expect } from "bun:test";
import { mkdirSync, writeFileSync } from "node:fs";
import { join } from "node:path";
import { section } from "../case.ts";

const linux = section("config-linux.md#rootfs-mount-propagation");
const ROOT = `awk '$5 == "/"' /proc/self/mountinfo`;

export const propagationCases = [
  linux.shows("linux.rootfsPropagation private", { linux: { rootfsPropagation: "private" } }, ROOT, / \/ ro,\S+ - /),
  linux.shows("linux.rootfsPropagation shared", { linux: { rootfsPropagation: "shared" } }, ROOT, /shared:\d+/, {
    differs: { runc: "1.1.5 asks the mount above the root" },
  }),
  linux.shows(
    "linux.rootfsPropagation slave",
    { linux: { rootfsPropagation: "slave" } },
    ROOT,
    /ro,\S+ (master:\d+ )?- /,
  ),
  linux.shows(
    "linux.rootfsPropagation unbindable",
    { linux: { rootfsPropagation: "unbindable" } },
    ROOT,
    /unbindable/,
    { differs: { runc: "1.1.5 cannot bind the root after it" } },
  ),
  linux.refuses("linux.rootfsPropagation: unknown", { linux: { rootfsPropagation: "nope" } }, /rootfsPropagation/, {
    differs: { crun: "1.8.1 ignores it" },
  }),
];

const paths = section("config-linux.md#masked-paths");

export const pathCases = [
  paths.does("linux.maskedPaths: a file", async (c) => {
    const container = c.container("wc -c < /etc/secret", { linux: { maskedPaths: ["/etc/secret"] } });
    mkdirSync(join(container.rootfs, "etc"));
    writeFileSync(join(container.rootfs, "etc/secret"), "secret");
    expect((await container.says()).trim()).toBe("0");
  }),
  paths.does("linux.maskedPaths: a directory", async (c) => {
    const container = c.container("ls /etc/secret; touch /etc/secret/x 2>&1 || true", {
      linux: { maskedPaths: ["/etc/secret"] },
      root: { readonly: false },
    });
    mkdirSync(join(container.rootfs, "etc/secret"), { recursive: true });
    writeFileSync(join(container.rootfs, "etc/secret/file"), "secret");
    expect(await container.says()).toMatch(/^touch: .*Read-only/);
  }),
  paths.shows("linux.maskedPaths: one that is not there", { linux: { maskedPaths: ["/nowhere/x"] } }, "echo ok", "ok"),
  paths.shows("linux.maskedPaths: /proc/keys", { linux: { maskedPaths: ["/proc/keys"] } }, "wc -c < /proc/keys", "0"),
  paths.does(
    "linux.readonlyPaths",
    async (c) => {
      const container = c.container("touch /etc/x 2>&1 || touch /y && ls /y", {
        linux: { readonlyPaths: ["/etc"] },
        root: { readonly: false },
      });
      mkdirSync(join(container.rootfs, "etc"));
      expect(await container.says()).toMatch(/Read-only file system\n\/y/);
    },
    { spec: "config-linux.md#readonly-paths" },
  ),
  paths.shows(
    "linux.readonlyPaths: keeps nosuid, nodev, noexec",
    { linux: { readonlyPaths: ["/dev/shm"] } },
    "grep ' /dev/shm ' /proc/self/mountinfo | tail -1",
    /ro,nosuid,nodev,noexec/,
    { spec: "config-linux.md#readonly-paths", differs: { crun: "1.8.1 drops them" } },
  ),
  paths.shows(
    "linux.readonlyPaths: one that is not there",
    { linux: { readonlyPaths: ["/nowhere"] } },
    "echo ok",
    "ok",
    { spec: "config-linux.md#readonly-paths" },
  ),
  paths.refuses("linux.maskedPaths: a relative path", { linux: { maskedPaths: ["etc"] } }, /maskedPaths\[0\]/, {
    differs: { crun: "takes it", runc: "1.1.5 takes it" },
  }),
  paths.does(
    "--no-pivot",
    async (c) => {
      const { code, out, err } = await c.run("ls /bin/sh", {}, ["--no-pivot"]);
      expect({ code, out, err }).toMatchObject({ code: 0, out: "/bin/sh\n" });
    },
    { spec: "runc" },
  ),
];
