import { beforeAll, describe, expect, test } from "bun:test";
import { existsSync, lstatSync, mkdirSync, readdirSync, readFileSync, statSync, writeFileSync } from "node:fs";
import { join } from "node:path";
import * as k from "../../src/linux/constants.ts";
import { close, getxattr, openat, setxattr } from "../../src/linux/file.ts";
import { engineForTests } from "../harness.ts";
import { missing, until } from "../isolation/container.ts";
import { importImage, stackImage } from "./image.ts";

describe.skipIf(missing !== "")(`volumes filled from an image${missing}`, () => {
  const engine = missing ? undefined! : engineForTests();
  const dir = missing ? "" : join(engine.dir, "files");
  beforeAll(() => mkdirSync(dir));
  let count = 0;
  const fresh = (prefix = "vol") => `${prefix}${count++}`;
  const data = (volume: string) => join(engine.dataRoot, "volumes", volume, "_data");
  const image = (fill: (root: string) => void) => importImage(engine, dir, fresh("image"), fill);

  test("an empty volume is filled from the image, with all that a file is", async () => {
    const name = await image((root) => {
      mkdirSync(join(root, "data/sub"), { recursive: true });
      writeFileSync(join(root, "data/one"), "one");
      Bun.spawnSync(
        [
          "sh",
          "-c",
          "ln one two; ln -s one link; ln -s /etc/passwd out; mkfifo fifo; chown 1000:1001 one sub .; chmod 4755 one; chmod 2770 .; touch -d @1000 one",
        ],
        { cwd: join(root, "data") },
      );
      const one = openat(k.AT_FDCWD, join(root, "data/one"), k.O_RDONLY);
      setxattr(one, "user.a", Buffer.from("b"));
      close(one);
    });
    const volume = fresh();
    // Made at create, so that a container of nothing but data serves others.
    await engine.ok("create", "-v", `${volume}:/data`, name, "true");
    const one = statSync(join(data(volume), "one"));
    expect([one.uid, one.gid, one.mode & 0o7777, one.nlink, one.mtimeMs]).toEqual([1000, 1001, 0o4755, 2, 1_000_000]);
    const root = statSync(data(volume));
    expect([root.uid, root.gid, root.mode & 0o7777]).toEqual([1000, 1001, 0o2770]);
    expect(lstatSync(join(data(volume), "out")).isSymbolicLink()).toBe(true);
    expect(lstatSync(join(data(volume), "fifo")).isFIFO()).toBe(true);
    const xattr = openat(k.AT_FDCWD, join(data(volume), "one"), k.O_RDONLY);
    expect(getxattr(xattr, "user.a")?.toString()).toBe("b");
    close(xattr);
    // What is in it stays; an emptied one is not filled again.
    await engine.ok("run", "--rm", "-v", `${volume}:/data`, name, "sh", "-c", "rm -r /data/*; touch /data/own");
    expect(await engine.ok("run", "--rm", "-v", `${volume}:/data`, name, "ls", "/data")).toBe("own");
    const bare = fresh();
    expect(await engine.ok("run", "--rm", "-v", `${bare}:/data:nocopy`, name, "ls", "/data")).toBe("");
    expect(
      await engine.ok("run", "--rm", "--mount", `src=${fresh()},dst=/data,volume-nocopy`, name, "ls", "/data"),
    ).toBe("");
  });

  test("several layers are seen as one, and a whiteout is no file", async () => {
    const name = await image((root) => {
      mkdirSync(join(root, "data"));
      for (const file of ["gone", "kept"]) writeFileSync(join(root, "data", file), file);
    });
    const top = join(dir, "top");
    mkdirSync(join(top, "data"), { recursive: true });
    writeFileSync(join(top, "data/.wh.gone"), "");
    writeFileSync(join(top, "data/new"), "new");
    const stacked = await stackImage(engine, dir, name, top);
    const volume = fresh();
    expect(await engine.ok("run", "--rm", "-v", `${volume}:/data`, stacked, "ls", "/data")).toBe("kept\nnew");
    expect(
      await engine.ok("run", "--rm", "--mount", `type=image,src=${stacked},dst=/m`, "busybox", "ls", "/m/data"),
    ).toBe("kept\nnew");
    expect(
      await engine.ok(
        "run",
        "--rm",
        "--mount",
        `type=image,src=${stacked},dst=/m,image-subpath=data`,
        "busybox",
        "ls",
        "/m",
      ),
    ).toBe("kept\nnew");
    const write = await engine.inro([
      "run",
      "--rm",
      "--mount",
      `type=image,src=${stacked},dst=/m`,
      "busybox",
      "touch",
      "/m/x",
    ]);
    expect(write.stderr).toContain("Read-only file system");
    // The image is in use as a mount.
    const id = await engine.ok("create", "--mount", `type=image,src=${stacked},dst=/m`, "busybox", "true");
    expect((await engine.inro(["rmi", stacked])).stderr).toContain("conflict");
    await engine.ok("rm", id);
    const none = await engine.inro(["create", "--mount", "type=image,src=none,dst=/m", "busybox", "true"]);
    expect(none.stderr).toContain("No such image: none:latest");
  });

  test("an engine killed while it fills a volume leaves it empty, and the start fills it", async () => {
    const name = await image((root) => {
      mkdirSync(join(root, "data"));
      for (let i = 0; i < 800; i++) writeFileSync(join(root, "data", `file${i}`), "x");
    });
    const volume = fresh();
    const container = fresh("box");
    const body = { Image: name, Cmd: ["true"], HostConfig: { Binds: [`${volume}:/data`] } };
    const created = engine.api("POST", `/containers/create?name=${container}`, body).catch(() => undefined);
    await until("the copy begins", () => existsSync(join(engine.dataRoot, "volumes", volume, "_data.new")));
    await engine.kill();
    await created;
    await engine.start();
    expect([0, 800]).toContain(readdirSync(data(volume)).length);
    await engine.ok("start", "-a", container);
    expect(readdirSync(data(volume))).toHaveLength(800);
    expect(readdirSync(join(engine.dataRoot, "volumes", volume))).toEqual(["_data"]);
  });

  test("where an image's symlinks lead is in the image", async () => {
    const name = await image((root) => {
      writeFileSync(join(root, "etc/mark"), "the image's");
      Bun.spawnSync(["ln", "-s", "../../../../../../etc", join(root, "data")]);
    });
    const volume = fresh();
    await engine.ok("create", "-v", `${volume}:/data`, name, "true");
    expect(readFileSync(join(data(volume), "mark"), "utf8")).toBe("the image's");
    expect(existsSync(join(data(volume), "passwd"))).toBe(true);
    expect(readFileSync(join(data(volume), "passwd"), "utf8")).not.toContain("daemon");
  });
});
