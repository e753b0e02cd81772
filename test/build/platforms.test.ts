import { afterAll, beforeAll, describe, expect, test } from "bun:test";
import { mkdirSync, mkdtempSync, readdirSync, readFileSync, rmSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { sha256 } from "../../src/base/digest.ts";
import type { RunningRegistry } from "../../src/registry/testing/docker-registry.ts";
import { startInroRegistry } from "../../src/registry/testing/inro-registry.ts";
import { hasBusybox, isRoot, TestEngine } from "../harness.ts";

const why = !isRoot ? "needs root" : hasBusybox ? "" : "no busybox-static";
const BOTH = ["--platform", "linux/amd64,linux/arm64"];
const INDEX = "application/vnd.oci.image.index.v1+json";
const MANIFEST = "application/vnd.oci.image.manifest.v1+json";

describe.skipIf(why !== "")(`builds for several platforms${why && ` (${why})`}`, () => {
  let engine: TestEngine;
  let registry: RunningRegistry;
  let top: string;
  beforeAll(async () => {
    top = mkdtempSync(join(tmpdir(), "inro-platforms-"));
    [registry, engine] = await Promise.all([startInroRegistry(), new TestEngine().start()]);
    await engine.busybox();
  });
  afterAll(async () => {
    await engine?.stop();
    await registry?.stop();
    rmSync(top, { recursive: true, force: true });
  });

  const context = (files: Record<string, string>) => {
    const directory = mkdtempSync(join(top, "context-"));
    for (const [path, text] of Object.entries(files)) {
      mkdirSync(join(directory, path, ".."), { recursive: true });
      writeFileSync(join(directory, path), text);
    }
    return directory;
  };
  const build = (directory: string, ...flags: string[]) =>
    engine.inro(["build", "--progress", "plain", ...flags, directory]);
  const get = async (name: string, what: string, accept = "*/*") =>
    // biome-ignore lint/suspicious/noExplicitAny: what a registry answers
    (await (await fetch(`http://${registry.host}/v2/${name}/${what}`, { headers: { Accept: accept } })).json()) as any;
  interface Manifest {
    config: { digest: string };
    layers: { digest: string }[];
  }
  /** Of each platform of a pushed index: its manifest, and its configuration. */
  const pushed = async (name: string) => {
    const index = (await get(name, "manifests/1", INDEX)) as {
      manifests: { digest: string; platform: { os: string; architecture: string } }[];
    };
    return await Promise.all(
      index.manifests.map(async ({ digest, platform }) => {
        const manifest = (await get(name, `manifests/${digest}`, MANIFEST)) as Manifest;
        const config = (await get(name, `blobs/${manifest.config.digest}`)) as { architecture: string };
        return { platform: `${platform.os}/${platform.architecture}`, manifest, config };
      }),
    );
  };
  const FILES = { "f-amd64": "of amd64\n", "f-arm64": "of arm64\n" };

  test("--push: an index, one manifest a platform; again on it, each on its own", async () => {
    const base = context({
      Dockerfile: "FROM scratch\nARG TARGETARCH\nCOPY f-$TARGETARCH /f\nENV A=$TARGETARCH\n",
      ...FILES,
    });
    const metadata = join(top, "metadata");
    const built = await build(
      base,
      ...BOTH,
      "--push",
      "-t",
      `${registry.host}/multi/base:1`,
      "--metadata-file",
      metadata,
    );
    expect([built.code, built.stderr]).toEqual([0, expect.stringContaining("[linux/arm64 2/2] COPY f-$TARGETARCH /f")]);
    const bases = await pushed("multi/base");
    expect(bases.map(({ platform, config }) => [platform, config.architecture])).toEqual([
      ["linux/amd64", "amd64"],
      ["linux/arm64", "arm64"],
    ]);
    expect(bases[0]!.manifest.layers).not.toEqual(bases[1]!.manifest.layers);
    expect(JSON.parse(readFileSync(metadata, "utf8"))["containerimage.descriptor"].mediaType).toBe(INDEX);

    const on = context({ Dockerfile: `FROM ${registry.host}/multi/base:1\nCOPY more /more\n`, more: "more\n" });
    expect((await build(on, ...BOTH, "--push", "-t", `${registry.host}/multi/on:1`)).code).toBe(0);
    const ons = await pushed("multi/on");
    for (const [at, { manifest }] of ons.entries()) {
      expect(manifest.layers[0]!.digest).toBe(bases[at]!.manifest.layers[0]!.digest);
      expect(manifest.layers).toHaveLength(2);
    }
    // Equal inputs, equal index.
    const before = readFileSync(metadata, "utf8");
    await build(
      base,
      ...BOTH,
      "--no-cache",
      "--push",
      "-t",
      `${registry.host}/multi/base:1`,
      "--metadata-file",
      metadata,
    );
    expect(readFileSync(metadata, "utf8")).toBe(before);
  });

  test("what the builder's own platform does is done once", async () => {
    const directory = context({
      Dockerfile:
        "FROM --platform=$BUILDPLATFORM busybox AS tools\nRUN echo ran once; echo x > /x\nFROM scratch\nARG TARGETARCH\nCOPY --from=tools /x /x\nCOPY f-$TARGETARCH /f\n",
      ...FILES,
    });
    const to = join(top, "files");
    const { code, stderr } = await build(directory, ...BOTH, "-o", to);
    expect(code).toBe(0);
    expect(stderr.match(/^#\d+ [\d.]+ ran once$/gm)).toHaveLength(1);
    expect(readdirSync(to).sort()).toEqual(["linux_amd64", "linux_arm64"]);
    for (const name of ["amd64", "arm64"]) {
      expect(readFileSync(join(to, `linux_${name}/f`), "utf8")).toBe(`of ${name}\n`);
      expect(readFileSync(join(to, `linux_${name}/x`), "utf8")).toBe("x\n");
    }
  });

  test("an OCI archive has them all", async () => {
    const directory = context({ Dockerfile: "FROM scratch\nARG TARGETARCH\nCOPY f-$TARGETARCH /f\n", ...FILES });
    const archive = join(top, "both.tar");
    expect((await build(directory, ...BOTH, "-t", "both", "-o", `type=oci,dest=${archive}`)).code).toBe(0);
    const index = JSON.parse(Bun.spawnSync(["tar", "xOf", archive, "index.json"]).stdout.toString());
    expect(
      index.manifests.map(({ platform }: { platform: { architecture: string } }) => platform?.architecture).sort(),
    ).toEqual(["amd64", "arm64"]);
  });

  test("annotations of the index, its entries and the manifests; statements about each of them", async () => {
    const directory = context({ Dockerfile: "FROM scratch\nARG TARGETARCH\nCOPY f-$TARGETARCH /f\n", ...FILES });
    const name = `${registry.host}/multi/said:1`;
    const flags = ["--push", "-t", name, "--sbom=true", "--provenance=mode=max", "--build-arg", "A=1"];
    const annotations = [
      "index:of=all",
      "manifest:of=each",
      "manifest[linux/arm64]:only=arm",
      "manifest-descriptor:in=index",
    ];
    const { code, stderr } = await build(
      directory,
      ...BOTH,
      ...flags,
      ...annotations.flatMap((one) => ["--annotation", one]),
    );
    expect([code, stderr]).toEqual([0, expect.stringContaining(`attesting ${name} for linux/arm64`)]);
    const index = await get("multi/said", "manifests/1", INDEX);
    expect(index.annotations).toEqual({ of: "all" });
    for (const { digest, platform, annotations } of index.manifests) {
      expect(annotations).toEqual({ in: "index" });
      const arm = platform.architecture === "arm64";
      const manifest = await get("multi/said", `manifests/${digest}`, MANIFEST);
      expect(manifest.annotations).toEqual({ of: "each", ...(arm ? { only: "arm" } : {}) });
      const { manifests: referrers } = await get("multi/said", `referrers/${digest}`);
      const types = referrers.map(
        (one: { annotations: Record<string, string> }) => one.annotations["in-toto.io/predicate-type"],
      );
      expect(types.sort()).toEqual(["https://slsa.dev/provenance/v1", "https://spdx.dev/Document"]);
      for (const one of referrers) {
        const { layers } = await get("multi/said", `manifests/${one.digest}`, MANIFEST);
        const statement = await get("multi/said", `blobs/${layers[0].digest}`);
        expect(`sha256:${statement.subject[0].digest.sha256}`).toBe(digest);
        const { externalParameters } = statement.predicate.buildDefinition ?? {};
        if (externalParameters) expect(externalParameters.platform).toBe(`linux/${platform.architecture}`);
      }
    }
    const one = await build(directory, "-t", "one", "--annotation", "index:a=b");
    expect([one.code, one.stderr]).toEqual([1, expect.stringContaining("not supported for single platform")]);
  });

  test("tar=false: the same as a directory", async () => {
    const directory = context({ Dockerfile: "FROM scratch\nARG TARGETARCH\nCOPY f-$TARGETARCH /f\n", ...FILES });
    const layout = join(top, "layout");
    expect((await build(directory, ...BOTH, "-t", "both", "-o", `type=oci,tar=false,dest=${layout}`)).code).toBe(0);
    const { manifests } = JSON.parse(readFileSync(join(layout, "index.json"), "utf8"));
    for (const { digest } of manifests) {
      const bytes = readFileSync(join(layout, "blobs/sha256", digest.slice("sha256:".length)));
      expect(sha256(bytes)).toBe(digest);
    }
    expect(manifests).toHaveLength(2);
    const nowhere = await build(directory, "-o", "type=oci,tar=false");
    expect([nowhere.code, nowhere.stderr]).toEqual([1, expect.stringContaining("dest=DIRECTORY is required")]);
  });

  test("what cannot be kept, or run, is said", async () => {
    const directory = context({ Dockerfile: "FROM scratch\nARG TARGETARCH\nCOPY f-$TARGETARCH /f\n", ...FILES });
    const kept = await build(directory, ...BOTH, "-t", "both");
    expect([kept.code, kept.stderr]).toEqual([1, expect.stringContaining("--push, or --output type=oci")]);
    expect((await engine.inro(["image", "inspect", "both"])).code).not.toBe(0);
    expect((await build(directory, "--platform", "linux/../x")).code).toBe(1);
  });
});
