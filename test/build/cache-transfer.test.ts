import { afterAll, beforeAll, describe, expect, test } from "bun:test";
import { mkdirSync, mkdtempSync, readdirSync, rmSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { DOCKER_REGISTRY, type RunningRegistry, startRegistry } from "../../src/registry/testing/docker-registry.ts";
import { startInroRegistry } from "../../src/registry/testing/inro-registry.ts";
import { hasBusybox, isRoot, TestEngine } from "../harness.ts";

const cannot = !isRoot ? "needs root" : hasBusybox ? "" : "no busybox-static";
const registries = [
  { name: "inro registry", start: () => startInroRegistry(), why: cannot },
  {
    name: "docker-registry",
    start: () => startRegistry(),
    why: cannot || (DOCKER_REGISTRY ? "" : "no docker-registry"),
  },
];

for (const { name, start, why } of registries) {
  describe.skipIf(why !== "")(`caches of builds at ${name}${why && ` (${why})`}`, () => {
    let registry: RunningRegistry;
    /** Whose builds are exported; the others begin with nothing. */
    let first: TestEngine;
    let top: string;
    const base = () => join(top, "busybox.tar");
    beforeAll(async () => {
      top = mkdtempSync(join(tmpdir(), "inro-cache-"));
      [registry, first] = await Promise.all([start(), new TestEngine().start()]);
      await first.busybox();
      // The same image everywhere: it is part of every key.
      await first.ok("save", "-o", base(), "busybox");
    });
    afterAll(async () => {
      await first?.stop();
      await registry?.stop();
      rmSync(top, { recursive: true, force: true });
    });

    const withOther = async (body: (engine: TestEngine) => Promise<void>) => {
      const other = await new TestEngine().start();
      try {
        await other.ok("load", "-i", base());
        await body(other);
      } finally {
        await other.stop();
      }
    };
    const build = (engine: TestEngine, directory: string, ...flags: string[]) =>
      engine.inro(["build", "--progress", "plain", ...flags, directory]);
    const context = (files: Record<string, string>) => {
      const directory = mkdtempSync(join(top, "context-"));
      for (const [path, text] of Object.entries(files)) {
        mkdirSync(join(directory, path, ".."), { recursive: true });
        writeFileSync(join(directory, path), text);
      }
      return directory;
    };
    /** Each RUN prints what no other run of it does. */
    const said = (text: string) => [...text.matchAll(/^#\d+ [\d.]+ (ran .*)$/gm)].map((match) => match[1]!);
    const DOCKERFILE =
      "FROM busybox AS one\nCOPY f /f\nRUN echo ran one; head -c 16 /dev/urandom | md5sum > /one\nFROM busybox\nRUN echo ran two; date +%N > /two\nCOPY --from=one /one /one\nRUN true\n";

    test("mode=max: another engine does no step, and has the same image", async () => {
      const ref = `${registry.host}/cache/max:1`;
      const directory = context({ Dockerfile: DOCKERFILE, f: "1" });
      const made = await build(first, directory, "-t", "made", "--cache-to", `ref=${ref},mode=max`);
      expect(made.code).toBe(0);
      expect(said(made.stderr).sort()).toEqual(["ran one", "ran two"]);
      await withOther(async (other) => {
        const again = await build(other, directory, "-t", "made", "--cache-from", ref);
        expect(again.code).toBe(0);
        expect(said(again.stderr)).toEqual([]);
        const id = ["image", "inspect", "--format", "{{.Id}}", "made"];
        expect(await other.ok(...id)).toBe(await first.ok(...id));
        expect(await other.ok("run", "--rm", "made", "cat", "/one", "/two")).toBe(
          await first.ok("run", "--rm", "made", "cat", "/one", "/two"),
        );
        // A changed file is done anew, the rest comes from there still.
        writeFileSync(join(directory, "f"), "2");
        const changed = await build(other, directory, "--cache-from", ref);
        expect(said(changed.stderr)).toEqual(["ran one"]);
        // Who does not name it does not trust it.
        writeFileSync(join(directory, "f"), "1");
        expect(said((await build(other, directory)).stderr).sort()).toEqual(["ran one", "ran two"]);
        expect((await other.inro(["system", "check", "--images"])).stdout).toStartWith("no leaks found");
      });
    });

    test("mode=min has the image's own steps alone", async () => {
      const ref = `${registry.host}/cache/min:1`;
      const directory = context({ Dockerfile: DOCKERFILE, f: "min" });
      expect((await build(first, directory, "--cache-to", `ref=${ref}`)).code).toBe(0);
      await withOther(async (other) => {
        const again = await build(other, directory, "--cache-from", `type=registry,ref=${ref}`);
        expect(said(again.stderr)).toEqual(["ran one"]);
      });
    });

    test("RUN cache mounts, where both sides ask for them; secrets never", async () => {
      const [ref, secret] = [`${registry.host}/cache/mounts:1`, `secret-${crypto.randomUUID()}`];
      const directory = context({
        Dockerfile:
          "FROM busybox\nARG TURN\nRUN --mount=type=cache,target=/kept,id=kept --mount=type=secret,id=s cat /kept/list; echo $TURN >> /kept/list; echo ran $TURN\n",
        "a-secret": secret,
      });
      const turn = (engine: TestEngine, name: string, ...flags: string[]) =>
        build(
          engine,
          directory,
          "--build-arg",
          `TURN=${name}`,
          "--secret",
          `id=s,src=${join(directory, "a-secret")}`,
          ...flags,
        );
      expect((await turn(first, "one", "--cache-to", `ref=${ref},mounts=true`)).code).toBe(0);
      await withOther(async (other) => {
        const without = await turn(other, "other", "--cache-from", ref);
        expect(without.stderr).not.toMatch(/ one$/m);
        await other.ok("builder", "prune", "-af");
        const shared = await turn(other, "two", "--cache-from", `ref=${ref},mounts=true`);
        expect(shared.stderr).toMatch(/^#\d+ [\d.]+ one$/m);
      });
    });

    test("a cache that is not there, or none, is told, and the build goes on", async () => {
      const directory = context({ Dockerfile: "FROM busybox\nRUN echo ran it\n" });
      const missing = await build(first, directory, "--no-cache", "--cache-from", `${registry.host}/cache/none:1`);
      expect(missing.code).toBe(0);
      expect(missing.stderr).toContain("is not used");
      expect(said(missing.stderr)).toEqual(["ran it"]);
      const image = `${registry.host}/cache/image:1`;
      expect((await build(first, directory, "-t", image, "--push")).code).toBe(0);
      const other = await build(first, directory, "--no-cache", "--cache-from", image);
      expect(other.code).toBe(0);
      expect(other.stderr).toContain("no cache of inro's builds");
    });

    test("an export that fails fails the build, unless it may", async () => {
      const directory = context({ Dockerfile: "FROM busybox\nRUN echo ran it\n" });
      const nowhere = "127.0.0.1:1/cache/x:1";
      expect((await build(first, directory, "--cache-to", `ref=${nowhere}`)).code).toBe(1);
      const ignored = await build(first, directory, "--cache-to", `ref=${nowhere},ignore-error=true`);
      expect(ignored.code).toBe(0);
      expect(ignored.stderr).toContain("was not exported");
      for (const wrong of ["type=gha", "type=registry", "ref=x,mode=all", "ref=x,other=1"]) {
        const refused = await build(first, directory, "--cache-to", wrong);
        expect([wrong, refused.code]).toEqual([wrong, 1]);
      }
      expect(readdirSync(join(first.dataRoot, "build/steps"))).toEqual([]);
    });
  });
}
