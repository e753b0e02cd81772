import { describe, expect, test } from "bun:test";
import { readdirSync, readFileSync, readlinkSync } from "node:fs";
import { canMountIndexes } from "../../src/layers/erofs/mount.ts";
import { engineForTests, type TestEngine } from "../harness.ts";
import { Box, missing, shell } from "../isolation/container.ts";

/** The same with layers unpacked, and with layers as tars. */

const noErofs = missing || (canMountIndexes("/var/tmp") ? "" : " (needs a kernel that mounts EROFS from files)");

describe.skipIf(missing !== "")(`storage-driver overlay2${missing}`, () => {
  const engine = missing ? undefined! : engineForTests(["--storage-driver", "overlay2"]);
  test("says so", async () => {
    expect(await engine.ok("info", "--format", "{{.Driver}}")).toBe("overlay2");
  });
  everything(() => engine);
});

describe.skipIf(noErofs !== "")(`storage-driver erofs${noErofs}`, () => {
  const engine = noErofs ? undefined! : engineForTests(["--storage-driver", "erofs"]);
  test("says so, and nothing is mounted in the host's sight", async () => {
    expect(await engine.ok("info", "--format", "{{.Driver}}")).toBe("erofs");
    await using _ = await Box.run(engine);
    expect(readFileSync("/proc/self/mountinfo", "utf8")).not.toContain(" erofs ");
    expect(readdirSync(`${engine.dataRoot}/layers`).length).toBe(1);
  });

  everything(() => engine);

  test("containers of one image share its page cache", async () => {
    /** Of the first program's code, which is the image's: what others have mapped too, in KB. */
    const shared = (pid: number) => {
      const [code = ""] =
        /^\S+ r-xp .* \/bin\/busybox\n(?:\w+: .*\n)+/m.exec(readFileSync(`/proc/${pid}/smaps`, "utf8")) ?? [];
      const field = (name: string) => Number(new RegExp(`^${name}: +(\\d+) kB`, "m").exec(code)?.[1]);
      return { shared: field("Shared_Clean"), own: field("Private_Clean") };
    };
    await using one = await Box.run(engine);
    const alone = shared(one.pid);
    await using two = await Box.run(engine);
    expect(alone.own).toBeGreaterThan(0);
    expect(alone.shared).toBe(0);
    expect(shared(one.pid).shared).toBeGreaterThan(0);
    expect(shared(two.pid).shared).toBeGreaterThan(0);
  });

  test("what is removed lets go of its files", async () => {
    await engine.ok("run", "--name", "made", "busybox", "sh", "-c", "head -c 3000000 /dev/zero > /big");
    await engine.ok("commit", "made", "big");
    await engine.ok("run", "--rm", "big", "true");
    const deleted = () =>
      readdirSync(`/proc/${engine.pid}/fd`).filter((fd) =>
        readlink(`/proc/${engine.pid}/fd/${fd}`).includes("deleted"),
      );
    expect(await engine.ok("run", "--rm", "big", "stat", "-c", "%s", "/big")).toBe("3000000");
    const mounts = roots(engine);
    await engine.ok("rmi", "big");
    expect(roots(engine)).toBe(mounts - 1);
    expect(deleted()).toEqual([]);
    await engine.ok("rm", "made");
  });
});

describe.skipIf(noErofs !== "")(`an engine whose storage-driver changes${noErofs}`, () => {
  const engine = noErofs ? undefined! : engineForTests();
  test("goes on with what is there", async () => {
    await engine.ok("run", "--name", "made", "busybox", "sh", "-c", "echo upper > /f");
    await using box = await Box.run(engine);
    await engine.kill("SIGTERM");
    await engine.start(["--storage-driver", "overlay2"]);
    expect(await box.sh("cat /etc/passwd | head -n 1")).toStartWith("root:");
    expect(await engine.ok("commit", "made", "committed")).toStartWith("sha256:");
    await engine.busybox();
    expect(await shell(engine, "echo again")).toBe("again");
    expect(await engine.ok("run", "--rm", "committed", "cat", "/f")).toBe("upper");
  });
});

/** Directories that the engine holds by descriptor: the roots of its mounts among them. */
function roots(engine: TestEngine): number {
  return readdirSync(`/proc/${engine.pid}/fd`).filter((fd) => readlink(`/proc/${engine.pid}/fd/${fd}`) === "/").length;
}

function readlink(path: string): string {
  try {
    return readlinkSync(path);
  } catch {
    return "";
  }
}

function everything(engine: () => TestEngine): void {
  test("run, diff, commit, an image as a mount, export, save and load", async () => {
    const change = "echo new > /etc/new; rm /etc/group; mkdir -p /d; chown 1000:1000 /d; echo more >> /etc/passwd";
    await engine().ok("run", "--name", "changed", "busybox", "sh", "-c", change);
    expect((await engine().ok("diff", "changed")).split("\n").sort()).toEqual([
      "A /d",
      "A /etc/new",
      "C /etc",
      "C /etc/passwd",
      "D /etc/group",
    ]);
    await engine().ok("commit", "changed", "second");
    const look = "cat /etc/new; ls /etc | sort | tr '\\n' ' '; stat -c '%u %a' /d; tail -n 1 /etc/passwd";
    const seen = await engine().ok("run", "--rm", "second", "sh", "-c", look);
    expect(seen).toStartWith("new\n");
    expect(seen).not.toContain("group");
    expect(seen).toEndWith("1000 755\nmore");
    const mount = "type=image,source=second,target=/m";
    expect(await engine().ok("run", "--rm", "--mount", mount, "busybox", "cat", "/m/etc/new")).toBe("new");
    await engine().ok("rm", "changed");
    const file = `${engine().dir}/saved.tar`;
    await engine().ok("save", "-o", file, "second");
    await engine().ok("rmi", "second");
    await engine().ok("load", "-i", file);
    expect(await engine().ok("run", "--rm", "second", "sh", "-c", look)).toBe(seen);
    await engine().ok("rmi", "second");
  });

  test("in a user namespace: owners are the container's, and commit maps them back", async () => {
    const script = "stat -c %u /etc/passwd; echo x > /mine; cat /proc/self/uid_map | tr -s ' '";
    const out = await engine().ok("run", "--name", "mapper", "--userns", "auto", "busybox", "sh", "-c", script);
    expect(out.split("\n")[0]).toBe("0");
    expect(out).not.toContain(" 0 0 ");
    await engine().ok("commit", "mapper", "mapped");
    expect(await engine().ok("run", "--rm", "mapped", "stat", "-c", "%u", "/mine")).toBe("0");
    await engine().ok("rm", "mapper");
    await engine().ok("rmi", "mapped");
  });
}
