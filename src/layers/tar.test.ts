import { describe, expect, test } from "bun:test";
import { spawnSync } from "node:child_process";
import { mkdtempSync, readFileSync, rmSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import fc from "fast-check";
import { formatPax, formatPaxTime, parsePax, parsePaxTime } from "./pax.ts";
import { checksum, type TarHeader } from "./tar-header.ts";
import { MAX_LONG_NAME, MAX_PAX_HEADER, readTar, type TarEntry } from "./tar-read.ts";
import { encodeTarHeader, type TarMember, writeTar } from "./tar-write.ts";

async function collect(source: AsyncIterable<Uint8Array>): Promise<Buffer> {
  const chunks: Uint8Array[] = [];
  for await (const chunk of source) chunks.push(chunk);
  return Buffer.concat(chunks);
}

async function readAll(chunks: Iterable<Uint8Array>): Promise<{ entry: TarEntry; body: Buffer }[]> {
  const found: { entry: TarEntry; body: Buffer }[] = [];
  for await (const entry of readTar(chunks)) found.push({ entry, body: await collect(entry.body) });
  return found;
}

function pieces(data: Buffer, sizes: readonly number[]): Buffer[] {
  const out: Buffer[] = [];
  for (let at = 0, i = 0; at < data.length; i++) {
    const size = sizes[i % sizes.length]!;
    out.push(data.subarray(at, at + size));
    at += size;
  }
  return out;
}

const FILE: TarHeader = { name: "f", type: "file", mode: 0o644, uid: 0, gid: 0, size: 0, mtime: 0n };
const END = Buffer.alloc(1024);

/** A header block with fields overwritten by hand; its checksum is made right again. */
function forged(header: Partial<TarHeader>, ...patches: [number, string | Uint8Array][]): Buffer {
  const block = encodeTarHeader({ ...FILE, ...header });
  for (const [at, data] of patches) Buffer.from(data as Uint8Array).copy(block, at);
  block.write(`${checksum(block).toString(8).padStart(6, "0")}\0 `, 148, "latin1");
  return block;
}

function pax(records: Record<string, string>, flag = "x"): Buffer {
  const body = formatPax(Object.entries(records));
  const padded = Buffer.alloc(Math.ceil(body.length / 512) * 512);
  body.copy(padded);
  return Buffer.concat([forged({ size: body.length }, [156, flag]), padded]);
}

const read = (...blocks: Buffer[]) => readAll([Buffer.concat(blocks)]);
const names = async (...blocks: Buffer[]) => (await read(...blocks)).map(({ entry }) => entry.name);

describe("round trip", () => {
  const component = fc.oneof(
    fc.string({ minLength: 1, maxLength: 60, unit: "grapheme" }).filter((s) => !/[/\0]/.test(s)),
    fc.stringMatching(/^[a-z]{1,120}$/),
  );
  const path = fc.array(component, { minLength: 1, maxLength: 6 }).map((parts) => parts.join("/"));
  const member = fc.record({
    name: path,
    type: fc.constantFrom("file", "symlink", "hardlink", "char", "block", "fifo", "directory" as const),
    mode: fc.integer({ min: 0, max: 0o7777 }),
    uid: fc.integer({ min: 0, max: 0xffff_fffe }),
    gid: fc.integer({ min: 0, max: 0xffff_fffe }),
    mtime: fc.bigInt({ min: -(10n ** 18n), max: 10n ** 19n }),
    linkname: path,
    dev: fc.tuple(fc.integer({ min: 0, max: 4095 }), fc.integer({ min: 0, max: 0xfffff })),
    xattrs: fc.dictionary(fc.stringMatching(/^user\.[a-z]{1,9}$/), fc.uint8Array({ minLength: 1, maxLength: 300 }), {
      noNullPrototype: true,
    }),
    body: fc.uint8Array({ maxLength: 2000 }),
  });
  const sizes = fc.array(fc.integer({ min: 1, max: 1500 }), { minLength: 1, maxLength: 5 });

  test("what is written is read again, however it is cut", async () => {
    await fc.assert(
      fc.asyncProperty(fc.array(member, { maxLength: 5 }), sizes, async (members, cuts) => {
        const written: TarMember[] = members.map((m) => {
          const device = m.type === "char" || m.type === "block";
          const link = m.type === "symlink" || m.type === "hardlink";
          return {
            header: {
              name: m.type === "directory" ? `${m.name}/` : m.name,
              type: m.type as TarHeader["type"],
              mode: m.mode,
              uid: m.uid,
              gid: m.gid,
              mtime: m.mtime,
              size: m.type === "file" ? m.body.length : 0,
              ...(link && { linkname: m.linkname }),
              ...(device && { devMajor: m.dev[0], devMinor: m.dev[1] }),
              xattrs: new Map(Object.entries(m.xattrs)),
            },
            body: [m.body],
          };
        });
        const archive = await collect(writeTar(written));
        const found = await readAll(pieces(archive, cuts));
        expect(found.length).toBe(written.length);
        for (const [i, { header }] of written.entries()) {
          const { entry, body } = found[i]!;
          expect({ ...entry, body: undefined }).toMatchObject({
            name: header.name as string,
            type: header.type,
            mode: header.mode,
            uid: header.uid,
            gid: header.gid,
            mtime: header.mtime,
            size: header.size,
            linkname: (header.linkname ?? "") as string,
            devMajor: header.devMajor ?? 0,
            devMinor: header.devMinor ?? 0,
          });
          const attributes = (map: ReadonlyMap<string, Uint8Array>) =>
            [...map].map(([key, value]) => [key, Buffer.from(value).toString("hex")]).sort();
          expect(attributes(entry.xattrs)).toEqual(attributes(header.xattrs!));
          expect(body).toEqual(Buffer.from(header.size > 0 ? members[i]!.body : []));
        }
      }),
      { numRuns: 150 },
    );
  });

  test("one byte at a time gives the same as all at once", async () => {
    const members: TarMember[] = [
      { header: { ...FILE, name: `${"a/".repeat(90)}long`, size: 700 }, body: [Buffer.alloc(700, 7)] },
      { header: { ...FILE, name: "ümlaut", mtime: 1_500_000_000_123_456_789n } },
      { header: { ...FILE, name: "x", size: 512 }, body: [Buffer.alloc(512, 1)] },
    ];
    const archive = await collect(writeTar(members));
    expect(await readAll(pieces(archive, [1]))).toEqual(await readAll([archive]));
  });

  test("names that are not UTF-8 keep their bytes", async () => {
    const name = Buffer.from([0x66, 0xff, 0xfe]);
    const [found] = await readAll([await collect(writeTar([{ header: { ...FILE, name } }]))]);
    expect(found!.entry.nameBytes).toEqual(name);
  });

  test("a body of another length than its header says is an error", async () => {
    const write = (body: string) => collect(writeTar([{ header: { ...FILE, size: 3 }, body: [Buffer.from(body)] }]));
    await expect(write("ab")).rejects.toThrow('entry "f": its body has 1 bytes fewer than its header says');
    await expect(write("abcd")).rejects.toThrow("more bytes than its header says");
  });

  test("pax times", () => {
    fc.assert(
      fc.property(fc.bigInt({ min: -(10n ** 26n), max: 10n ** 26n }), (time) => {
        expect(parsePaxTime(formatPaxTime(time))).toBe(time);
      }),
    );
    expect(parsePaxTime("1.5")).toBe(1_500_000_000n);
    expect(parsePaxTime("1.")).toBe(1_000_000_000n);
    expect(parsePaxTime("1.0000000019")).toBe(1_000_000_001n);
    for (const bad of ["", "-", ".5", "1e3", "1.2.3", "0x1", "9".repeat(19)]) expect(parsePaxTime(bad)).toBeUndefined();
  });

  test("pax records around a change of digits", () => {
    for (let length = 0; length < 1100; length++) {
      const data = formatPax([["key", "v".repeat(length)]]);
      expect(parsePax(data).get("key")!.length).toBe(length);
    }
  });
});

describe("headers", () => {
  test("no archive, an empty one, one without its end", async () => {
    expect(await names()).toEqual([]);
    expect(await names(END)).toEqual([]);
    expect(await names(forged({}))).toEqual(["f"]);
    expect(await names(forged({}), Buffer.alloc(512))).toEqual(["f"]);
  });

  test("what follows the end is skipped", async () => {
    expect(await names(forged({}), END, Buffer.from("anything"))).toEqual(["f"]);
  });

  test("global headers are ignored", async () => {
    const [found] = await read(pax({ path: "other", uid: "7" }, "g"), forged({}), END);
    expect([found!.entry.name, found!.entry.uid]).toEqual(["f", 0]);
  });

  test("pax beats GNU beats ustar", async () => {
    const gnu = (name: string, flag: string) => {
      const body = Buffer.alloc(512);
      body.write(name);
      return Buffer.concat([forged({ size: name.length + 1 }, [156, flag]), body]);
    };
    expect(await names(gnu("gnu", "L"), forged({}), END)).toEqual(["gnu"]);
    expect(await names(gnu("gnu", "L"), pax({ path: "pax" }), forged({}), forged({}), END)).toEqual(["pax", "f"]);
    const [link] = await read(gnu("there", "K"), forged({ type: "symlink", linkname: "here" }), END);
    expect(link!.entry.linkname).toBe("there");
  });

  test("base-256 and negative numbers", async () => {
    const big = Buffer.alloc(8);
    big.writeBigUInt64BE(4_000_000_000n);
    big[0]! |= 0x80;
    const past = Buffer.alloc(12, 0xff);
    const [found] = await read(forged({}, [108, big], [136, past]), END);
    expect([found!.entry.uid, found!.entry.mtime]).toEqual([4_000_000_000, -1_000_000_000n]);
  });

  test("numbers with spaces, and none", async () => {
    const [found] = await read(forged({}, [100, "  644 \0\0"], [108, "        "], [116, "\0\0\0\0\0\0\0\0"]), END);
    expect([found!.entry.mode, found!.entry.uid, found!.entry.gid]).toEqual([0o644, 0, 0]);
  });

  test("a name with a slash at its end is a directory", async () => {
    expect((await read(forged({ name: "d/" }), END))[0]!.entry.type).toBe("directory");
  });

  test("only files have a body", async () => {
    const blocks = [forged({ type: "hardlink", linkname: "g", size: 512 }), forged({ name: "h" }), END];
    expect(await names(...blocks)).toEqual(["f", "h"]);
  });

  const gnuLong = (size: number) => forged({ size }, [156, "L"]);
  test.each<[string, Buffer[], string]>([
    ["garbage", [Buffer.alloc(512, 0x41)], "at its start, offset 0"],
    ["a corrupt header", [forged({}), Buffer.alloc(512, 0x41)], 'after entry "f", offset 512'],
    ["a wrong checksum", [Buffer.from(forged({})).fill("x", 0, 1)], "wrong header checksum"],
    ["a lone zero block", [Buffer.alloc(512), forged({})], "a single zero block"],
    ["no name", [forged({ name: "" }), END], "no name"],
    ["GNU sparse", [forged({}, [156, "S"]), END], 'entry "f", offset 0: sparse files are not supported'],
    ["pax sparse", [pax({ "GNU.sparse.major": "1" }), forged({}), END], "sparse files are not supported"],
    ["an unknown type", [forged({}, [156, "Z"]), END], 'unknown entry type "Z"'],
    ["a multi-volume archive", [forged({}, [156, "M"]), END], 'unknown entry type "M"'],
    ["a huge pax header", [forged({ size: MAX_PAX_HEADER + 1 }, [156, "x"])], "more than the 1048576 allowed"],
    ["a huge global header", [forged({ size: 2 ** 33 - 1 }, [156, "g"])], "more than the 1048576 allowed"],
    ["a huge long name", [gnuLong(MAX_LONG_NAME + 1)], "more than the 65536 allowed"],
    ["pax without an entry", [pax({ path: "x" }), END], "an extended header without its entry"],
    ["a NUL in a pax path", [pax({ path: "a\0b" }), forged({}), END], "a NUL in its name"],
    ["a NUL in a pax link", [pax({ linkpath: "a\0b" }), forged({ type: "symlink" }), END], "a NUL in its name"],
    ["a bad pax size", [pax({ size: "-1" }), forged({}), END], 'invalid pax size "-1"'],
    ["a bad pax uid", [pax({ uid: "4294967295" }), forged({}), END], 'invalid pax uid "4294967295"'],
    ["a bad pax time", [pax({ mtime: "now" }), forged({}), END], 'invalid pax mtime "now"'],
    ["letters in a number", [forged({}, [108, "zzzzzzz\0"]), END], 'invalid uid "zzzzzzz"'],
    ["a negative size", [forged({}, [124, Buffer.alloc(12, 0xff)]), END], "size -1 is out of range"],
    [
      "a size over 2^53",
      [forged({}, [124, Buffer.from([0x80, 0, 0, 0, 0, 0x40, 0, 0, 0, 0, 0, 0])]), END],
      "out of range",
    ],
  ])("refuses %s", async (_, blocks, message) => {
    await expect(read(...blocks)).rejects.toThrow(message);
    const all = Buffer.concat(blocks);
    await expect(readAll(pieces(all.subarray(0, 8192), [1]))).rejects.toThrow(message);
  });

  test.each(["5 path=x\n", "0 path=x\n", "x path=x\n", "99 path=x\n", "10 path=xx", "7 =abc\n", "99999999999 a=b\n"])(
    "refuses the pax record %j",
    async (record) => {
      const body = Buffer.alloc(512);
      body.write(record);
      await expect(read(forged({ size: record.length }, [156, "x"]), body, forged({}), END)).rejects.toThrow(
        "pax record",
      );
    },
  );

  test("truncated anywhere: an error, or the entries that are whole", async () => {
    const archive = await collect(
      writeTar([
        { header: { ...FILE, name: "one", size: 600 }, body: [Buffer.alloc(600, 1)] },
        { header: { ...FILE, name: "ü", size: 1 }, body: [Buffer.alloc(1)] },
      ]),
    );
    // Members begin at 0 and 1536; the end of the archive is 1024 bytes at 3584 (pax header, its body, header, body).
    expect(archive.length).toBe(1536 + 2048 + 1024);
    for (let length = 0; length < archive.length; length += 128) {
      const reading = readAll([archive.subarray(0, length)]);
      if (length === 0 || length === 1536 || (length >= 3584 && length % 512 === 0)) {
        expect((await reading).length).toBe(length === 0 ? 0 : length === 1536 ? 1 : 2);
      } else {
        await expect(reading).rejects.toThrow("unexpected end of the archive");
      }
    }
  });
});

describe("readTar", () => {
  test("a body that is not read is skipped", async () => {
    const archive = await collect(
      writeTar([
        { header: { ...FILE, name: "one", size: 5000 }, body: [Buffer.alloc(5000, 1)] },
        { header: { ...FILE, name: "two", size: 3 }, body: [Buffer.from("abc")] },
      ]),
    );
    const found: string[] = [];
    for await (const entry of readTar(pieces(archive, [100]))) {
      if (entry.name === "one")
        for await (const chunk of entry.body) {
          found.push(String(chunk.length));
          break;
        }
      else found.push((await collect(entry.body)).toString());
    }
    expect(found).toEqual(["88", "abc"]);
  });

  test("leaving the loop closes the source", async () => {
    let closed = false;
    async function* source() {
      try {
        for (;;) yield forged({});
      } finally {
        closed = true;
      }
    }
    for await (const _ of readTar(source())) break;
    expect(closed).toBe(true);
  });
});

describe("GNU tar", () => {
  test.each(["ustar", "pax", "gnu", "v7", "oldgnu"])("its %s format is read", async (format) => {
    const dir = mkdtempSync(join(tmpdir(), "inro-tar-"));
    try {
      const deep = `${"d".repeat(50)}/${"e".repeat(40)}`;
      const make = `mkdir -p "${deep}" && echo hello > "${deep}/file" && ln -s file "${deep}/link" && ln "${deep}/file" hard
        ${format === "pax" || format === "gnu" ? `mkdir -p "${deep}/${deep}/${deep}" && echo long > "${deep}/${deep}/${deep}/ü"` : ":"}
        tar --format=${format} --sort=name -cf ../archive.tar .`;
      rmSync(join(dir, "tree"), { recursive: true, force: true });
      const made = spawnSync("sh", ["-ec", `mkdir tree; cd tree; ${make}`], { cwd: dir });
      expect(made.stderr.toString()).toBe("");
      const archive = readFileSync(join(dir, "archive.tar"));
      const listed = spawnSync("tar", ["--quoting-style=literal", "-tf", "archive.tar"], { cwd: dir });
      const found = await readAll([archive]);
      expect(found.map(({ entry }) => entry.name)).toEqual(listed.stdout.toString().trimEnd().split("\n"));
      expect(found.find(({ entry }) => entry.name.endsWith("/file"))!.body.toString()).toBe("hello\n");
      expect(found.filter(({ entry }) => entry.type === "hardlink").length).toBe(1);
      expect(found.find(({ entry }) => entry.type === "symlink")!.entry.linkname).toBe("file");
    } finally {
      rmSync(dir, { recursive: true });
    }
  });

  test("it reads what is written", async () => {
    const long = "n".repeat(140);
    const archive = await collect(
      writeTar([
        { header: { ...FILE, name: `${"p".repeat(120)}/${"n".repeat(90)}`, size: 2 }, body: [Buffer.from("ab")] },
        { header: { ...FILE, name: long, uid: 3_000_000, mtime: 1_600_000_000_500_000_000n } },
        { header: { ...FILE, name: "link", type: "symlink", linkname: long } },
      ]),
    );
    const { stdout, stderr, status } = spawnSync("tar", ["--numeric-owner", "--full-time", "-tvf", "-"], {
      input: archive,
      env: { TZ: "UTC", PATH: process.env.PATH! },
    });
    expect([stderr.toString(), status]).toEqual(["", 0]);
    expect(
      stdout
        .toString()
        .split("\n")
        .map((line) => line.replace(/ +/g, " ")),
    ).toEqual([
      `-rw-r--r-- 0/0 2 1970-01-01 00:00:00 ${"p".repeat(120)}/${"n".repeat(90)}`,
      `-rw-r--r-- 3000000/0 0 2020-09-13 12:26:40.5 ${long}`,
      `lrw-r--r-- 0/0 0 1970-01-01 00:00:00 link -> ${long}`,
      "",
    ]);
  });
});
