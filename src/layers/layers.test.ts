import { afterEach, beforeAll, beforeEach, describe, expect, test } from "bun:test";
import { spawn, spawnSync } from "node:child_process";
import { createHash } from "node:crypto";
import { once } from "node:events";
import {
  existsSync,
  mkdirSync,
  mkdtempSync,
  readdirSync,
  readFileSync,
  rmSync,
  statSync,
  writeFileSync,
} from "node:fs";
import { join } from "node:path";
import { gzipSync, zstdCompressSync } from "node:zlib";
import { chainId, sha256 } from "../base/digest.ts";
import { canMountIndexes } from "./erofs/mount.ts";
import { type LayerForm, Layers } from "./layers.ts";
import type { TarHeader } from "./tar-header.ts";
import { type TarMember, writeTar } from "./tar-write.ts";

const asRoot = process.getuid?.() === 0;
let dir: string;
let layers: Layers;
let form: LayerForm;
const store = () => join(dir, "layers");

beforeEach(() => {
  dir = mkdtempSync(join("/var/tmp", "inro-layers-"));
  layers = new Layers(store(), form);
});
afterEach(async () => {
  await layers.sync();
  rmSync(dir, { recursive: true });
});

async function tar(...lines: (Partial<TarHeader> & { name: string; body?: Buffer })[]): Promise<Buffer> {
  const members: TarMember[] = lines.map(({ body = Buffer.alloc(0), ...header }) => ({
    header: { type: "file", mode: 0o644, uid: 0, gid: 0, size: body.length, mtime: 0n, ...header },
    body: [body],
  }));
  const chunks: Uint8Array[] = [];
  for await (const chunk of writeTar(members)) chunks.push(chunk);
  return Buffer.concat(chunks);
}

let count = 0;
function blob(data: Uint8Array): { path: string } {
  const path = join(dir, `blob-${count++}`);
  writeFileSync(path, data);
  return { path };
}

/** A gzip layer that takes a while: the same file many times over. */
async function slowLayer(): Promise<{ path: string }> {
  const one = gzipSync((await tar({ name: "f", body: Buffer.alloc(32 * 1024 * 1024) })).subarray(0, -1024));
  return blob(Buffer.concat([...Array.from({ length: 100 }, () => one), gzipSync(Buffer.alloc(1024))]));
}

const forms: LayerForm[] = canMountIndexes("/var/tmp") ? ["directories", "erofs"] : ["directories"];

