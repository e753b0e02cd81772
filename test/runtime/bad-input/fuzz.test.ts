import { afterAll, beforeAll, expect, test } from "bun:test";
import { mkdirSync, mkdtempSync, rmSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import fc from "fast-check";
import { InroError, SysError } from "../../../src/base/errors.ts";
import { encode } from "../../../src/program/elf.ts";
import { MACHINE } from "../../../src/program/machine.ts";
import { describe as rowsOf } from "../../../src/program/print.ts";
import { readConfig } from "../../../src/runtime/oci/config.ts";
import { seccompFilter } from "../../../src/runtime/oci/filter.ts";
import { stringifyJson } from "../../../src/runtime/oci/json.ts";
import { ociLauncher } from "../../../src/runtime/oci/launcher.ts";
import { defaultSpec } from "../../../src/runtime/oci/spec.ts";
import { setUp } from "../../../src/runtime/setup.ts";
import type { Spec } from "../../../src/spec/oci-runtime.ts";
import { mutate, mutations, richSpec } from "./mutations.ts";

/** From config.json to the executable, in this process: an error with a message, or a program. Nothing is run. */

let bundle: string;
beforeAll(() => {
  bundle = mkdtempSync(join(tmpdir(), "inro-fuzz-"));
  mkdirSync(join(bundle, "rootfs"));
});
afterAll(() => rmSync(bundle, { recursive: true }));

async function programOf(source: string): Promise<"program" | "error"> {
  try {
    const { spec, rootfs } = readConfig(source, bundle, () => {});
    const filter = await seccompFilter(spec, bundle);
    const shape = {
      wait: false,
      fifo: true,
      hooks: true,
      preserve: 0,
      keyring: "_ses.x",
      listener: false,
      newKeyring: true,
    };
    const userns = spec.linux?.namespaces?.some((n) => n.type === "user" && !n.path);
    const program = setUp({
      spec,
      rootfs: { kind: "directory", path: rootfs },
      target: rootfs,
      cgroup: { unified: "/nowhere", joinFiles: ["/nowhere"], mounts: [{ name: "", path: "/nowhere" }] },
      filter,
      lastCapability: 40,
      ownStdio: [],
      init: undefined,
      ...(userns && { userns: 10 }),
      launcher: ociLauncher(shape, spec.process!),
    });
    expect(encode(program, MACHINE).length).toBeGreaterThan(1000);
    expect(rowsOf(program).length).toBe(program.rows.length);
    return "program";
  } catch (error) {
    // Anything else is a defect: TypeError, RangeError, SyntaxError.
    if (!(error instanceof InroError) && !(error instanceof SysError)) throw error;
    expect(error.message).toMatch(/./);
    return "error";
  }
}

/** What there was of it, so that a fuzzer that never gets through is noticed. */
async function count(runs: number, arbitrary: fc.Arbitrary<string>): Promise<Record<string, number>> {
  const seen: Record<string, number> = { program: 0, error: 0 };
  await fc.assert(
    fc.asyncProperty(arbitrary, async (source) => {
      seen[await programOf(source)]!++;
    }),
    { numRuns: runs },
  );
  return seen;
}

const spec: fc.Arbitrary<Spec> = fc.oneof(
  fc.constant(richSpec()),
  fc.constant(defaultSpec(false)),
  fc.constant(defaultSpec(true)),
);

test("valid configs, changed", async () => {
  const seen = await count(
    4000,
    fc.tuple(spec, mutations).map(([base, changes]) => stringifyJson(mutate(base, changes))),
  );
  expect(seen.program).toBeGreaterThan(400);
  expect(seen.error).toBeGreaterThan(400);
}, 120_000);

test("texts, cut and with bytes changed", async () => {
  const text = JSON.stringify(richSpec());
  const changed = fc.tuple(
    fc.nat({ max: text.length }),
    fc.string({ unit: "binary", maxLength: 5 }),
    fc.nat({ max: 9 }),
  );
  await count(
    1500,
    fc.oneof(
      changed.map(([at, put, gone]) => text.slice(0, at) + put + text.slice(at + gone)),
      fc.nat({ max: text.length }).map((at) => text.slice(0, at)),
      fc.json(),
      fc.string({ unit: "binary" }),
    ),
  );
}, 120_000);
