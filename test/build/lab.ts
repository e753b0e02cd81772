import { mkdirSync, mkdtempSync, readdirSync, readFileSync, rmSync, writeFileSync } from "node:fs";
import { join } from "node:path";
import { chainId } from "../../src/base/digest.ts";
import type { FileSource, RunStep, Snapshot, StepContext } from "../../src/build/step.ts";
import { detectHierarchy } from "../../src/cgroups/hierarchy.ts";
import { removeCgroup } from "../../src/engine/build/cgroups.ts";
import { stepSpec } from "../../src/engine/build/step-spec.ts";
import type { StoredLayer } from "../../src/images/store.ts";
import { Bench } from "../../src/images/testing/samples.ts";
import { MEDIA } from "../../src/spec/oci-image.ts";
import { busyboxTar } from "../harness.ts";

const CGROUP = `/inro/lab-${process.pid}`;

/** Steps of a build on stores of their own, without an engine. */
export class Lab {
  readonly bench = new Bench();
  readonly directory = join(this.bench.dir, "steps");
  readonly hold = this.bench.images.hold();
  readonly secrets = new Map<string, Uint8Array>();
  readonly agents = new Map<string, string>();
  readonly #caches = new Map<string, string>();
  #output = "";
  #controller = new AbortController();

  constructor() {
    mkdirSync(this.directory);
  }

  /** What commands have written since it was last asked for. */
  output(): string {
    const text = this.#output;
    this.#output = "";
    return text;
  }

  abort(): void {
    this.#controller.abort(new Error("aborted by the test"));
  }

  context(more: Partial<StepContext> = {}): StepContext {
    const { content, layers } = this.bench;
    this.#controller = new AbortController();
    return {
      content,
      layers,
      hierarchy: detectHierarchy(),
      hold: this.hold,
      directory: this.directory,
      signal: this.#controller.signal,
      cgroup: CGROUP,
      epoch: 1_700_000_000,
      log: (_, bytes) => {
        this.#output += Buffer.from(bytes).toString();
      },
      network: async () => ({ hosts: "127.0.0.1 localhost\n", resolvConf: "", release: async () => {} }),
      spec: stepSpec,
      secret: async (id) => this.secrets.get(id),
      agent: async (id) => this.agents.get(id),
      cacheMount: async (id, _, fill) => {
        let path = this.#caches.get(id);
        if (path === undefined) {
          path = mkdtempSync(join(this.bench.dir, "cache-"));
          this.#caches.set(id, path);
          await fill?.(path);
        }
        return { path, release: () => {} };
      },
      ...more,
    };
  }

  async busybox(): Promise<Snapshot> {
    const tar = busyboxTar(this.bench.dir);
    const data = readFileSync(tar);
    rmSync(tar);
    return { layers: [await this.layer(data)] };
  }

  /** A layer of a plain tar, on nothing. */
  async layer(tar: Uint8Array): Promise<StoredLayer> {
    const { content, layers } = this.bench;
    const { digest, size } = await content.put(tar);
    this.hold.blob(digest);
    this.hold.chain(chainId([digest]));
    await layers.apply({ source: { path: content.path(digest) }, parents: [], diffId: digest });
    return { diffId: digest, blob: { mediaType: MEDIA.ociLayer, digest, size } };
  }

  /** A context's directory. */
  files(files: Record<string, string>): FileSource & { path: string } {
    const path = mkdtempSync(join(this.bench.dir, "context-"));
    for (const [name, text] of Object.entries(files)) {
      mkdirSync(join(path, name, ".."), { recursive: true });
      writeFileSync(join(path, name), text);
    }
    return { kind: "directory", path };
  }

  /** Files of the stores with `text` in them. */
  contains(text: string, directory = this.bench.dir): string[] {
    return readdirSync(directory, { withFileTypes: true }).flatMap((entry) => {
      const path = join(directory, entry.name);
      if (entry.isDirectory()) return this.contains(text, path);
      return entry.isFile() && readFileSync(path).includes(text) ? [path] : [];
    });
  }

  close(): void {
    // `/inro` is an engine's as well: it goes when nobody has anything in it.
    for (const path of [CGROUP, "/inro"]) removeCgroup(detectHierarchy(), path);
    this.hold.release();
    this.bench.close();
  }
}

export function command(script: string, more: Partial<RunStep> = {}): RunStep {
  return {
    args: ["/bin/sh", "-c", script],
    env: ["PATH=/bin"],
    cwd: "/",
    user: "",
    hostname: "",
    network: "none",
    insecure: false,
    mounts: [],
    ...more,
  };
}
