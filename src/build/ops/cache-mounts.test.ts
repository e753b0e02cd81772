import { afterEach, beforeEach, describe, expect, test } from "bun:test";
import { existsSync, mkdirSync, mkdtempSync, readdirSync, readFileSync, rmSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { CacheMounts } from "./cache-mounts.ts";

const isRoot = process.getuid?.() === 0;

describe("cache mounts", () => {
  let dir: string;
  const open = () => new CacheMounts(dir, (path) => rmSync(path, { recursive: true, force: true }));
  const never = new AbortController().signal;
  beforeEach(() => {
    dir = mkdtempSync(join(tmpdir(), "inro-cache-mounts-"));
  });
  afterEach(() => rmSync(dir, { recursive: true, force: true }));

  test("a directory stays for the next engine, by its id alone", async () => {
    const id = "../../etc/passwd";
    const first = await open().lease(id, "shared", undefined, never);
    writeFileSync(join(first.path, "f"), "kept");
    first.release();
    expect(first.path.startsWith(`${dir}/`)).toBe(true);
    const again = await open().lease(id, "locked", async () => Promise.reject(new Error("it is there")), never);
    expect(readFileSync(join(again.path, "f"), "utf8")).toBe("kept");
    expect((await open().lease("other", "shared", undefined, never)).path).not.toBe(again.path);
  });

  test("shared is shared, private is another, locked waits", async () => {
    const mounts = open();
    const [one, two] = [
      await mounts.lease("c", "shared", undefined, never),
      await mounts.lease("c", "shared", undefined, never),
    ];
    expect(two.path).toBe(one.path);
    const own = await mounts.lease("c", "private", undefined, never);
    expect(own.path).not.toBe(one.path);
    const events: string[] = [];
    const locked = mounts.lease("c", "locked", undefined, never).then((lease) => {
      events.push("locked");
      return lease;
    });
    await new Promise(setImmediate);
    one.release();
    one.release();
    await new Promise(setImmediate);
    events.push("the last is released");
    two.release();
    const alone = await locked;
    expect(events).toEqual(["the last is released", "locked"]);
    expect(alone.path).toBe(one.path);
    const abort = new AbortController();
    const waiting = mounts.lease("c", "shared", undefined, abort.signal);
    abort.abort(new Error("given up"));
    await expect(waiting).rejects.toThrow("given up");
    alone.release();
    (await mounts.lease("c", "private", undefined, never)).release();
  });

  test("it is filled once, and a filling that fails leaves none", async () => {
    const mounts = open();
    const broken = mounts.lease(
      "c",
      "shared",
      async (path) => {
        writeFileSync(join(path, "half"), "");
        throw new Error("disk full");
      },
      never,
    );
    await expect(broken).rejects.toThrow("disk full");
    expect(readdirSync(dir)).toEqual([]);
    let fills = 0;
    const fill = async (path: string) => {
      fills++;
      await new Promise(setImmediate);
      writeFileSync(join(path, "seed"), "");
    };
    const leases = await Promise.all([1, 2, 3].map(() => mounts.lease("c", "shared", fill, never)));
    expect(fills).toBe(1);
    expect(readdirSync(leases[2]!.path)).toEqual(["seed"]);
  });

  test("what an engine was killed over is gone with the next", () => {
    const half = join(dir, `${"a".repeat(64)}.12345678`);
    mkdirSync(join(half, "files"), { recursive: true });
    mkdirSync(join(dir, "b".repeat(64)));
    open();
    expect(readdirSync(dir)).toEqual([]);
  });

  test("list and remove: what is in use stays", async () => {
    const mounts = open();
    const lease = await mounts.lease("an id", "shared", undefined, never);
    writeFileSync(join(lease.path, "f"), "x".repeat(100_000));
    const [kept] = await mounts.list();
    expect(kept).toMatchObject({ id: "an id", inUse: true });
    expect(kept!.size).toBeGreaterThanOrEqual(100_000);
    mounts.remove(kept!.name);
    expect(existsSync(lease.path)).toBe(true);
    lease.release();
    mounts.remove(kept!.name);
    expect(await mounts.list()).toEqual([]);
    mounts.remove("../..");
    expect(existsSync(dir)).toBe(true);
  });

  test.skipIf(!isRoot)("goes from one machine to another as a tar (needs root)", async () => {
    const mounts = open();
    const lease = await mounts.lease("c", "shared", undefined, never);
    mkdirSync(join(lease.path, "deep"));
    writeFileSync(join(lease.path, "deep/f"), "carried");
    lease.release();
    const tar = Buffer.concat(await Array.fromAsync(mounts.export("c", never)!));
    expect(mounts.export("none", never)).toBeUndefined();
    const there = new CacheMounts(join(dir, "other-machine"), () => {});
    await there.import(
      "c",
      (async function* () {
        yield tar;
      })(),
      never,
    );
    const arrived = await there.lease("c", "shared", undefined, never);
    expect(readFileSync(join(arrived.path, "deep/f"), "utf8")).toBe("carried");
  });
});