describe.skipIf(!asRoot).each(forms)("Layers as %s (needs root; erofs a kernel that mounts files)", (each) => {
  beforeAll(() => {
    form = each;
  });

  test.each([
    ["plain", (data: Buffer) => data],
    ["gzip", (data: Buffer) => gzipSync(data)],
    ["zstd", (data: Buffer) => zstdCompressSync(data)],
  ])("applies a %s layer", async (_, compress) => {
    const plain = await tar({ name: "d/f", body: Buffer.from("hello") });
    const source = blob(compress(plain));
    const progress: number[] = [];
    const applied = await layers.apply({ source, parents: [], onProgress: (bytes) => progress.push(bytes) });
    const diffId = sha256(plain);
    expect(applied).toEqual({ diffId, chainId: diffId, size: 5 });
    expect(progress).toEqual([statSync(source.path).size]);
    expect(layers.has(diffId)).toBe(true);
    expect(layers.size(diffId)).toBe(5);
    expect(layers.list()).toEqual([diffId]);
    const [lower, ...others] = layers.lowers([diffId]);
    expect(lower).toStartWith(form === "erofs" ? `/proc/${process.pid}/fd/` : join(store(), diffId.slice(7), "diff"));
    expect(others).toEqual([]);
    expect(readFileSync(join(layers.lowers([diffId])[0]!, "d/f"), "utf8")).toBe("hello");
    expect(statSync(store()).mode & 0o777).toBe(0o700);
    expect(new Layers(store()).has(diffId)).toBe(true);
    layers.delete(diffId);
    layers.delete(diffId);
    expect(layers.has(diffId)).toBe(false);
    await layers.sync();
    expect(readdirSync(store())).toEqual([]);
  });

  test("chains: the same layer on another parent is another", async () => {
    const base = await tar({ name: "d", type: "directory", mode: 0o750, uid: 9 });
    const above = await tar({ name: "d/f" });
    const { diffId: below } = await layers.apply({ source: blob(base), parents: [] });
    const { diffId, chainId: chain } = await layers.apply({
      source: blob(above),
      parents: [below],
      diffId: sha256(above),
    });
    await layers.apply({ source: blob(above), parents: [] });
    expect(chain).toBe(chainId([below, diffId]));
    expect(statSync(join(layers.lowers([below, diffId])[0]!, "d")).uid).toBe(9);
    expect(statSync(join(layers.lowers([diffId])[0]!, "d")).uid).toBe(0);
    expect(layers.list().sort()).toEqual([below, chain, diffId].sort());
  });

  test("what follows the archive's end counts for the digest", async () => {
    const padded = Buffer.concat([await tar({ name: "f" }), Buffer.alloc(8192)]);
    expect((await layers.apply({ source: blob(padded), parents: [] })).diffId).toBe(sha256(padded));
  });

  test("a layer that is here is not unpacked again, and at once is once", async () => {
    const plain = await tar({ name: "f", body: Buffer.alloc(1000) });
    const diffId = sha256(plain);
    const [one, two] = await Promise.all([
      layers.apply({ source: blob(plain), parents: [], diffId }),
      layers.apply({ source: { path: "/nonexistent" }, parents: [], diffId }),
    ]);
    expect(one).toEqual(two);
    expect(await layers.apply({ source: { path: "/nonexistent" }, parents: [], diffId })).toEqual(one);
    expect((await layers.apply({ source: blob(plain), parents: [] })).chainId).toBe(diffId);
    expect(readdirSync(store()).length).toBe(1);
  });

  test("errors keep their kind and leave nothing", async () => {
    const good = await tar({ name: "f", body: Buffer.from("data") });
    const escaping = await tar({ name: "ok" }, { name: "../f" });
    const wrong = sha256("something else");
    const cases: [Parameters<Layers["apply"]>[0], string, string][] = [
      [
        { source: blob(good), parents: [], diffId: wrong },
        "invalid",
        `its digest is ${sha256(good)}, the image says ${wrong}`,
      ],
      [{ source: blob(escaping), parents: [] }, "invalid", 'unpack entry "../f"'],
      [{ source: blob(good.subarray(0, 700)), parents: [] }, "invalid", "unexpected end of the archive"],
      [{ source: blob(gzipSync(good).subarray(0, -4)), parents: [] }, "invalid", "decompress gzip: unexpected end"],
      [{ source: blob(good), parents: [wrong] }, "notFound", `no such layer: ${wrong}`],
      [{ source: blob(good), parents: ["../../etc"] }, "invalid", "invalid digest"],
      [{ source: blob(good), parents: [], diffId: "sha256:x" }, "invalid", "invalid digest"],
      [{ source: { path: "/nonexistent" }, parents: [] }, "internal", "ENOENT"],
    ];
    for (const [options, kind, message] of cases) {
      const error = await layers.apply(options).then(
        () => undefined,
        (error) => error,
      );
      expect(error?.kind).toBe(kind);
      expect(error.message).toContain(message);
      expect(readdirSync(store())).toEqual([]);
    }
  });

  test("a cancelled unpacking ends its process and leaves nothing", async () => {
    const source = await slowLayer();
    const cancel = new AbortController();
    const applying = layers.apply({ source, parents: [], signal: cancel.signal, onProgress: () => cancel.abort() });
    await expect(applying).rejects.toThrow("aborted");
    expect(readdirSync(store())).toEqual([]);
    await expect(layers.apply({ source, parents: [], signal: cancel.signal })).rejects.toThrow("aborted");
  });

  test("who waits for another's unpacking may be cancelled alone, and goes on when the other is", async () => {
    const plain = await tar({ name: "f", body: Buffer.alloc(1000) });
    const diffId = sha256(plain);
    const cancel = new AbortController();
    const first = layers.apply({ source: blob(plain), parents: [], diffId, signal: cancel.signal });
    const second = layers.apply({ source: blob(plain), parents: [], diffId });
    const impatient = new AbortController();
    const third = layers.apply({ source: blob(plain), parents: [], diffId, signal: impatient.signal });
    impatient.abort();
    await expect(third).rejects.toThrow("aborted");
    cancel.abort();
    await expect(first).rejects.toThrow("aborted");
    expect((await second).chainId).toBe(diffId);
  });

  test("an engine that is killed takes its unpacking with it, and the next one cleans up", async () => {
    const source = await slowLayer();
    const script = join(dir, "engine.ts");
    writeFileSync(
      script,
      `import { Layers } from ${JSON.stringify(join(import.meta.dir, "layers.ts"))};
       const [store, path] = process.argv.slice(2) as [string, string];
       await new Layers(store).apply({ source: { path }, parents: [], onProgress: () => console.log("going") });`,
    );
    const engine = spawn(process.execPath, [script, store(), source.path], { stdio: ["ignore", "pipe", "inherit"] });
    await once(engine.stdout, "data");
    const children = readFileSync(`/proc/${engine.pid}/task/${engine.pid}/children`, "utf8")
      .trim()
      .split(" ")
      .map(Number);
    const [child] = children.filter((pid) => readFileSync(`/proc/${pid}/cmdline`, "utf8").includes("apply-process"));
    expect(child).toBeGreaterThan(0);
    expect(readdirSync(store()).length).toBe(1);
    engine.kill("SIGKILL");
    while (existsSync(`/proc/${child}/exe`)) await new Promise((resolve) => setImmediate(resolve));
    expect(readdirSync(store())[0]).toStartWith("tmp-");
    new Layers(store());
    expect(readdirSync(store())).toEqual([]);
  });

  test("a full disk is named, and nothing is left", async () => {
    const source = blob(await tar({ name: "big", body: Buffer.alloc(4 * 1024 * 1024) }));
    mkdirSync(join(dir, "small"));
    const script = join(dir, "small.ts");
    writeFileSync(
      script,
      `import { readdirSync } from "node:fs";
       import { Layers } from ${JSON.stringify(join(import.meta.dir, "layers.ts"))};
       const [store, path] = process.argv.slice(2) as [string, string];
       await new Layers(store).apply({ source: { path }, parents: [] }).catch((error) => console.log(error.kind, error.message));
       console.log(readdirSync(store));`,
    );
    // In a mount namespace of its own: the machine's mounts stay as they are.
    const run = 'mount -t tmpfs -o size=1m none "$0" && exec "$@"';
    const { stdout, stderr } = spawnSync("unshare", [
      ...["-m", "sh", "-c", run, join(dir, "small"), process.execPath, script, join(dir, "small"), source.path],
    ]);
    expect(stdout.toString() + stderr.toString()).toMatch(
      /^internal unpack entry "big": write fd \d+: ENOSPC \(the disk is full\)\n\[\]\n$/,
    );
  });

  test("a layer is synced in the background; sync waits for it", async () => {
    const record = (chain: string) => JSON.parse(readFileSync(join(store(), chain.slice(7), "layer.json"), "utf8"));
    const source = blob(await tar({ name: "f" }));
    const { diffId, size } = await layers.apply({ source, parents: [], covered: true });
    expect(record(diffId).boot).toBe(readFileSync("/proc/sys/kernel/random/boot_id", "utf8").trim());
    await layers.sync();
    expect(record(diffId)).toEqual({ diffId, size, ...(form === "erofs" && { form }) });
    await layers.sync();
  });

  test("a layer that a power cut caught is removed, one that only the engine's end caught is synced", async () => {
    const made = await Promise.all(
      ["one", "two", "three"].map(async (name) => layers.apply({ source: blob(await tar({ name })), parents: [] })),
    );
    await layers.sync();
    const [one, two, three] = made.map(({ diffId }) => diffId) as [string, string, string];
    writeFileSync(join(store(), three.slice(7), "layer.json"), "");
    const file = (chain: string) => join(store(), chain.slice(7), "layer.json");
    writeFileSync(file(one), JSON.stringify({ diffId: one, size: 0, boot: "another boot" }));
    writeFileSync(
      file(two),
      JSON.stringify({ diffId: two, size: 0, boot: readFileSync("/proc/sys/kernel/random/boot_id", "utf8").trim() }),
    );
    const next = new Layers(store());
    expect(next.list()).toEqual([two]);
    await next.sync();
    expect(JSON.parse(readFileSync(file(two), "utf8"))).toEqual({ diffId: two, size: 0 });
  });

  test("digests are right for a layer of many chunks", async () => {
    const body = Buffer.alloc(5_000_000);
    for (let i = 0; i < body.length; i += 4) body.writeUInt32LE((i * 2654435761) >>> 0, i);
    const { diffId } = await layers.apply({
      source: blob(gzipSync(await tar({ name: "f", body }))),
      parents: [],
    });
    const hash = createHash("sha256").update(readFileSync(join(layers.lowers([diffId])[0]!, "f")));
    expect(hash.digest("hex")).toBe(createHash("sha256").update(body).digest("hex"));
  });
});
