import { afterEach, beforeEach, describe, expect, test } from "bun:test";
import { createHash } from "node:crypto";
import { mkdtempSync, rmSync } from "node:fs";
import { join } from "node:path";
import { tarOf } from "../images/testing/samples.ts";
import { Engine } from "./engine.ts";
import type { CollectionLimits } from "./image-collection.ts";
import { DEFAULT_SETTINGS } from "./settings.ts";

const HOUR = 60 * 60 * 1000;
let directory: string;
let engine: Engine;
let lines: string[];

beforeEach(() => {
  lines = [];
  directory = mkdtempSync("/var/tmp/inro-collect-");
});
afterEach(async () => {
  for (const { Id } of await engine.containers.list({ all: true })) await engine.containers.remove(Id);
  await engine.close();
  rmSync(directory, { recursive: true });
});

async function open(imageCollection: CollectionLimits): Promise<void> {
  engine = await Engine.open({
    defaultBridge: false,
    dataRoot: join(directory, "data"),
    execRoot: join(directory, "run"),
    settings: { ...DEFAULT_SETTINGS, imageCollection },
    log: (line) => lines.push(line),
  });
}

/** 300 KB that no compression makes less. */
function noise(seed: string): Uint8Array {
  const blocks: Buffer[] = [];
  for (let i = 0; i < 10_000; i++) blocks.push(createHash("sha256").update(`${seed}${i}`).digest());
  return Buffer.concat(blocks);
}

async function image(name: string): Promise<string> {
  const tar = await tarOf({ [name]: noise(name) });
  return await engine.images.importTar({
    source: (async function* () {
      yield tar;
    })(),
    repo: name,
  });
}

const names = () =>
  engine.images
    .list()
    .flatMap(({ tags }) => tags)
    .sort();

describe.skipIf(process.getuid?.() !== 0)("images that nobody keeps (needs root)", () => {
  test("stay by default", async () => {
    await open({});
    await image("one");
    expect(await engine.collection.run(Date.now() + 10_000 * HOUR)).toEqual([]);
    expect(names()).toEqual(["one:latest"]);
  });

  test("go by age, but not with a container, and not if they have just been used", async () => {
    await open({ maxAge: 3600 });
    const [one] = [await image("one"), await image("two"), await image("three")];
    await engine.containers.create({ Image: "two", Cmd: ["x"] }, "holder");
    expect(await engine.collection.run(Date.now() + 0.9 * HOUR)).toEqual([]);
    engine.images.noteUse(engine.images.find("three").id, Date.now() + 0.5 * HOUR);
    expect(await engine.collection.run(Date.now() + 1.1 * HOUR)).toEqual([one]);
    expect(names()).toEqual(["three:latest", "two:latest"]);
    expect(lines).toEqual([`image ${one} has gone: nobody used it`]);
    // What was found out survives the engine.
    await engine.close();
    await open({ maxAge: 3600 });
    await engine.collection.run(Date.now() + 1.4 * HOUR);
    expect(names()).toEqual(["three:latest", "two:latest"]);
    await engine.collection.run(Date.now() + 1.6 * HOUR);
    expect(names()).toEqual(["two:latest"]);
  });

  test("go by size, the longest unused first, until the rest fits", async () => {
    await open({ maxSize: 800_000 });
    const ids = [await image("one"), await image("two"), await image("three")];
    for (const [i, used] of [3, 1, 2].entries()) engine.images.noteUse(ids[i]!, Date.now() + 0.1 * HOUR + used);
    expect(await engine.collection.run()).toEqual([]);
    await engine.collection.run(Date.now() + HOUR);
    expect(names()).toEqual(["one:latest", "three:latest"]);
    expect(lines[0]).toEndWith("images take more than their space");
  }, 30_000);
});
