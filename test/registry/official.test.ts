import { afterAll, beforeAll, describe, expect, test } from "bun:test";
import { mkdtempSync, rmSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import type { RunningRegistry } from "../../src/registry/testing/docker-registry.ts";
import { startInroRegistry } from "../../src/registry/testing/inro-registry.ts";

/** The distribution-spec's own program (its directory `conformance`), which no distribution has as a package. */
const PROGRAM = process.env.INRO_TEST_OCI_CONFORMANCE ?? Bun.which("oci-conformance");

describe.skipIf(!PROGRAM)(`OCI's own conformance program${PROGRAM ? "" : " (no oci-conformance)"}`, () => {
  let registry: RunningRegistry;
  let results: string;
  beforeAll(async () => {
    results = mkdtempSync(join(tmpdir(), "inro-conformance-"));
    registry = await startInroRegistry();
  });
  afterAll(async () => {
    await registry?.stop();
    rmSync(results, { recursive: true, force: true });
  });

  for (const version of ["1.0", "1.1", "dev"]) {
    test(`version ${version}, with all that a registry may do but sparse manifests`, async () => {
      const child = Bun.spawn([PROGRAM!], {
        cwd: results,
        env: {
          PATH: process.env.PATH!,
          OCI_RESULTS_DIR: results,
          OCI_VERSION: version,
          OCI_REGISTRY: registry.host,
          OCI_TLS: "disabled",
          OCI_REPO1: `conformance/${version}-one`,
          OCI_REPO2: `conformance/${version}-two`,
          OCI_API_BLOBS_UPLOAD_CANCEL: "true",
          OCI_API_BLOBS_DIGEST_HEADER: "true",
          OCI_API_MANIFESTS_DIGEST_HEADER: "true",
        },
        stdout: "pipe",
        stderr: "pipe",
      });
      const [stdout, stderr] = await Promise.all([
        new Response(child.stdout).text(),
        new Response(child.stderr).text(),
      ]);
      expect(`${stderr}${stdout}`).toMatch(/OCI Conformance Result: Pass\n/);
      expect(stdout).toMatch(/^ {2}FAIL\.+: +0$/m);
      expect(Number(/^ {2}Pass\.+: +(\d+)$/m.exec(stdout)?.[1])).toBeGreaterThan(500);
      expect(await child.exited).toBe(0);
    });
  }
});
