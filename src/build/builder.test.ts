import { Database } from "bun:sqlite";
import { afterEach, beforeEach, describe, expect, test } from "bun:test";
import { chainId, sha256 } from "../base/digest.ts";
import { invalid } from "../base/errors.ts";
import { detectHierarchy } from "../cgroups/hierarchy.ts";
import { hostPlatform } from "../images/platform.ts";
import type { StoredLayer } from "../images/store.ts";
import { Bench, isRoot, layerOf } from "../images/testing/samples.ts";
import type { BuildEvent } from "../spec/build.ts";
import { Builder, type BuildRequest, type BuildResult } from "./builder.ts";
import { BuildCache } from "./cache.ts";
import type { Ops } from "./ops.ts";
import { Solver } from "./solver.ts";
import type { Snapshot } from "./step.ts";

/** Files of a client; a step's fake work is a layer that says what it saw. */
class World {
  readonly bench = new Bench();
  readonly db = new Database(":memory:");
  files: Record<string, string> = { a: "1", b: "2" };
  ran: string[] = [];
  /** Commands that wait until they are let go. */
  readonly gates = new Map<string, { begun: PromiseWithResolvers<void>; go: PromiseWithResolvers<void> }>();
  opened = 0;
  cache = new BuildCache(this.db, () => this.bench.images.hold());
  builder = this.fresh();

  fresh(): Builder<BuildRequest> {
    const { content, layers, images } = this.bench;
    const solver = new Solver<BuildRequest>({
      ops: this.ops,
      cache: this.cache,
      content,
      layers,
      hold: () => images.hold(),
      context: (_, step) => ({
        content,
        layers,
        directory: this.bench.dir,
        cgroup: "/none",
        hierarchy: detectHierarchy(),
        spec: () => {
          throw invalid("no containers here");
        },
        network: async () => ({ hosts: "", resolvConf: "", release: async () => {} }),
        secret: async () => undefined,
        agent: async () => undefined,
        cacheMount: async () => ({ path: "/none", release() {} }),
        ...step,
      }),
    });
    return new Builder(solver);
  }

  gate(command: string) {
    const gate = { begun: Promise.withResolvers<void>(), go: Promise.withResolvers<void>() };
    this.gates.set(command, gate);
    return gate;
  }

  async wait(command: string, signal: AbortSignal): Promise<void> {
    const gate = this.gates.get(command);
    if (!gate) return;
    gate.begun.resolve();
    const aborted = new Promise<never>((_, reject) => {
      signal.addEventListener("abort", () => reject(signal.reason));
    });
    await Promise.race([gate.go.promise, aborted]);
  }

  get ops(): Ops {
    const layer = async (files: Record<string, string>, base: Snapshot): Promise<StoredLayer> => {
      const { data, diffId, mediaType } = await layerOf(files, "plain");
      const { digest, size } = await this.bench.content.put(data);
      void base;
      return { diffId, blob: { mediaType, digest, size } };
    };
    return {
      runStep: async ({ args }, base, { signal, log }) => {
        const command = args.at(-1)!;
        this.ran.push(command);
        log(1, Buffer.from(`did ${command}\n`));
        await this.wait(command, signal);
        if (command === "fail") throw invalid('process "/bin/sh -c fail" did not complete successfully: exit code: 1');
        if (command === "nothing") return undefined;
        return await layer({ [`ran-${command}`]: command }, base);
      },
      copyStep: async ({ items, destination }, base, { signal }) => {
        this.ran.push(`copy ${destination}`);
        await this.wait(`copy ${destination}`, signal);
        const [item] = items;
        const paths = item?.kind === "files" ? item.paths : [];
        return await layer({ [`copy-${destination.replaceAll("/", "-")}`]: this.read(paths) }, base);
      },
      workdirStep: async (path, base) => {
        this.ran.push(`workdir ${path}`);
        return await layer({ [`${path.slice(1)}/`]: "" }, base);
      },
      digestSelection: async (source, paths) => {
        this.ran.push(`digest ${paths.join(" ")}`);
        return sha256(source.kind === "directory" ? this.read(paths) : JSON.stringify(paths));
      },
      fetchUrl: async () => {
        throw invalid("no network");
      },
      fetchGit: async () => {
        throw invalid("no network");
      },
    };
  }

  read(paths: readonly string[]): string {
    return paths.map((path) => `${path}=${this.files[path] ?? "?"}`).join();
  }

