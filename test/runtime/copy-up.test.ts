import { afterAll, beforeAll, describe, expect, test } from "bun:test";
import {
  chmodSync,
  chownSync,
  existsSync,
  linkSync,
  mkdirSync,
  readFileSync,
  symlinkSync,
  truncateSync,
  writeFileSync,
} from "node:fs";
import { join } from "node:path";
import * as k from "../../src/linux/constants.ts";
import { mknodat } from "../../src/linux/file.ts";
import { cannotRun } from "./bundle.ts";
import { MountRuntime } from "./mount-bundle.ts";

describe.skipIf(cannotRun !== undefined)(`tmpcopyup${cannotRun ? ` (skipped: ${cannotRun})` : ""}`, () => {
  let runtime: MountRuntime;
  beforeAll(() => {
    runtime = new MountRuntime();
  });
  afterAll(() => runtime.close());
  const run: MountRuntime["mount"] = (...args) => runtime.mount(...args);

  test("tmpcopyup copies everything of the covered directory, and follows nothing", async () => {
    const secret = join(runtime.dir, "secret");
    writeFileSync(secret, "of the host");
    const { out, err, bundle } = await run(
      "cd /data; cat one deep/er/two; stat -c '%n %F %a %u:%g %s' one two fifo zero deep link sparse; readlink link; readlink out; " +
        "test one -ef two && echo linked; cat out; echo new > one; echo x > added; stat -c %a .; grep ' /data ' /proc/mounts",
      [{ destination: "/data", type: "tmpfs", source: "tmpfs", options: ["tmpcopyup", "nosuid", "size=1m"] }],
      (bundle) => {
        const data = join(bundle, "rootfs/data");
        mkdirSync(join(data, "deep/er"), { recursive: true });
        writeFileSync(join(data, "one"), "one\n");
        linkSync(join(data, "one"), join(data, "two"));
        writeFileSync(join(data, "deep/er/two"), "two\n");
        chownSync(join(data, "one"), 12, 34);
        chmodSync(join(data, "one"), 0o4755);
        mknodat(k.AT_FDCWD, join(data, "fifo"), k.S_IFIFO | 0o640, 0);
        chmodSync(join(data, "fifo"), 0o640);
        mknodat(k.AT_FDCWD, join(data, "zero"), k.S_IFCHR | 0o600, 0x105);
        symlinkSync("one", join(data, "link"));
        symlinkSync(`../../../../../..${secret}`, join(data, "out"));
        writeFileSync(join(data, "sparse"), "");
        truncateSync(join(data, "sparse"), 1 << 30);
        chmodSync(data, 0o1711);
      },
    );
    expect(out.split("\n")).toEqual([
      "one",
      "two",
      "one regular file 4755 12:34 4",
      "two regular file 4755 12:34 4",
      "fifo fifo 640 0:0 0",
      "zero character special file 600 0:0 0",
      "deep directory 755 0:0 60",
      "link symbolic link 777 0:0 3",
      "sparse regular file 644 0:0 1073741824",
      "one",
      `../../../../../..${secret}`,
      "linked",
      "1711",
      expect.stringMatching(/^tmpfs \/data tmpfs rw,nosuid,relatime,size=1024k,mode=1711/) as unknown as string,
      "",
    ]);
    expect(err).toContain("out");
    expect(err).not.toContain("of the host");
    // The image stays as it is.
    expect(readFileSync(join(bundle, "rootfs/data/one"), "utf8")).toBe("one\n");
    expect(existsSync(join(bundle, "rootfs/data/added"))).toBe(false);
  });

  test("with other options of its mount", async () => {
    const options = ["tmpcopyup", "ro", "noatime", "nodev"];
    const { out } = await run(
      "cat /d/f; grep ' /d ' /proc/self/mountinfo",
      [{ destination: "/d", type: "tmpfs", source: "t", options }],
      (bundle) => {
        mkdirSync(join(bundle, "rootfs/d"));
        writeFileSync(join(bundle, "rootfs/d/f"), "inside\n");
      },
    );
    expect(out).toMatch(/^inside\n.* \/d ro,nodev,noatime /);
  });

  test("tmpcopyup: of a symlink's place inside, of nothing, and of too much", async () => {
    const tmpfs = { destination: "/d", type: "tmpfs", source: "t", options: ["tmpcopyup", "size=64k"] };
    const link = await run("cat /real/f", [tmpfs], (bundle) => {
      mkdirSync(join(bundle, "rootfs/real"));
      writeFileSync(join(bundle, "rootfs/real/f"), "inside\n");
      symlinkSync("/real", join(bundle, "rootfs/d"));
    });
    expect(link.out).toBe("inside\n");
    expect((await run("ls -a /d | wc -l", [tmpfs])).out).toBe("2\n");
    const much = await run("true", [tmpfs], (bundle) => {
      mkdirSync(join(bundle, "rootfs/d"));
      writeFileSync(join(bundle, "rootfs/d/f"), Buffer.alloc(1 << 20, "x"));
    });
    expect(much).toMatchObject({ code: 1, err: expect.stringContaining("does not fit into the tmpfs") });
    const file = await run("true", [tmpfs], (bundle) => writeFileSync(join(bundle, "rootfs/d"), ""));
    expect(file).toMatchObject({ code: 1, err: expect.stringContaining("not a directory") });
  });
});
