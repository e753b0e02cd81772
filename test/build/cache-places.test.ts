import { afterAll, afterEach, beforeAll, beforeEach, describe, expect, test } from "bun:test";
import { existsSync, mkdtempSync, readdirSync, readFileSync, rmSync, symlinkSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import type { RunningRegistry } from "../../src/registry/testing/docker-registry.ts";
import { startInroRegistry } from "../../src/registry/testing/inro-registry.ts";
import { hasBusybox, isRoot, TestEngine } from "../harness.ts";

const why = !isRoot ? "needs root" : hasBusybox ? "" : "no busybox-static";

const DOCKERFILE =
  "FROM busybox AS one\nCOPY f /f\nRUN echo ran one; head -c 16 /dev/urandom | md5sum > /one\nFROM busybox\nRUN echo ran two; date +%N > /two\nCOPY --from=one /one /one\nRUN true\n";
/** Each RUN prints what no other run of it does. */
const said = (text: string) => [...text.matchAll(/^#\d+ [\d.]+ (ran .*)$/gm)].map((match) => match[1]!).sort();

describe.skipIf(why !== "")(`caches of builds elsewhere than at registries${why && ` (${why})`}`, () => {
  let first: TestEngine;
  let other: TestEngine;
  let registry: RunningRegistry;
  let top: string;
  beforeAll(async () => {
    top = mkdtempSync(join(tmpdir(), "inro-places-"));
    [first, registry] = await Promise.all([new TestEngine().start(), startInroRegistry()]);
    await first.busybox();
    // The same image everywhere: it is part of every key.
    await first.ok("save", "-o", join(top, "busybox.tar"), "busybox");
  });
  beforeEach(async () => {
    other = await new TestEngine().start();
    await other.ok("load", "-i", join(top, "busybox.tar"));
  });
  afterEach(() => other.stop());
  afterAll(async () => {
    await first?.stop();
    await registry?.stop();
    rmSync(top, { recursive: true, force: true });
  });
  const context = (f: string, dockerfile = DOCKERFILE) => {
    const directory = mkdtempSync(join(top, "context-"));
    writeFileSync(join(directory, "Dockerfile"), dockerfile);
    writeFileSync(join(directory, "f"), f);
    return directory;
  };
  const build = (engine: TestEngine, directory: string, ...flags: string[]) =>
    engine.inro(["build", "--progress", "plain", ...flags, directory]);
  const built = async (engine: TestEngine, directory: string, ...flags: string[]) => {
    const { code, stderr } = await build(engine, directory, ...flags);
    expect([code, stderr]).toEqual([0, stderr]);
    return stderr;
  };
  const id = (engine: TestEngine, name: string) => engine.ok("image", "inspect", "--format", "{{.Id}}", name);

  test("a directory: another engine does no step, and has the same image", async () => {
    const [directory, cache] = [context("1"), join(top, "cache one")];
    expect(
      said(await built(first, directory, "-t", "made", "--cache-to", `type=local,dest=${cache},mode=max`)),
    ).toEqual(["ran one", "ran two"]);
    expect(readdirSync(cache).sort()).toEqual(["blobs", "index.json", "oci-layout"]);
    expect(said(await built(other, directory, "-t", "made", "--cache-from", `type=local,src=${cache}`))).toEqual([]);
    expect(await id(other, "made")).toBe(await id(first, "made"));
    expect(await other.ok("run", "--rm", "made", "cat", "/one", "/two")).toBe(
      await first.ok("run", "--rm", "made", "cat", "/one", "/two"),
    );
    expect((await other.inro(["system", "check", "--images"])).stdout).toStartWith("no leaks found");
  });

  test("tags stand side by side; the blobs of what a tag was are removed, those of others are not", async () => {
    const [directory, cache] = [context("tags"), join(top, "tags")];
    const blobs = () => readdirSync(join(cache, "blobs/sha256")).sort();
    const to = (tag: string) => `type=local,dest=${cache},mode=max,tag=${tag}`;
    await built(first, directory, "--cache-to", to("a"));
    const ofA = blobs();
    writeFileSync(join(directory, "f"), "changed");
    await built(first, directory, "--cache-to", to("b"));
    expect(blobs()).toEqual(expect.arrayContaining(ofA));
    const both = blobs();
    writeFileSync(join(directory, "f"), "changed again");
    await built(first, directory, "--cache-to", to("b"));
    expect(blobs()).toEqual(expect.arrayContaining(ofA));
    expect(blobs()).not.toEqual(expect.arrayContaining(both));
    const { manifests } = JSON.parse(readFileSync(join(cache, "index.json"), "utf8"));
    expect(manifests).toHaveLength(2);
    writeFileSync(join(directory, "f"), "tags");
    expect(said(await built(other, directory, "--cache-from", `type=local,src=${cache},tag=b`))).toEqual(["ran one"]);
    await other.ok("builder", "prune", "-af");
    const digest = manifests.find((one: { digest: string }) => ofA.includes(one.digest.slice("sha256:".length))).digest;
    expect(said(await built(other, directory, "--cache-from", `type=local,src=${cache},digest=${digest}`))).toEqual([]);
  });

  test("RUN cache mounts", async () => {
    const cache = join(top, "mounts");
    const dockerfile =
      "FROM busybox\nARG TURN\nRUN --mount=type=cache,target=/kept,id=kept cat /kept/list; echo $TURN >> /kept/list\n";
    const directory = context("", dockerfile);
    await built(first, directory, "--build-arg", "TURN=one", "--cache-to", `type=local,dest=${cache},mounts=true`);
    const from = ["--cache-from", `type=local,src=${cache},mounts=true`];
    expect(await built(other, directory, "--build-arg", "TURN=two", ...from)).toMatch(/^#\d+ [\d.]+ one$/m);
  });

  test("what cannot be read is told, and the build goes on", async () => {
    const directory = context("broken");
    const missing = await built(other, directory, "--cache-from", `type=local,src=${join(top, "nowhere")}`);
    expect(missing).toContain("there is no such directory");
    const cache = join(top, "broken");
    await built(first, directory, "--cache-to", `type=local,dest=${cache},mode=max`);
    expect(await built(other, directory, "--no-cache", "--cache-from", `type=local,src=${cache},tag=x`)).toContain(
      "there is no tag x in the cache",
    );
    await other.ok("builder", "prune", "-af");
    // A blob that is another, and one that is a link to somebody else's file.
    const blobs = join(cache, "blobs/sha256");
    const { manifests } = JSON.parse(readFileSync(join(cache, "index.json"), "utf8"));
    const { layers, config } = JSON.parse(readFileSync(join(blobs, manifests[0].digest.slice(7)), "utf8"));
    for (const { digest } of layers) {
      rmSync(join(blobs, digest.slice(7)));
      symlinkSync("/etc/passwd", join(blobs, digest.slice(7)));
    }
    expect(said(await built(other, directory, "--cache-from", `type=local,src=${cache}`))).toEqual([
      "ran one",
      "ran two",
    ]);
    writeFileSync(join(blobs, config.digest.slice(7)), "{}");
    const damaged = await built(other, directory, "--no-cache", "--cache-from", `type=local,src=${cache}`);
    expect(damaged).toContain("is damaged");
    expect((await other.inro(["system", "check", "--images"])).stdout).toStartWith("no leaks found");
  });

  test("where the directory is something else's, nothing in it is touched", async () => {
    const cache = mkdtempSync(join(top, "not-mine-"));
    writeFileSync(join(cache, "index.json"), "hello");
    const refused = await build(first, context("x"), "--cache-to", `type=local,dest=${cache}`);
    expect(refused.code).toBe(1);
    expect(refused.stderr).toContain("no index of an OCI layout");
    expect(readdirSync(cache)).toEqual(["index.json"]);
    expect(readFileSync(join(cache, "index.json"), "utf8")).toBe("hello");
  });

  test("an image's own: whoever names it has the steps of it, others have an image as any", async () => {
    const [directory, name] = [context("inline"), `${registry.host}/inline/app:1`];
    const made = await built(first, directory, "--no-cache", "-t", name, "--push", "--cache-to", "type=inline");
    expect(said(made)).toEqual(["ran one", "ran two"]);
    // The steps of other stages are not in it, and only a changed file asks for them.
    const again = await built(other, directory, "-t", "again", "--cache-from", name, "--cache-to", "type=inline");
    expect(said(again)).toEqual(["ran one"]);
    const plain = context(
      "",
      "FROM busybox\nRUN echo ran a; cat /proc/sys/kernel/random/uuid > /a\nRUN echo ran b; cat /proc/sys/kernel/random/uuid > /b\n",
    );
    await built(first, plain, "-t", `${registry.host}/inline/plain:1`, "--push", "--cache-to", "type=inline");
    const from = ["--cache-from", `type=registry,ref=${registry.host}/inline/plain:1`];
    expect(said(await built(other, plain, "-t", "again", ...from, "--cache-to", "type=inline"))).toEqual([]);
    await other.ok("pull", "-q", `${registry.host}/inline/plain:1`);
    expect(await id(other, "again")).toBe(await id(other, `${registry.host}/inline/plain:1`));
    expect(await other.ok("run", "--rm", "again", "cat", "/a", "/b")).toBe(
      await first.ok("run", "--rm", `${registry.host}/inline/plain:1`, "cat", "/a", "/b"),
    );
  });

  test.each([
    "type=gha",
    "type=local",
    "type=local,dest=x,mode=all",
    "type=inline,mode=max",
    "type=inline,mounts=true",
  ])("--cache-to %s is refused, and nothing is built", async (wrong) => {
    const refused = await build(other, context("x"), "-t", "never", "--cache-to", wrong);
    expect(refused.code).toBe(1);
    expect(await other.ok("images", "-q", "never")).toBe("");
    expect(existsSync("x")).toBeFalse();
  });
});