  request(text: string, more: Partial<BuildRequest["frontend"]> = {}): BuildRequest {
    return {
      dockerfile: async () => ({ text, name: "Dockerfile" }),
      frontend: {
        args: new Map(),
        labels: new Map(),
        contexts: new Map(),
        noCache: false,
        hasContext: true,
        buildPlatform: hostPlatform(),
        network: "default",
        allow: new Set(),
        ...more,
      },
      platforms: [hostPlatform()],
      extraHosts: [],
      open: async () => {
        this.opened++;
        return {
          source: { kind: "directory", path: "/none" },
          identity: sha256(JSON.stringify(this.files)),
          release() {},
        };
      },
      resolve: async (reference) => {
        throw invalid(`no image ${reference}`);
      },
    };
  }

  async build(text: string, more: Partial<BuildRequest["frontend"]> = {}, signal = new AbortController().signal) {
    const events: BuildEvent[] = [];
    this.ran = [];
    const result = await this.builder.build(this.request(text, more), (event) => events.push(event), signal);
    const vertices = new Map(events.flatMap(({ vertexes = [] }) => vertexes).map((one) => [one.name, one]));
    return { result, events, vertices, ran: this.ran };
  }

  async built(text: string, more: Partial<BuildRequest["frontend"]> = {}): Promise<string[]> {
    const { result, ran } = await this.build(text, more);
    await result.close();
    return ran;
  }
}

