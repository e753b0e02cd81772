import { afterAll, beforeAll, describe, expect, test } from "bun:test";
import { chmodSync, chownSync, mkdirSync, readdirSync, readFileSync, writeFileSync } from "node:fs";
import { join } from "node:path";
import fc from "fast-check";
import { stringifyJson } from "../../../src/runtime/oci/json.ts";
import { defaultSpec } from "../../../src/runtime/oci/spec.ts";
import type { Spec } from "../../../src/spec/oci-runtime.ts";
import { cannotRun, Runtime } from "../bundle.ts";
import { mutate, mutations, richSpec } from "./mutations.ts";
import { Traces } from "./traces.ts";

// biome-ignore lint/suspicious/noExplicitAny: any JSON
type Any = any;

/** Changed configs through the real binary: a message or a run, and the host as it was. */
describe.skipIf(cannotRun !== undefined)(`fuzzed configs${cannotRun ? ` (skipped: ${cannotRun})` : ""}`, () => {
  let runtime: Runtime;
  let traces: Traces;
  beforeAll(() => {
    runtime = new Runtime();
    traces = new Traces(runtime, "fuzz");
  });
  afterAll(() => runtime.close());

  /** What a mistake of the runtime would change, and what no other process of this machine does meanwhile. */
  const SYSCTLS = "kernel/hostname kernel/domainname kernel/core_pattern kernel/msgmax kernel/sem kernel/shmmax";
  const host = () => ({
    sysctls: [...SYSCTLS.split(" "), "net/ipv4/ip_forward", "fs/mqueue/msg_max"].map((name) =>
      readFileSync(`/proc/sys/${name}`, "utf8"),
    ),
    root: readdirSync("/"),
    dev: readdirSync("/dev"),
    neighbours: readdirSync(runtime.dir).filter((name) => !/^(out|err|bundle)\d+$|^state$/.test(name)),
    limits: readFileSync("/proc/self/limits", "utf8"),
    oom: readFileSync("/proc/self/oom_score_adj", "utf8"),
  });

  /**
   * What a config may well do to the host is left out, since here it is root's own wish: another directory as the root,
   * binds of the host's directories, cgroups of others, hooks.
   */
  function tame(spec: Any, id: string): Spec {
    const safe = (path: unknown) =>
      typeof path !== "string" || /^\/(dev\/(null|full)|nowhere|proc\/self\/exe)$/.test(path);
    if (typeof spec.root?.path === "string" && !/^(rootfs|)$|\0/.test(spec.root.path)) spec.root.path = "rootfs";
    if (Array.isArray(spec.mounts)) {
      for (const mount of spec.mounts) if (isBind(mount) && !safe(mount.source)) mount.source = "/dev/null";
    }
    if (typeof spec.linux?.cgroupsPath === "string") spec.linux.cgroupsPath = `/${id}`;
    delete spec.hooks;
    return spec;
  }
  const isBind = (mount: Any) => JSON.stringify([mount?.type, mount?.options]).includes("bind");

  test("a message or a run, and the host as it was", async () => {
    const bundle = runtime.bundle("true", (s) => {
      s.root!.readonly = false;
    });
    // Root of the user namespace makes the mount points.
    chmodSync(runtime.dir, 0o755);
    chownSync(join(bundle, "rootfs"), 100000, 200000);
    mkdirSync(join(runtime.dir, "canary"));
    const before = host();
    const seen = { 0: 0, 1: 0 };
    let n = 0;
    const base = fc.oneof(
      fc.constant(richSpec()),
      fc.constant({ ...defaultSpec(false), process: richSpec().process! }),
    );
    await fc.assert(
      fc.asyncProperty(base, mutations, async (spec, changes) => {
        const id = traces.id(n++);
        writeFileSync(join(bundle, "config.json"), stringifyJson(tame(mutate(spec, changes), id)));
        const { code, err } = await runtime.run(["--log-format", "json", "create", "-b", bundle, id]);
        if (code === 0) {
          expect((await runtime.run(["start", id])).err).not.toMatch(/Error:|\.ts:\d/);
          await runtime.ok("delete", "--force", id);
        } else {
          const { level, msg } = JSON.parse(err.trim().split("\n").at(-1) ?? "");
          expect({ code, level }).toEqual({ code: 1, level: "error" });
          expect(msg).toMatch(/[a-z]{3}/);
          expect(msg).not.toMatch(/undefined|is not a function|Maximum call|null is not|\.ts:\d/);
        }
        seen[code as 0 | 1]++;
        await traces.settle();
        expect(host()).toEqual(before);
      }),
      { numRuns: 40, endOnFailure: true },
    );
    // Else it has seen one side alone.
    expect(Math.min(seen[0], seen[1])).toBeGreaterThan(0);
  }, 240_000);
});
