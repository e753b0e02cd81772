import { afterEach, beforeEach, describe, expect, test } from "bun:test";
import { spawnSync } from "node:child_process";
import { mkdirSync, mkdtempSync, rmSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import * as k from "../linux/constants.ts";
import { close, openat, setxattr } from "../linux/file.ts";
import { changes } from "./changes.ts";
import { readTar, type TarEntry } from "./tar-read.ts";
import { layerTar, rootfsTar } from "./tree-tar.ts";
import { Unpacker } from "./unpack.ts";

const asRoot = process.getuid?.() === 0;
let dir: string;
const at = (name: string) => join(dir, name);

beforeEach(() => {
  dir = mkdtempSync(join(tmpdir(), "inro-changes-"));
  for (const name of ["lower1", "lower2", "upper", "work", "merged", "copy"]) mkdirSync(at(name));
});
afterEach(() => rmSync(dir, { recursive: true }));

function sh(script: string, where: string): string {
  const { stdout, stderr, status } = spawnSync("sh", ["-euc", script], { cwd: at(where) });
  expect([stderr.toString(), status]).toEqual(["", 0]);
  return stdout.toString();
}

/** Runs `script` in a real overlay of lower2 on lower1, in a mount namespace of its own. */
function inOverlay(script: string, lowers = "../lower2:../lower1", upper = "../upper"): string {
  const options = `lowerdir=${lowers},upperdir=${upper},workdir=../work,redirect_dir=off,metacopy=off,index=off`;
  writeFileSync(at("script"), script);
  return sh(
    `unshare -m sh -euc 'mount -t overlay -o "${options}" none ../merged; cd ../merged; sh -eu ../script'`,
    "merged",
  );
}

function setXattr(name: string, attribute: string, value: Buffer): void {
  const fd = openat(k.AT_FDCWD, at(name), k.O_PATH);
  setxattr(fd, attribute, value);
  close(fd);
}

const LOWER1 = `mkdir -p etc/conf.d bin var/log; echo a > etc/passwd; echo b > etc/group; echo c > etc/conf.d/one
  echo d > etc/conf.d/two; echo sh > bin/sh; ln -s sh bin/bash; echo e > var/log/old; chmod 4755 bin/sh
  find . -exec touch -h -d @1000 {} +`;
const LOWER2 = `mkdir -p etc opt/tool; echo B > etc/group; echo t > opt/tool/x; mknod etc/conf.d c 0 0
  find . -exec touch -h -d @2000 {} +`;

const diff = () =>
  changes({ upper: at("upper"), lowers: [at("lower2"), at("lower1")] }).map(
    ({ Path, Kind }) => `${"CAD"[Kind]} ${Path}`,
  );

async function entries(source: AsyncIterable<Uint8Array>): Promise<TarEntry[]> {
  const found: TarEntry[] = [];
  for await (const entry of readTar(source)) found.push(entry);
  return found;
}

async function unpack(source: AsyncIterable<Uint8Array>, target: string, lowers: string[]): Promise<void> {
  const unpacker = new Unpacker(target, lowers);
  try {
    for await (const entry of readTar(source)) {
      unpacker.entry(entry);
      for await (const chunk of entry.body) unpacker.data(chunk);
      unpacker.end();
    }
    unpacker.finish();
  } finally {
    unpacker.close();
  }
}

describe.skipIf(!asRoot)("changes (needs root: overlay mounts)", () => {
  beforeEach(() => {
    sh(LOWER1, "lower1");
    sh(LOWER2, "lower2");
  });

  test("nothing", () => {
    inOverlay("cat etc/passwd > /dev/null");
    expect(diff()).toEqual([]);
  });

  test.each<[string, string, string[]]>([
    ["a new file", "echo x > etc/new", ["C /etc", "A /etc/new"]],
    ["a new tree", "mkdir -p srv/a/b; echo > srv/a/b/c", ["A /srv", "A /srv/a", "A /srv/a/b", "A /srv/a/b/c"]],
    ["a write", "echo x >> etc/passwd", ["C /etc", "C /etc/passwd"]],
    ["a write without a trace in the directory", "echo x >> var/log/old", ["C /var", "C /var/log", "C /var/log/old"]],
    ["only a mode", "chmod 600 etc/group", ["C /etc", "C /etc/group"]],
    ["only an owner", "chown 5 etc/group", ["C /etc", "C /etc/group"]],
    ["only a directory's mode", "chmod 700 var/log", ["C /var", "C /var/log"]],
    ["opened for writing, not written", "exec 3>>etc/passwd", []],
    ["a deletion", "rm etc/passwd", ["C /etc", "D /etc/passwd"]],
    ["a deleted tree", "rm -r var", ["D /var"]],
    ["made and deleted again", "touch etc/t; rm etc/t; touch -d @2000 etc", []],
    ["a symlink to elsewhere", "ln -snf dash bin/bash", ["C /bin", "C /bin/bash"]],
    ["a file where a directory was", "rm -r var; echo > var", ["C /var"]],
    ["a directory where a file was", "rm bin/sh; mkdir bin/sh; touch bin/sh/x", ["C /bin", "C /bin/sh", "A /bin/sh/x"]],
    [
      "a directory deleted and made again",
      "rm -r var; mkdir -p var/lib var/log; touch var/log/new",
      ["C /var", "A /var/lib", "C /var/log", "A /var/log/new", "D /var/log/old"],
    ],
    ["the same, empty", "rm -r etc; mkdir etc", ["C /etc", "D /etc/group", "D /etc/passwd"]],
    ["over a lower whiteout", "mkdir etc/conf.d; touch etc/conf.d/n", ["C /etc", "A /etc/conf.d", "A /etc/conf.d/n"]],
    ["odd names", "touch 'opt/a b' \"opt/$(printf '\\303\\274')\"", ["C /opt", "A /opt/a b", "A /opt/ü"]],
    [
      "the same size and time, other content",
      "echo z > etc/passwd; touch -d @1000 etc/passwd",
      ["C /etc", "C /etc/passwd"],
    ],
  ])("%s", (_, script, wanted) => {
    inOverlay(script);
    expect(diff()).toEqual(wanted);
  });

  test("only an attribute", () => {
    inOverlay("exec 3>>etc/group");
    setXattr("upper/etc/group", "user.note", Buffer.from("x"));
    expect(diff()).toEqual(["C /etc", "C /etc/group"]);
  });

  test("without lower layers all is new", () => {
    expect(changes({ upper: at("lower2"), lowers: [] }).map(({ Path, Kind }) => `${Kind} ${Path}`)).toEqual([
      "1 /etc",
      "1 /etc/group",
      "1 /opt",
      "1 /opt/tool",
      "1 /opt/tool/x",
    ]);
  });
});

const CHANGE = `echo x >> etc/passwd; rm etc/group; rm -r var; mkdir -p var/new; ln etc/passwd hard; mkfifo fifo
  rm bin/bash; echo > bin/bash; mkdir etc/conf.d; echo three > etc/conf.d/three; chmod 4711 bin/sh; chown 1:2 opt/tool
  mknod dev c 1 3; find . -exec touch -h -d @3000.5 {} +`;
const LISTING = `find . -printf '%P %y %m %U %G %Ts %n %l %s\\n' | sort; find . -type f -exec sha256sum {} + | sort -k 2`;

describe.skipIf(!asRoot)("tar of trees (needs root: overlay mounts)", () => {
  beforeEach(() => {
    sh(LOWER1, "lower1");
    sh(LOWER2, "lower2");
  });
  const lowers = () => [at("lower2"), at("lower1")];
  // A directory's size and link count are its file system's affair, and the overlay's root is not in the archive.
  const plain = (listing: string) =>
    listing
      .split("\n")
      .filter((line) => !line.startsWith(" d "))
      .map((line) => line.replace(/^(\S* d \d+ \d+ \d+ \d+) .*/, "$1"));

  test("a layer made of the changes shows the same tree on the same lowers", async () => {
    const wanted = inOverlay(`${CHANGE}; ${LISTING}`);
    await unpack(layerTar({ upper: at("upper"), lowers: lowers() }), at("copy"), lowers());
    rmSync(at("work"), { recursive: true });
    for (const name of ["work", "upper2"]) mkdirSync(at(name));
    expect(plain(inOverlay(LISTING, "../copy:../lower2:../lower1", "../upper2"))).toEqual(plain(wanted));
  });

  test("the layer's entries: whiteouts first in each directory, times in whole seconds", async () => {
    inOverlay(CHANGE);
    const found = await entries(layerTar({ upper: at("upper"), lowers: lowers() }));
    const [whiteouts, others] = [
      found.filter(({ name }) => name.includes(".wh.")),
      found.filter(({ name }) => !name.includes(".wh.")),
    ];
    expect(found.map(({ name, type }) => `${name} ${type}`)).toEqual([
      "bin/ directory",
      "bin/bash file",
      "bin/sh file",
      "dev char",
      "etc/ directory",
      "etc/.wh.group file",
      "etc/conf.d/ directory",
      "etc/conf.d/three file",
      "etc/passwd file",
      "fifo fifo",
      "hard hardlink",
      "opt/ directory",
      "opt/tool/ directory",
      "opt/tool/x file",
      "var/ directory",
      "var/.wh.log file",
      "var/new/ directory",
    ]);
    expect(new Set(whiteouts.map(({ mtime }) => mtime))).toEqual(new Set([0n]));
    expect(new Set(others.map(({ mtime }) => mtime))).toEqual(new Set([3_000_000_000_000n]));
    const again = await entries(layerTar({ upper: at("upper"), lowers: lowers() }));
    expect(again).toEqual(found);
  });

  test("the whole tree", async () => {
    const wanted = inOverlay(`${CHANGE}; ${LISTING}`);
    await unpack(rootfsTar({ upper: at("upper"), lowers: lowers() }), at("copy"), []);
    expect(plain(sh(LISTING, "copy"))).toEqual(plain(wanted));
  });

  test("capabilities are kept, overlay's own attributes are not", async () => {
    sh("cp lower1/bin/sh upper/tool; mkdir upper/etc", ".");
    setXattr("upper/tool", "security.capability", Buffer.from("0100000200200000000000000000000000000000", "hex"));
    setXattr("upper/etc", "trusted.overlay.opaque", Buffer.from("y"));
    const found = await entries(layerTar({ upper: at("upper"), lowers: lowers() }));
    expect(found.map(({ name, xattrs }) => [name, ...xattrs.keys()])).toEqual([
      ["etc/"],
      ["etc/.wh.group"],
      ["etc/.wh.passwd"],
      ["tool", "security.capability"],
    ]);
  });

  test("a symlink put in the way is not followed", async () => {
    sh("ln -s / upper/etc; ln -s /etc/shadow upper/shadow", ".");
    const found = await entries(rootfsTar({ upper: at("upper"), lowers: lowers() }));
    expect(found.filter(({ name }) => /^(etc|shadow)/.test(name)).map(({ name, type }) => `${name} ${type}`)).toEqual([
      "etc symlink",
      "shadow symlink",
    ]);
  });

  test("large files come whole", async () => {
    sh("head -c 5000000 /dev/urandom > upper/big", ".");
    await unpack(layerTar({ upper: at("upper"), lowers: [] }), at("copy"), []);
    expect(sh("sha256sum < big", "copy")).toBe(sh("sha256sum < big", "upper"));
  });
});

describe.skipIf(!asRoot)("what the engine made (needs root)", () => {
  const shown = (made: { added?: string[]; deleted?: string[] }, ids?: { hostID: number; size: number }) =>
    changes({
      upper: at("upper"),
      lowers: [at("lower1")],
      ids,
      made: { added: made.added ?? [], deleted: made.deleted ?? [] },
    }).map(({ Path, Kind }) => `${"CAD"[Kind]} ${Path}`);

  test("is no change, nor a directory that is there or changed for it alone", () => {
    sh("mkdir -p etc var/data; echo x >etc/passwd", "lower1");
    sh("mkdir -p etc new/deep var; touch etc/hosts new/deep/place; mknod var/data c 0 0", "upper");
    const made = { added: ["/etc/hosts", "/new/deep/place"], deleted: ["/var/data"] };
    expect(shown({})).toEqual([
      "C /etc",
      "A /etc/hosts",
      "A /new",
      "A /new/deep",
      "A /new/deep/place",
      "C /var",
      "D /var/data",
    ]);
    expect(shown(made)).toEqual([]);
    sh("touch new/own etc/own", "upper");
    expect(shown(made)).toEqual(["C /etc", "A /etc/own", "A /new", "A /new/own"]);
    // A place in which the container has put something is its own.
    expect(shown({ added: ["/new"] })).toContain("A /new");
  });

  test("owners are compared as the user namespace sees them", () => {
    sh("mkdir etc; echo x >etc/passwd; echo y >etc/group; touch -d @1000 etc/* etc", "lower1");
    sh("cp -a ../lower1/etc .; chown -R 100000:100000 etc; chown 100044 etc/group", "upper");
    expect(shown({}, { hostID: 100_000, size: 65_536 })).toEqual(["C /etc", "C /etc/group"]);
    expect(shown({})).toEqual(["C /etc", "C /etc/group", "C /etc/passwd"]);
  });

  test("a layer has the owners, capabilities and ACLs of the user namespace", async () => {
    sh("echo x >f; chown 100007:100008 f", "upper");
    const capability = Buffer.alloc(24);
    capability.writeUInt32LE(0x0300_0001, 0);
    capability.writeUInt32LE(1 << 10, 4);
    capability.writeUInt32LE(100_000, 20);
    setXattr("upper/f", "security.capability", capability);
    const [entry] = await entries(layerTar({ upper: at("upper"), lowers: [], ids: { hostID: 100_000, size: 65_536 } }));
    expect(entry).toMatchObject({ name: "f", uid: 7, gid: 8 });
    const plain = Buffer.alloc(20);
    plain.writeUInt32LE(0x0200_0001, 0);
    plain.writeUInt32LE(1 << 10, 4);
    expect(entry!.xattrs.get("security.capability")).toEqual(plain);
  });
});
