import { Database } from "bun:sqlite";
import { afterAll, beforeAll, describe, expect, test } from "bun:test";
import { mkdtempSync, readFileSync, rmSync, statSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { deflateSync, gzipSync } from "node:zlib";
import { sha256 } from "../../base/digest.ts";
import { type TarMember, writeTar } from "../../layers/tar-write.ts";
import { takeInventory } from "./inventory.ts";
import { purl } from "./package.ts";
import { cyclonedx, spdx } from "./sbom.ts";

let dir: string;
beforeAll(() => {
  dir = mkdtempSync(join(tmpdir(), "inro-sbom-"));
});
afterAll(() => rmSync(dir, { recursive: true }));

type Files = Record<string, string | Uint8Array>;

async function layersOf(...layers: Files[]) {
  return await Promise.all(
    layers.map(async (files, i) => {
      const members = Object.entries(files).map(([name, value]): TarMember => {
        const body = Buffer.from(value as string);
        const mode = name.startsWith("bin/") ? 0o755 : 0o644;
        const header = { name, type: "file" as const, mode, uid: 0, gid: 0, mtime: 0n, size: body.length };
        return { header, body: [body] };
      });
      const tar = Buffer.concat(await Array.fromAsync(writeTar(members)));
      const path = join(dir, `${i}-${sha256(tar).slice(7, 20)}`);
      writeFileSync(path, i % 2 ? tar : gzipSync(tar, { level: 1 }));
      return { diffId: sha256(tar), path };
    }),
  );
}

const inventory = async (...layers: Files[]) => await takeInventory(await layersOf(...layers));
const purls = async (...layers: Files[]) => {
  const { packages, distribution } = await inventory(...layers);
  return packages.map((one) => purl(one, distribution));
};

const DEBIAN = 'PRETTY_NAME="Debian GNU/Linux 12 (bookworm)"\nVERSION_ID="12"\nID=debian\n';
const dpkg = (name: string, version: string, status = "install ok installed") =>
  `Package: ${name}\nStatus: ${status}\nArchitecture: amd64\nVersion: ${version}\nDescription: x\n more: of it\n\n`;

describe("packages of", () => {
  test("dpkg, and a distroless image", async () => {
    const status =
      dpkg("libc6", "2.36-9+deb12u10") + dpkg("gone", "1", "deinstall ok config-files") + dpkg("apt", "1:2.6");
    expect(
      await purls({
        "etc/os-release": DEBIAN,
        "var/lib/dpkg/status": status,
        "var/lib/dpkg/status.d/base": "Package: base-files\nVersion: 12.4\n",
        "var/lib/dpkg/status.d/base.md5sums": "Package: no\nVersion: 1\n",
      }),
    ).toEqual([
      "pkg:deb/debian/apt@1:2.6?arch=amd64&distro=debian-12",
      "pkg:deb/debian/base-files@12.4?distro=debian-12",
      "pkg:deb/debian/libc6@2.36-9%2Bdeb12u10?arch=amd64&distro=debian-12",
    ]);
  });

  test.skipIf(!statSync("/var/lib/dpkg/status", { throwIfNoEntry: false }))("this machine's dpkg", async () => {
    const status = readFileSync("/var/lib/dpkg/status");
    const { packages } = await inventory({ "var/lib/dpkg/status": status });
    const told = Bun.spawnSync([
      "dpkg-query",
      "-W",
      "-f",
      "${db:Status-Status} ${Package} ${Version}\n",
    ]).stdout.toString();
    const wanted = told.split("\n").filter((line) => line.startsWith("installed "));
    expect(new Set(packages.map(({ name, version }) => `installed ${name} ${version}`))).toEqual(new Set(wanted));
  });

  test("apk", async () => {
    const text =
      "C:Q1x=\nP:musl\nV:1.2.5-r0\nA:x86_64\nL:MIT\nF:lib\nR:ld-musl-x86_64.so.1\n\nP:zlib\nV:1.3.1-r1\nA:x86_64\n";
    expect(await purls({ "etc/os-release": "ID=alpine\nVERSION_ID=3.20.1\n", "lib/apk/db/installed": text })).toEqual([
      "pkg:apk/alpine/musl@1.2.5-r0?arch=x86_64&distro=alpine-3.20.1",
      "pkg:apk/alpine/zlib@1.3.1-r1?arch=x86_64&distro=alpine-3.20.1",
    ]);
  });

  test("rpm's SQLite, in WAL mode too; its other forms are named", async () => {
    for (const mode of ["DELETE", "WAL"]) {
      const file = join(dir, `rpm-${mode}.sqlite`);
      const db = new Database(file);
      db.run(`PRAGMA journal_mode = ${mode}`);
      db.run("CREATE TABLE Packages (hnum INTEGER PRIMARY KEY, blob BLOB NOT NULL)");
      for (const header of [
        rpmHeader({ 1000: "bash", 1001: "5.2.26", 1002: "3.fc40", 1003: 2, 1014: "GPLv3+", 1022: "x86_64" }),
        rpmHeader({ 1000: "gpg-pubkey", 1001: "1", 1002: "1" }),
        Buffer.from("garbage"),
      ]) {
        db.query("INSERT INTO Packages (blob) VALUES (?)").run(header);
      }
      db.run("PRAGMA wal_checkpoint(TRUNCATE)");
      db.close();
      const files = {
        "usr/lib/os-release": "ID=fedora\nVERSION_ID=40\n",
        "usr/lib/sysimage/rpm/rpmdb.sqlite": readFileSync(file),
        "var/lib/rpm/Packages": "bdb",
      };
      expect(await purls(files)).toEqual(["pkg:rpm/fedora/bash@5.2.26-3.fc40?arch=x86_64&distro=fedora-40&epoch=2"]);
      expect((await inventory(files)).unread).toEqual([
        { path: "/var/lib/rpm/Packages", why: "rpm's Berkeley DB form is not read" },
      ]);
    }
  });

  test("npm: what is installed, and locks", async () => {
    const lock = {
      lockfileVersion: 3,
      packages: {
        "": {},
        "node_modules/a": { version: "1.0.0" },
        "node_modules/x/node_modules/@s/b": { version: "2.0.0" },
      },
    };
    const old = {
      lockfileVersion: 1,
      dependencies: { c: { version: "3.0.0", dependencies: { d: { version: "4.0.0" } } } },
    };
    expect(
      await purls({
        "app/node_modules/@babel/core/package.json": '{"name":"@babel/core","version":"7.1.0","license":"MIT"}',
        "app/node_modules/left-pad/package.json": '{"name":"left-pad","version":"1.3.0"}',
        "app/node_modules/broken/package.json": "{",
        "app/node_modules/x/test/package.json": '{"name":"fixture","version":"1.0.0"}',
        "app/package-lock.json": JSON.stringify(lock),
        "old/package-lock.json": JSON.stringify(old),
      }),
    ).toEqual([
      "pkg:npm/%40babel/core@7.1.0",
      "pkg:npm/%40s/b@2.0.0",
      "pkg:npm/a@1.0.0",
      "pkg:npm/c@3.0.0",
      "pkg:npm/d@4.0.0",
      "pkg:npm/left-pad@1.3.0",
    ]);
  });

  test("pip", async () => {
    expect(
      await purls({
        "usr/lib/python3/dist-packages/Foo_Bar-1.2.dist-info/METADATA":
          "Metadata-Version: 2.1\nName: Foo_Bar\nVersion: 1.2\n\nText\nName: no\n",
        "usr/lib/python3/dist-packages/old-3.egg-info/PKG-INFO": "Name: old\nVersion: 3\n",
      }),
    ).toEqual(["pkg:pypi/foo-bar@1.2", "pkg:pypi/old@3"]);
  });

  test("Cargo: its lock, and audited executables", async () => {
    const lock =
      'version = 3\n\n[[package]]\nname = "serde"\nversion = "1.0.1"\nsource = "registry"\n\n[[package]]\nname = "app"\nversion = "0.1.0"\n';
    const audit = {
      packages: [
        { name: "rand", version: "0.8.5" },
        { name: "cc", version: "1.0.0", kind: "build" },
      ],
    };
    expect(
      await purls({ "app/Cargo.lock": lock, "bin/app": elfWith(".dep-v0", deflateSync(JSON.stringify(audit))) }),
    ).toEqual(["pkg:cargo/app@0.1.0", "pkg:cargo/rand@0.8.5", "pkg:cargo/serde@1.0.1"]);
  });

  // The type checker of this repository is one.
  const go = join(import.meta.dir, `../../../node_modules/@typescript/typescript-linux-${process.arch}/lib/tsc`);
  test("Go executables", async () => {
    const found = await purls({ "bin/go": readFileSync(go) });
    expect(found.some((one) => /^pkg:golang\/stdlib@1\.\d+/.test(one))).toBe(true);
    expect(found.some((one) => /^pkg:golang\/golang\.org\/x\/sys@v0\./.test(one))).toBe(true);
    expect(found.length).toBeGreaterThan(5);
  });
});

describe("layers", () => {
  test("count as the image shows them", async () => {
    const found = await purls(
      { "var/lib/dpkg/status": dpkg("old", "1"), "a/node_modules/x/package.json": '{"name":"x","version":"1.0.0"}' },
      { "var/lib/dpkg/status": dpkg("new", "2"), "b/node_modules/y/package.json": '{"name":"y","version":"1.0.0"}' },
      { ".wh.a": "", "b/.wh..wh..opq": "", "b/node_modules/z/package.json": '{"name":"z","version":"1.0.0"}' },
    );
    expect(found).toEqual(["pkg:deb/debian/new@2?arch=amd64", "pkg:npm/z@1.0.0"]);
  });

  test("hostile metadata gives nothing, and no error", async () => {
    const deep = `${'{"a":'.repeat(100_000)}1${"}".repeat(100_000)}`;
    const elf = Buffer.concat([Buffer.from("\x7fELF\x02\x01", "latin1"), Buffer.alloc(60, 0xff), Buffer.alloc(8192)]);
    const goBroken = Buffer.concat([
      elf.subarray(0, 64),
      Buffer.from("\xff Go buildinf:\x08\x02", "latin1"),
      Buffer.alloc(16),
      Buffer.alloc(9000, 0xff),
    ]);
    const bomb = elfWith(".dep-v0", deflateSync(Buffer.alloc(64 * 1024 * 1024)));
    expect(
      await inventory({
        "app/package-lock.json": deep,
        "app/node_modules/x/package.json": '{"name":{"a":1},"version":["1"]}',
        "app/node_modules/y/package.json": JSON.stringify({ name: "y".repeat(10_000), version: "1" }),
        "var/lib/dpkg/status": "\0".repeat(10_000),
        "var/lib/rpm/rpmdb.sqlite": "SQLite format 3\0 and no more",
        "app/Cargo.lock": '[[package]]\nname = "x',
        "bin/elf": elf,
        "bin/go": goBroken,
        "bin/bomb": bomb,
        "etc/os-release": "ID=\u0007\n",
      }),
    ).toEqual({ packages: [], unread: [] });
  });
});

describe("documents", () => {
  const subject = { name: "app:1", digest: sha256("image"), created: "2024-05-06T07:08:09.123Z" };
  const files = { "etc/os-release": DEBIAN, "var/lib/dpkg/status": dpkg("a", "1") + dpkg("b", "2") };

  test("SPDX: all that is required, ids resolve, equal images have equal documents", async () => {
    const document = spdx(await inventory(files), subject) as any;
    expect(document).toMatchObject({ spdxVersion: "SPDX-2.3", dataLicense: "CC0-1.0", SPDXID: "SPDXRef-DOCUMENT" });
    expect(document.creationInfo).toEqual({ created: "2024-05-06T07:08:09Z", creators: ["Tool: inro-0.1.0"] });
    const ids = new Set(["SPDXRef-DOCUMENT", ...document.packages.map((one: any) => one.SPDXID)]);
    expect(ids.size).toBe(4);
    for (const id of ids) expect(id).toMatch(/^SPDXRef-[A-Za-z0-9.-]+$/);
    expect(document.relationships).toHaveLength(3);
    for (const one of document.relationships) {
      expect(ids.has(one.spdxElementId) && ids.has(one.relatedSpdxElement)).toBe(true);
    }
    expect(spdx(await inventory(files), subject)).toEqual(document);
    expect((spdx(await inventory({}), subject) as any).documentNamespace).not.toBe(document.documentNamespace);
  });

  test("CycloneDX", async () => {
    const document = cyclonedx(await inventory(files), subject) as any;
    expect(document).toMatchObject({ bomFormat: "CycloneDX", specVersion: "1.6", version: 1 });
    expect(document.serialNumber).toMatch(
      /^urn:uuid:[0-9a-f]{8}-[0-9a-f]{4}-8[0-9a-f]{3}-[89ab][0-9a-f]{3}-[0-9a-f]{12}$/,
    );
    expect(document.components.map(({ type, name }: any) => `${type} ${name}`)).toEqual([
      "operating-system debian",
      "library a",
      "library b",
    ]);
    const refs = document.components.map((one: any) => one["bom-ref"]);
    expect(new Set(refs).size).toBe(refs.length);
  });
});

/** As rpm writes it: counts, index, data; a number is an INT32. */
function rpmHeader(tags: Record<number, string | number>): Buffer {
  const index: Buffer[] = [];
  const data: Buffer[] = [];
  let offset = 0;
  for (const [tag, value] of Object.entries(tags)) {
    const bytes = typeof value === "string" ? Buffer.from(`${value}\0`) : Buffer.from([0, 0, 0, value]);
    const entry = Buffer.alloc(16);
    entry.writeUInt32BE(Number(tag), 0);
    entry.writeUInt32BE(typeof value === "string" ? 6 : 4, 4);
    entry.writeUInt32BE(offset, 8);
    entry.writeUInt32BE(1, 12);
    index.push(entry);
    data.push(bytes);
    offset += bytes.length;
  }
  const head = Buffer.alloc(8);
  head.writeUInt32BE(index.length, 0);
  head.writeUInt32BE(offset, 4);
  return Buffer.concat([head, ...index, ...data]);
}

/** An ELF file of two sections: this one, and the names. */
function elfWith(name: string, content: Uint8Array): Buffer {
  const names = Buffer.from(`\0${name}\0`);
  const [at, namesAt] = [4096, 4096 + content.length];
  const table = namesAt + names.length;
  const header = Buffer.alloc(4096);
  header.write("\x7fELF\x02\x01\x01", 0, "latin1");
  header.writeBigUInt64LE(BigInt(table), 0x28);
  header.writeUInt16LE(64, 0x3a);
  header.writeUInt16LE(2, 0x3c);
  header.writeUInt16LE(1, 0x3e);
  const section = (nameOffset: number, offset: number, size: number) => {
    const one = Buffer.alloc(64);
    one.writeUInt32LE(nameOffset, 0);
    one.writeBigUInt64LE(BigInt(offset), 0x18);
    one.writeBigUInt64LE(BigInt(size), 0x20);
    return one;
  };
  return Buffer.concat([header, content, names, section(1, at, content.length), section(0, namesAt, names.length)]);
}
