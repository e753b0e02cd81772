import { afterAll, beforeAll, describe, expect, test } from "bun:test";
import { chmodSync, linkSync, mkdirSync, readdirSync, symlinkSync, utimesSync, writeFileSync } from "node:fs";
import { join } from "node:path";
import { gzipSync, zstdCompressSync } from "node:zlib";
import { copyStep, digestSelection, workdirStep } from "../../src/build/ops/copy.ts";
import { runStep } from "../../src/build/ops/run.ts";
import { type CopyStep, type FileSource, SCRATCH, type Snapshot } from "../../src/build/step.ts";
import type { StoredLayer } from "../../src/images/store.ts";
import { tarOf } from "../../src/images/testing/samples.ts";
import { readTar } from "../../src/layers/tar-read.ts";
import { writeTar } from "../../src/layers/tar-write.ts";
import { hasBusybox, isRoot } from "../harness.ts";
import { command, Lab } from "./lab.ts";

const why = !isRoot ? "needs root" : !hasBusybox ? "no busybox-static" : "";

describe.skipIf(why !== "")(`COPY and ADD${why && ` (${why})`}`, () => {
  let lab: Lab;
  let base: Snapshot;
  beforeAll(async () => {
    lab = new Lab();
    base = await lab.busybox();
  });
  afterAll(() => {
    const left = readdirSync(lab.directory);
    lab.close();
    expect(left).toEqual([]);
  });

  const on = (layer: StoredLayer | undefined, below = base): Snapshot => ({
    layers: [...below.layers, ...(layer ? [layer] : [])],
  });
  const copy = (source: FileSource, paths: string[], destination: string, more: Partial<CopyStep> = {}): CopyStep => ({
    items: [{ kind: "files", source, paths }],
    destination,
    parents: false,
    excludes: [],
    unpack: "never",
    link: false,
    ...more,
  });
  /** `type mode uid:gid name` of each member. */
  async function members(layer: StoredLayer | undefined): Promise<string[]> {
    if (!layer) return [];
    const found: string[] = [];
    for await (const { type, mode, uid, gid, name, linkname } of readTar(
      Bun.file(lab.bench.content.path(layer.diffId)).stream(),
    )) {
      found.push(`${type} ${mode.toString(8)} ${uid}:${gid} ${name}${linkname ? ` -> ${linkname}` : ""}`);
    }
    return found;
  }
  const done = async (step: CopyStep, below = base) => members(await copyStep(step, below, lab.context()));
  const failing = async (step: CopyStep, below = base) =>
    await copyStep(step, below, lab.context()).then(
      () => "it did not fail",
      (error) => error.message,
    );

  describe("where it goes", () => {
    const cases: [name: string, paths: string[], destination: string, expected: string[]][] = [
      ["a file to a new name", ["a.txt"], "/x", ["file 644 0:0 x"]],
      [
        "a file into a directory that is made",
        ["a.txt"],
        "/new/dir/",
        ["directory 755 0:0 new/", "directory 755 0:0 new/dir/", "file 644 0:0 new/dir/a.txt"],
      ],
      ["a file into a directory of the base", ["a.txt"], "/etc", ["file 644 0:0 etc/a.txt"]],
      ["a file over one of the base", ["a.txt"], "/etc/passwd", ["file 644 0:0 etc/passwd"]],
      [
        "two files",
        ["a.txt", "b.txt"],
        "/two/",
        ["directory 755 0:0 two/", "file 644 0:0 two/a.txt", "file 644 0:0 two/b.txt"],
      ],
      [
        "the contents of a directory, with its mode",
        ["dir"],
        "/d",
        [
          "directory 750 0:0 d/",
          "file 600 0:0 d/in",
          "directory 755 0:0 d/sub/",
          "symlink 777 0:0 d/sub/link -> ../in",
        ],
      ],
      [
        "its contents into a directory of the base",
        ["dir/"],
        "/etc/",
        ["file 600 0:0 etc/in", "directory 755 0:0 etc/sub/", "symlink 777 0:0 etc/sub/link -> ../in"],
      ],
      ["wildcards", ["*.txt"], "/w/", ["directory 755 0:0 w/", "file 644 0:0 w/a.txt", "file 644 0:0 w/b.txt"]],
      ["wildcards for directories", ["d*/s?b/l[h-j]nk"], "/w/", ["directory 755 0:0 w/", "file 600 0:0 w/link"]],
      ["wildcards that match nothing", ["a.txt", "nothing*"], "/w/", ["directory 755 0:0 w/", "file 644 0:0 w/a.txt"]],
      ["a symlink as a source is what it leads to", ["link-to-a"], "/l", ["file 644 0:0 l"]],
      ["hard links", ["hard"], "/h", ["directory 755 0:0 h/", "file 644 0:0 h/one", "hardlink 644 0:0 h/two -> h/one"]],
    ];
    let source: FileSource & { path: string };
    beforeAll(() => {
      source = lab.files({ "a.txt": "a\n", "b.txt": "b\n", "dir/in": "in\n", "hard/one": "1\n" });
      mkdirSync(join(source.path, "dir/sub"));
      symlinkSync("../in", join(source.path, "dir/sub/link"));
      symlinkSync("a.txt", join(source.path, "link-to-a"));
      linkSync(join(source.path, "hard/one"), join(source.path, "hard/two"));
      chmodSync(join(source.path, "dir"), 0o750);
      chmodSync(join(source.path, "dir/in"), 0o600);
    });
    test.each(cases)("%s", async (_, paths, destination, expected) => {
      expect(await done(copy(source, paths, destination))).toEqual(expected);
    });

    test("--parents keeps directories, from /./ on", async () => {
      expect(await done(copy(source, ["dir/sub/link"], "/p/", { parents: true }))).toEqual([
        "directory 755 0:0 p/",
        "directory 750 0:0 p/dir/",
        "directory 755 0:0 p/dir/sub/",
        "file 600 0:0 p/dir/sub/link",
      ]);
      expect(await done(copy(source, ["dir/./sub/link"], "/p/", { parents: true }))).toEqual([
        "directory 755 0:0 p/",
        "directory 755 0:0 p/sub/",
        "file 600 0:0 p/sub/link",
      ]);
    });

    test("--exclude", async () => {
      expect(await done(copy(source, ["."], "/e/", { excludes: ["dir", "*.txt", "!b.txt", "hard/two"] }))).toEqual([
        "directory 755 0:0 e/",
        "file 644 0:0 e/b.txt",
        "directory 755 0:0 e/hard/",
        "file 644 0:0 e/hard/one",
        "symlink 777 0:0 e/link-to-a -> a.txt",
      ]);
    });

    test("--chown by the names of the base, --chmod", async () => {
      const users = await runStep(
        command("echo app:x:1000:1001::/:/bin/sh >> /etc/passwd; echo staff:x:50: >> /etc/group"),
        base,
        lab.context(),
      );
      const cases: [chown: string, owner: string][] = [
        ["app", "1000:1001"],
        ["app:staff", "1000:50"],
        ["7", "7:7"],
        ["7:8", "7:8"],
      ];
      for (const [chown, owner] of cases) {
        expect(await done(copy(source, ["a.txt"], "/c/", { chown }), on(users))).toEqual([
          `directory 755 ${owner} c/`,
          `file 644 ${owner} c/a.txt`,
        ]);
      }
      expect(await failing(copy(source, ["a.txt"], "/c", { chown: "nobody-here" }))).toContain(
        "unable to find user nobody-here",
      );
      expect(await done(copy(source, ["dir"], "/m", { chmod: "u=rwX,go=rX" }))).toEqual([
        "directory 755 0:0 m/",
        "file 644 0:0 m/in",
        "directory 755 0:0 m/sub/",
        "symlink 777 0:0 m/sub/link -> ../in",
      ]);
      expect(await done(copy(source, ["a.txt"], "/m", { chmod: "4711" }))).toEqual(["file 4711 0:0 m"]);
    });

    test("what is missing, or in the way", async () => {
      expect(await failing(copy(source, ["no/such"], "/x"))).toBe('"/no/such": not found');
      expect(await failing(copy(source, ["../../etc/passwd"], "/x"))).toBe('"/etc/passwd": not found');
      expect(await failing(copy(source, ["a.txt"], "/bin/busybox/"))).toBe(
        "cannot copy to non-directory: /bin/busybox",
      );
      const directory = await runStep(command("mkdir -p /x/a.txt"), base, lab.context());
      expect(await failing(copy(source, ["a.txt"], "/x/"), on(directory))).toBe("cannot copy over directory: /x/a.txt");
    });
  });

  test("a symlink of the base leads into the base, never to the host", async () => {
    const hostile = await runStep(
      command(`mkdir /real; ln -s /real /link; ln -s ${lab.bench.dir} /host; ln -s / /up`),
      base,
      lab.context(),
    );
    const source = lab.files({ f: "f\n", "host/g": "g\n", "link/h": "h\n" });
    expect(await done(copy(source, ["f"], "/link/"), on(hostile))).toEqual(["file 644 0:0 real/f"]);
    expect(await done(copy(source, ["link"], "/up/link"), on(hostile))).toEqual(["file 644 0:0 real/h"]);
    // What the host has there is not in the image: the link that leads nowhere gives way.
    expect(await done(copy(source, ["f"], "/host/"), on(hostile))).toEqual([
      "directory 755 0:0 host/",
      "file 644 0:0 host/f",
    ]);
    expect(readdirSync(lab.bench.dir)).not.toContain("f");
    expect(await failing(copy({ kind: "snapshot", snapshot: on(hostile) }, ["/host/*"], "/stolen/"))).toBe(
      "it did not fail",
    );
    expect(await done(copy({ kind: "snapshot", snapshot: on(hostile) }, ["/host/*"], "/stolen/"))).toEqual([]);
  });

  test("from another stage: owners, devices, fifos and xattrs are kept", async () => {
    const made = await runStep(
      command("mkdir /o; echo x > /o/f; chown 5:6 /o/f; chmod 4755 /o/f; mkfifo /o/p; mknod /o/n c 1 3"),
      base,
      lab.context(),
    );
    expect(await done(copy({ kind: "snapshot", snapshot: on(made) }, ["/o"], "/to"), SCRATCH)).toEqual([
      "directory 755 0:0 to/",
      "file 4755 5:6 to/f",
      "char 644 0:0 to/n",
      "fifo 644 0:0 to/p",
    ]);
  });

  test("--link stands on nothing", async () => {
    const source = lab.files({ f: "f\n" });
    const linked = await copyStep(copy(source, ["f"], "/etc/", { link: true }), base, lab.context());
    expect(await members(linked)).toEqual(["directory 755 0:0 etc/", "file 644 0:0 etc/f"]);
  });

  test("heredocs", async () => {
    const items = [
      { kind: "file", name: "run.sh", content: Buffer.from("#!/bin/sh\necho from a heredoc\n"), mode: 0o644 },
    ] as const;
    const layer = await copyStep({ ...copy(lab.files({}), [], "/opt/"), items, chmod: "755" }, base, lab.context());
    await runStep(command("/opt/run.sh"), on(layer), lab.context());
    expect(lab.output()).toBe("from a heredoc\n");
  });

  describe("ADD", () => {
    test("unpacks archives of every compression, and copies what only looks like one", async () => {
      const tar = await tarOf({ "inside/": "", "inside/file": "packed\n", link: { to: "inside/file" } });
      const source = lab.files({ "plain.tar": "", "not.tar.gz": "no archive" });
      writeFileSync(join(source.path, "plain.tar"), tar);
      writeFileSync(join(source.path, "a.tar.gz"), gzipSync(tar));
      writeFileSync(join(source.path, "a.tar.zst"), zstdCompressSync(tar));
      const unpacked = [
        "directory 755 0:0 x/",
        "directory 755 0:0 x/inside/",
        "file 644 0:0 x/inside/file",
        "symlink 644 0:0 x/link -> inside/file",
      ];
      for (const name of ["plain.tar", "a.tar.gz", "a.tar.zst"]) {
        expect(await done(copy(source, [name], "/x/", { unpack: "local" }))).toEqual(unpacked);
      }
      expect(await done(copy(source, ["not.tar.gz"], "/x/", { unpack: "local" }))).toEqual([
        "directory 755 0:0 x/",
        "file 644 0:0 x/not.tar.gz",
      ]);
      expect(await done(copy(source, ["plain.tar"], "/x/"))).toEqual([
        "directory 755 0:0 x/",
        "file 644 0:0 x/plain.tar",
      ]);
    });

    test("hostile archives: nothing leads out of the destination", async () => {
      const common = { mode: 0o644, uid: 0, gid: 0, size: 0, mtime: 0n };
      const archives: [name: string, members: Parameters<typeof writeTar>[0], expected: string][] = [
        ["dots", [{ header: { ...common, name: "../../out", type: "file" } }], "out of the layer"],
        [
          "link",
          [{ header: { ...common, name: "l", type: "hardlink", linkname: "/etc/shadow" } }],
          "a hard link to what is not in the archive",
        ],
        ["whiteout", [{ header: { ...common, name: ".wh.etc", type: "file" } }], ".wh."],
      ];
      for (const [name, entries, expected] of archives) {
        const source = lab.files({});
        writeFileSync(join(source.path, "x.tar"), Buffer.concat(await Array.fromAsync(writeTar(entries))));
        expect([name, await failing(copy(source, ["x.tar"], "/x/", { unpack: "local" }))]).toEqual([
          name,
          expect.stringContaining(expected),
        ]);
      }
    });

    test("a download has mode 600, its own time and name", async () => {
      const path = join(lab.files({ body: "fetched\n" }).path, "body");
      const items = [{ kind: "download", name: "it.bin", path, mtime: 1_000_000 }] as const;
      const layer = await copyStep({ ...copy(lab.files({}), [], "/dl/"), items }, base, lab.context());
      expect(await members(layer)).toEqual(["directory 755 0:0 dl/", "file 600 0:0 dl/it.bin"]);
      await runStep(command("stat -c %Y /dl/it.bin; cat /dl/it.bin"), on(layer), lab.context());
      expect(lab.output()).toBe("1000000\nfetched\n");
    });
  });

  test("WORKDIR is made where it is missing", async () => {
    expect(await members(await workdirStep("/a/b", base, lab.context()))).toEqual([
      "directory 755 0:0 a/",
      "directory 755 0:0 a/b/",
    ]);
    expect(await workdirStep("/etc", base, lab.context())).toBeUndefined();
  });

  test("equal files at other times and places make equal layers and digests", async () => {
    const [one, two] = [lab.files({ "d/x": "x\n", y: "y\n" }), lab.files({ "d/x": "x\n", y: "y\n" })];
    utimesSync(join(two.path, "y"), 1_800_000_000, 1_800_000_000);
    const layers = [];
    for (const source of [one, two]) layers.push(await copyStep(copy(source, ["."], "/to/"), base, lab.context()));
    expect(layers[0]!.diffId).toBe(layers[1]!.diffId);
    const digest = (source: FileSource, excludes: string[] = []) =>
      digestSelection(source, ["."], { parents: false, excludes }, lab.context());
    const before = await digest(one);
    expect(await digest(two)).toBe(before);
    expect(await digest(two, ["y"])).not.toBe(before);
    chmodSync(join(two.path, "y"), 0o755);
    expect(await digest(two)).not.toBe(before);
    chmodSync(join(two.path, "y"), 0o644);
    writeFileSync(join(two.path, "y"), "z\n");
    expect(await digest(two)).not.toBe(before);
    expect(await digest(two, ["y"])).toBe(await digest(one, ["y"]));
    const [apart, together] = [lab.files({ a: "x", b: "x" }), lab.files({ a: "x" })];
    linkSync(join(together.path, "a"), join(together.path, "b"));
    expect(await digest(together)).not.toBe(await digest(apart));
    expect(await digest(together, ["b"])).toBe(await digest(apart, ["b"]));
    await expect(digestSelection(one, ["none"], { parents: false, excludes: [] }, lab.context())).rejects.toThrow(
      '"/none": not found',
    );
  });
});
