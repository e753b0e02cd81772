import { afterAll, beforeAll, describe, expect, setDefaultTimeout, test } from "bun:test";
import { mkdtempSync, rmSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { gzipSync } from "node:zlib";
import { sha256 } from "../../src/base/digest.ts";
import { tarOf } from "../../src/images/testing/samples.ts";
import { startInroRegistry } from "../../src/registry/testing/inro-registry.ts";
import { TestPusher } from "../../src/registry/testing/push.ts";
import { type Descriptor, MEDIA } from "../../src/spec/oci-image.ts";
import { isRoot, TestEngine } from "../harness.ts";

// Each step starts the program anew.
setDefaultTimeout(20_000);

describe.skipIf(!isRoot)(`manifests at a registry${isRoot ? "" : " (needs root)"}`, () => {
  let engine: TestEngine;
  let registry: Awaited<ReturnType<typeof startInroRegistry>>;
  let config: string;
  const images: Record<string, Descriptor> = {};
  const inro = (...args: string[]) => engine.inro(args, { env: { DOCKER_CONFIG: config } });
  const name = (rest: string) => `${registry.host}/${rest}`;
  const stored = async (path: string, reference: string) => {
    const headers = { Authorization: `Basic ${btoa("ann:secret")}` };
    const answer = await fetch(`http://${registry.host}/v2/${path}/manifests/${reference}`, { headers });
    return { status: answer.status, text: await answer.text() };
  };

  beforeAll(async () => {
    config = mkdtempSync(join(tmpdir(), "inro-config-"));
    [engine, registry] = await Promise.all([new TestEngine().start(), startInroRegistry({ users: { ann: "secret" } })]);
    const auth = { username: "ann", password: "secret" };
    for (const architecture of ["amd64", "arm64"]) {
      const layer = await tarOf({ arch: architecture });
      const value = { architecture, os: "linux", rootfs: { type: "layers", diff_ids: [sha256(layer)] } };
      const packed = [{ data: gzipSync(layer), mediaType: MEDIA.ociLayerGzip }];
      images[architecture] = await new TestPusher(registry.host, `parts/${architecture}`, auth).image(
        value,
        packed,
        "1",
      );
    }
    const login = { env: { DOCKER_CONFIG: config }, stdin: "secret" };
    expect(await engine.inro(["login", "-u", "ann", "--password-stdin", registry.host], login)).toMatchObject({
      code: 0,
    });
  });
  afterAll(async () => {
    await registry?.stop();
    await engine?.stop();
    rmSync(config, { recursive: true, force: true });
  });

  test("imagetools create makes an index of images of other repositories; inspect shows it", async () => {
    const sources = [name("parts/amd64:1"), name("parts/arm64:1")];
    const made = await inro("imagetools", "create", "-t", name("app:1"), "-t", name("other:1"), ...sources);
    expect(made).toMatchObject({ code: 0, stdout: "" });
    const { text } = await stored("app", "1");
    expect((await stored("other", "1")).text).toBe(text);
    expect(JSON.parse(text)).toEqual({
      schemaVersion: 2,
      mediaType: MEDIA.ociIndex,
      manifests: ["amd64", "arm64"].map((architecture) => ({
        mediaType: MEDIA.ociManifest,
        digest: images[architecture]!.digest,
        size: images[architecture]!.size,
        platform: { architecture, os: "linux" },
      })),
    });
    expect((await inro("buildx", "imagetools", "inspect", "--raw", name("app:1"))).stdout).toBe(text);
    const shown = (await inro("imagetools", "inspect", name("app:1"))).stdout;
    expect(shown).toContain(`Digest:    ${sha256(text)}\n`);
    expect(shown).toContain("  Platform:    linux/arm64\n");
    const formatted = await inro("imagetools", "inspect", "--format", "{{.Manifest.Digest}}", name("app:1"));
    expect(formatted.stdout).toBe(`${sha256(text)}\n`);
    const one = await inro("imagetools", "create", "--dry-run", "--platform", "linux/arm64", name("app:1"));
    expect(JSON.parse(one.stdout).manifests).toHaveLength(1);
    // Another name keeps the bytes.
    await inro("imagetools", "create", "-t", name("app:stable"), name("app:1"));
    expect((await stored("app", "stable")).text).toBe(text);
    const none = await inro("imagetools", "create", "-t", name("app:2"), "-p", "linux/s390x", name("app:1"));
    expect(none).toMatchObject({ code: 1, stderr: "no source has such a platform\n" });
  });

  test("manifest create, annotate, inspect, push and rm", async () => {
    const list = name("listed:1");
    const created = await inro("manifest", "create", list, name("parts/amd64:1"), name("parts/arm64:1"));
    expect(created).toEqual({ code: 0, stderr: "", stdout: `Created manifest list ${list}\n` });
    const again = await inro("manifest", "create", list, name("parts/amd64:1"));
    expect(again).toMatchObject({
      code: 1,
      stderr: "refusing to amend an existing manifest list with no --amend flag\n",
    });
    await inro("manifest", "annotate", "--variant", "v9", list, name("parts/arm64:1"));
    const here = JSON.parse((await inro("manifest", "inspect", list)).stdout);
    expect(here.manifests.map(({ platform }: Descriptor) => platform?.variant)).toEqual([undefined, "v9"]);
    expect((await stored("listed", "1")).status).toBe(404);
    const pushed = await inro("manifest", "push", "--purge", list);
    const { text } = await stored("listed", "1");
    expect(pushed).toMatchObject({ code: 0, stdout: `${sha256(text)}\n` });
    expect(JSON.parse(text)).toEqual(here);
    expect(JSON.parse((await inro("manifest", "inspect", list)).stdout)).toEqual(here);
    const verbose = JSON.parse((await inro("manifest", "inspect", "-v", list)).stdout);
    expect(verbose[1]).toMatchObject({
      Descriptor: { digest: images.arm64!.digest },
      OCIManifest: { schemaVersion: 2 },
    });
    expect(await inro("manifest", "rm", list)).toMatchObject({ code: 1, stderr: `No such manifest: ${list}\n` });
    expect((await inro("manifest", "push", "../../etc:1")).code).toBe(1);
  });

  test("without a login the registry's word is the error", async () => {
    const refused = await engine.inro(["manifest", "inspect", name("app:1")], {
      env: { DOCKER_CONFIG: join(config, "none") },
    });
    expect(refused.code).toBe(1);
    expect(refused.stderr).toContain("authentication required");
  });
});