describe.skipIf(!isRoot)("builds (layers are unpacked as root)", () => {
  let world: World;
  beforeEach(() => {
    world = new World();
  });
  afterEach(() => world.bench.close());

  const config = (result: BuildResult) => JSON.parse(result.images[0]!.config);

  test("steps run once, and the image says what they were", async () => {
    const text = "FROM scratch\nWORKDIR /w\nCOPY a x\nRUN one\nENV A=b\nRUN nothing";
    const { result, ran, vertices } = await world.build(text);
    expect(ran).toEqual(["workdir /w", "digest a", "copy /w/x", "one", "nothing"]);
    const { history, rootfs, created } = config(result);
    expect(created).toBe("1980-01-01T00:00:00Z");
    expect(rootfs.diff_ids).toHaveLength(3);
    expect(history.map((entry: { empty_layer?: boolean }) => entry.empty_layer ?? false)).toEqual([
      false,
      false,
      false,
      true,
      true,
    ]);
    expect(vertices.get("[4/5] RUN one")).toMatchObject({ completed: expect.any(Number) });
    const first = result.images[0]!.config;
    await result.close();
    const again = await world.build(text);
    expect(again.ran).toEqual([]);
    expect(again.result.images[0]!.config).toBe(first);
    expect(again.vertices.get("[4/5] RUN one")).toMatchObject({ cached: true });
    await again.result.close();
  });

  test("a changed file does its copy and what stands on it again, and nothing else", async () => {
    const text = "FROM scratch\nRUN before\nCOPY a x\nRUN after";
    await world.built(text);
    world.files.a = "other";
    expect(await world.built(text)).toEqual(["digest a", "copy /x", "after"]);
    world.files.b = "not copied";
    expect(await world.built(text)).toEqual(["digest a"]);
  });

  test("an ARG that is used, --no-cache, and --no-cache-filter", async () => {
    const text = "FROM scratch AS one\nRUN a\nFROM one AS two\nARG V\nRUN b";
    const args = (V: string) => ({ args: new Map([["V", V]]) });
    await world.built(text, args("1"));
    expect(await world.built(text, args("2"))).toEqual(["b"]);
    expect(await world.built(text, args("1"))).toEqual([]);
    expect(await world.built(text, { ...args("1"), noCache: true })).toEqual(["a", "b"]);
    expect(await world.built(text, { ...args("1"), noCache: new Set(["two"]) })).toEqual(["b"]);
  });

  test("steps that need nothing of each other run at the same time", async () => {
    const one = world.gate("one");
    const two = world.gate("two");
    const text =
      "FROM scratch AS x\nRUN one\nFROM scratch AS y\nRUN two\nFROM scratch\nCOPY --from=x a a\nCOPY --from=y b b";
    const building = world.build(text);
    // Neither is let go before both have begun.
    await Promise.all([one.begun.promise, two.begun.promise]);
    one.go.resolve();
    two.go.resolve();
    await (await building).result.close();
  });

  test("the same step of two builds runs once; who leaves first does not end it", async () => {
    const gate = world.gate("slow");
    const text = "FROM scratch\nRUN slow";
    const leaving = new AbortController();
    const first = world.build(text, {}, leaving.signal);
    const failed = first.catch((error: Error) => error.message);
    await gate.begun.promise;
    const second = world.build(`${text}\nRUN more`);
    // It has joined when its own step has begun.
    await new Promise(setImmediate);
    leaving.abort(new Error("left"));
    expect(await failed).toBe("left");
    gate.go.resolve();
    const { result } = await second;
    expect(world.ran).toEqual(["more"].concat(world.ran.filter((command) => command !== "more")));
    expect(world.cache.list().map(({ description }) => description)).toEqual(["[2/2] RUN slow", "[3/3] RUN more"]);
    await result.close();
  });

  test("a linked copy that two builds want stands on each one's own base", async () => {
    const gate = world.gate("copy /x");
    const first = world.build("FROM scratch\nRUN one\nCOPY --link a x");
    await gate.begun.promise;
    const second = world.build("FROM scratch\nRUN two\nCOPY --link a x");
    // Its own step is done; it joins in the same turn.
    while (!world.cache.list().some(({ description }) => description.includes("two"))) await new Promise(setImmediate);
    gate.go.resolve();
    for (const { result } of await Promise.all([first, second])) {
      const { layers } = result.images[0]!;
      expect(world.bench.layers.has(chainId(layers.map(({ diffId }) => diffId)))).toBeTrue();
      await result.close();
    }
    // The second has not done it again.
    expect(world.ran).not.toContain("copy /x");
  });

  test("the last one that leaves ends it, and nothing stays", async () => {
    const gate = world.gate("slow");
    const leaving = new AbortController();
    const building = world.build("FROM scratch\nRUN slow", {}, leaving.signal);
    await gate.begun.promise;
    leaving.abort(new Error("left"));
    expect(building).rejects.toThrow("left");
    await building.catch(() => {});
    expect(world.cache.list()).toEqual([]);
    expect(world.bench.leftovers()).toEqual({ blobs: 0, layers: 0, temporary: [] });
  });

  test("a step that fails shows its lines, ends its siblings, and leaves what was done", async () => {
    world.gate("sibling");
    const text = "FROM scratch AS x\nRUN sibling\nFROM scratch\nRUN good\nRUN fail\nCOPY --from=x a a";
    const error = await world.build(text).catch((one) => one);
    expect(error.message).toBe(
      'failed to solve: process "/bin/sh -c fail" did not complete successfully: exit code: 1',
    );
    expect(error.step).toBe("[stage-1 3/4] RUN fail");
    expect(error.excerpt).toContain("   5 | >>> RUN fail");
    expect(world.cache.list().map(({ description }) => description)).toEqual(["[stage-1 2/4] RUN good"]);
  });

  test("a large Dockerfile, which is parsed elsewhere, is one all the same", async () => {
    const text = `FROM scratch\n${"# a comment\n".repeat(3000)}RUN a\n`;
    expect(await world.built(text)).toEqual(["a"]);
    const error = await world.build(`${text}RUNN b\n`).catch((one) => one);
    expect(error.message).toContain("line 3003, column 1: unknown instruction: RUNN (did you mean RUN?)");
  });

  test("a wrong instruction shows its lines", async () => {
    const error = await world.build("FROM scratch\nRUNN x\n").catch((one) => one);
    expect(error.message).toContain("unknown instruction: RUNN (did you mean RUN?)");
    expect(error.excerpt).toContain("   2 | >>> RUNN x");
  });

  test("records keep their layers, and let go of them", async () => {
    await world.built("FROM scratch\nRUN a\nRUN b");
    expect(world.bench.leftovers()).toMatchObject({ blobs: 2, layers: 2 });
    for (const { key } of world.cache.list()) world.cache.delete(key);
    expect(world.bench.leftovers()).toMatchObject({ blobs: 0, layers: 0 });
  });

  test("a record without its data is no hit", async () => {
    const text = "FROM scratch\nRUN a\nRUN b";
    await world.built(text);
    const [first] = world.cache.list();
    world.bench.content.delete(first!.layer!.blob.digest);
    expect(await world.built(text)).toEqual(["a"]);
  });

  test("data of a stage that was not needed is made when it is", async () => {
    const stages = "FROM scratch AS x\nRUN make\nFROM scratch\nCOPY --from=x a a\n";
    await world.built(stages);
    const made = world.cache.list().find(({ description }) => description.includes("RUN make"))!;
    world.bench.layers.delete(made.chain);
    world.bench.content.delete(made.layer!.blob.digest);
    expect(await world.built(stages)).toEqual([]);
    expect(await world.built(`${stages}COPY --from=x b b`)).toEqual(["make", "digest b", "copy /b"]);
  });

  test("another engine finds it all again", async () => {
    await world.built("FROM scratch\nRUN a");
    world.cache = new BuildCache(world.db, () => world.bench.images.hold());
    world.builder = world.fresh();
    expect(await world.built("FROM scratch\nRUN a")).toEqual([]);
  });
});
