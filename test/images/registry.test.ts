import { afterAll, beforeAll, describe, expect, test } from "bun:test";
import { readdirSync, readFileSync, rmSync } from "node:fs";
import { join } from "node:path";
import { gzipSync, zstdCompressSync } from "node:zlib";
import { sha256 } from "../../src/base/digest.ts";
import { tarOf } from "../../src/images/testing/samples.ts";
import { DOCKER_REGISTRY, type RunningRegistry, startRegistry } from "../../src/registry/testing/docker-registry.ts";
import { interpose } from "../../src/registry/testing/interpose.ts";
import { TestPusher } from "../../src/registry/testing/push.ts";
import { MEDIA } from "../../src/spec/oci-image.ts";
import { busyboxTar, hasBusybox, isRoot, TestEngine, temporary } from "../harness.ts";
import { contents } from "./contents.ts";

const why = !isRoot ? "needs root" : !hasBusybox ? "no busybox-static" : !DOCKER_REGISTRY ? "no docker-registry" : "";
const arch = process.arch === "x64" ? "amd64" : "arm64";

describe.skipIf(why !== "")(`pull from docker-registry${why && ` (${why})`}`, () => {
  let engine: TestEngine;
  let registry: RunningRegistry;
  let pusher: TestPusher;
  const digests: Record<string, string> = {};

  beforeAll(async () => {
    [engine, registry] = await Promise.all([new TestEngine().start(), startRegistry()]);
    pusher = new TestPusher(registry.host, "team/app");
    const dir = temporary();
    const base = readFileSync(busyboxTar(dir));
    const top = await tarOf({ "etc/": "", "etc/version": "two\n", "etc/.wh.group": "" });
    const config = (platform: string, cmd: string) => ({
      architecture: platform,
      os: "linux",
      config: { Cmd: ["cat", "/etc/version"], Env: ["PATH=/bin", `FROM=${cmd}`], WorkingDir: "/tmp" },
      rootfs: { type: "layers", diff_ids: [sha256(base), sha256(top)] },
    });
    const gzip = [
      { data: gzipSync(base, { level: 1 }), mediaType: MEDIA.ociLayerGzip },
      { data: gzipSync(top), mediaType: MEDIA.ociLayerGzip },
    ];
    const zstd = [
      { data: zstdCompressSync(base), mediaType: MEDIA.ociLayerZstd },
      { data: zstdCompressSync(top), mediaType: MEDIA.ociLayerZstd },
    ];
    const here = await pusher.image(config(arch, "gzip"), gzip, "gzip", { os: "linux", architecture: arch });
    const s390x = await pusher.image(config("s390x", "s390x"), gzip, "s390x", { os: "linux", architecture: "s390x" });
    const packed = await pusher.image(config(arch, "zstd"), zstd, "zstd");
    const index = { schemaVersion: 2 as const, mediaType: MEDIA.ociIndex, manifests: [s390x, here] };
    const many = await pusher.manifest(index, "latest");
    Object.assign(digests, { gzip: here.digest, zstd: packed.digest, index: many.digest, s390x: s390x.digest });
    rmSync(dir, { recursive: true });
  });
  afterAll(async () => {
    await registry?.stop();
    await engine?.stop();
  });

  test.each(["gzip", "zstd"])("a tag, layers in %s", async (form) => {
    const name = `${registry.host}/team/app:${form}`;
    const first = await engine.inro(["pull", name]);
    expect(first).toMatchObject({ code: 0, stderr: "" });
    const lines = first.stdout.trimEnd().split("\n");
    expect(lines[0]).toBe(`${form}: Pulling from team/app`);
    expect(
      lines.filter((line) => / Pull complete$/.test(line)).length +
        lines.filter((l) => / Already exists$/.test(l)).length,
    ).toBe(2);
    expect(lines.slice(-3)).toEqual([`Digest: ${digests[form]}`, `Status: Downloaded newer image for ${name}`, name]);
    // Not a terminal: whole lines, nothing that moves a cursor, no counting.
    expect(first.stdout).not.toMatch(/[\x1b\r]|\[=*>|B\/\d/);
    const again = await engine.ok("pull", name);
    expect(again.split("\n").slice(-2)).toEqual([`Status: Image is up to date for ${name}`, name]);
    expect(await engine.ok("run", "--rm", name)).toBe("two");
    const script = "echo $FROM; pwd; ls /etc/group /etc/version 2>/dev/null";
    expect((await engine.inro(["run", "--rm", name, "sh", "-c", script])).stdout).toBe(`${form}\n/tmp\n/etc/version\n`);
  });

  test("an index: this machine's platform, another by --platform, by digest", async () => {
    const name = `${registry.host}/team/app`;
    const out = await engine.ok("pull", name);
    expect(out).toContain("Using default tag: latest\n");
    expect(out).toContain(`Digest: ${digests.index}`);
    expect(await engine.ok("inspect", "-f", "{{.Architecture}} {{.RepoDigests}}", `${name}:latest`)).toContain(
      `${arch} [${name}@`,
    );
    await engine.ok("pull", "--platform", "linux/s390x", "-q", name);
    expect(await engine.ok("inspect", "-f", "{{.Architecture}}", `${name}:latest`)).toBe("s390x");

    const pinned = `${name}@${digests.index}`;
    expect(await engine.ok("pull", pinned)).toContain(`Digest: ${digests.index}`);
    expect(await engine.ok("run", "--rm", pinned, "sh", "-c", "echo $FROM")).toBe("gzip");
  });

  test("all tags of a repository", async () => {
    await engine.ok("pull", "-q", `${registry.host}/team/app:gzip`);
    const name = `${registry.host}/team/all`;
    for (const tag of ["1", "2"]) {
      await engine.ok("tag", `${registry.host}/team/app:gzip`, `${name}:${tag}`);
      await engine.ok("push", "-q", `${name}:${tag}`);
      await engine.ok("rmi", `${name}:${tag}`);
    }
    const tags = () => engine.ok("images", "--format", "{{.Tag}}", name);
    expect(await tags()).toBe("");
    expect((await engine.ok("pull", "-a", name)).split("\n").at(-1)).toBe(name);
    expect((await tags()).split("\n").sort()).toEqual(["1", "2"]);
    expect(await engine.ok("pull", "-aq", name)).toBe(name);
    expect(await engine.ok("push", "-aq", name)).toBe(name);
    // A name without a tag is all of them for save too, whether one is "latest" or not.
    const archive = join(engine.dir, "all.tar");
    await engine.ok("save", "-o", archive, name);
    expect((await engine.ok("load", "-i", archive)).split("\n").sort()).toEqual(
      ["1", "2"].map((tag) => `Loaded image: ${name}:${tag}`),
    );
    const until = (...times: string[]) =>
      engine.ok("images", "-q", ...times.flatMap((time) => ["-f", `until=${time}`]), name);
    expect(await until("0s", "1m")).not.toBe("");
    expect((await engine.inro(["pull", "-a", `${name}:1`])).stderr).toContain("tag can't be used with --all-tags/-a");
  });

  test("run pulls what is missing, and says so on stderr", async () => {
    const name = `${registry.host}/team/app:gzip`;
    await engine.inro(["rmi", "-f", name]);
    const { code, stdout, stderr } = await engine.inro(["run", "--rm", name]);
    expect({ code, stdout }).toEqual({ code: 0, stdout: "two\n" });
    expect(stderr).toContain(`Unable to find image '${name}' locally\n`);
    expect(stderr).toContain(`Status: Downloaded newer image for ${name}`);
    expect((await engine.inro(["run", "--rm", "--pull", "never", `${registry.host}/team/app:zstd-not`])).code).toBe(
      125,
    );
  });

  test("what is not there: the message names it, status 1, nothing is left", async () => {
    const before = await contents(engine);
    for (const [name, text] of [
      [`${registry.host}/team/app:nope`, /manifest for .*\/team\/app:nope not found: .*manifest unknown/],
      [`${registry.host}/team/nope`, /not found|does not exist/],
      [`${registry.host}/team/app@sha256:${"0".repeat(64)}`, /not found: .*manifest unknown/],
    ] as const) {
      const { code, stderr } = await engine.inro(["pull", name]);
      expect(code).toBe(1);
      expect(stderr).toMatch(/^Error response from daemon: /);
      expect(stderr).toMatch(text);
      expect((await engine.inro(["run", "--rm", name])).code).toBe(125);
    }
    expect((await engine.inro(["pull", "Upper/CASE"])).stderr).toContain("invalid reference format");
    expect(await contents(engine)).toEqual(before);
  });

  test("a registry that gives other bytes than the digest says, or none: an error, no blob, no layer, no image", async () => {
    const broken = new TestPusher(registry.host, "team/broken");
    const layer = await tarOf({ file: Buffer.alloc(50_000, "random-not-so ") });
    const config = {
      architecture: arch,
      os: "linux",
      config: {},
      rootfs: { type: "layers", diff_ids: [sha256(layer)] },
    };
    await broken.image(config, [{ data: layer, mediaType: MEDIA.ociLayer }], "latest");
    const before = await contents(engine);
    for (const [meddle, text] of [
      [(body: Buffer) => Buffer.from(body).fill(1, 100, 110), /verification failed for digest/],
      [(body: Buffer) => Buffer.concat([body, Buffer.from("more")]), /larger than|verification failed/],
    ] as const) {
      const middle = await interpose(registry.host, (request, response) => {
        if (!request.url?.includes(`/blobs/${sha256(layer)}`)) return false;
        response.end(meddle(layer));
        return true;
      });
      const { code, stderr } = await engine.inro(["pull", `${middle.host}/team/broken`]);
      await middle.stop();
      expect(code).toBe(1);
      expect(stderr).toMatch(text);
    }
    expect(await contents(engine)).toEqual(before);
    expect(readdirSync(join(engine.dataRoot, "content/ingest"))).toEqual([]);
    expect(await engine.ok("images", "-q", "--filter", "reference=*/team/broken")).toBe("");
  });

  test("an engine that dies in a pull: the next one resumes, and nothing is half-made", async () => {
    const layer = await tarOf({ data: Buffer.from(crypto.getRandomValues(new Uint8Array(60_000))) });
    const slow = new TestPusher(registry.host, "team/slow");
    const config = {
      architecture: arch,
      os: "linux",
      config: {},
      rootfs: { type: "layers", diff_ids: [sha256(layer)] },
    };
    await slow.image(config, [{ data: layer, mediaType: MEDIA.ociLayer }], "latest");
    let begun!: () => void;
    const inTheMiddle = new Promise<void>((resolve) => {
      begun = resolve;
    });
    let hang = true;
    const middle = await interpose(registry.host, (request, response) => {
      if (!hang || !request.url?.includes(`/blobs/${sha256(layer)}`)) return false;
      response.writeHead(200, { "Content-Length": layer.length, "Content-Type": "application/octet-stream" });
      response.write(layer.subarray(0, 30_000), () => begun());
      return true;
    });
    const before = await contents(engine);
    const pulling = engine.inro(["pull", `${middle.host}/team/slow`]);
    await inTheMiddle;
    await engine.kill("SIGKILL");
    expect((await pulling).code).not.toBe(0);
    await engine.start();
    expect(await contents(engine)).toEqual(before);
    hang = false;
    await engine.ok("pull", `${middle.host}/team/slow`);
    expect(readdirSync(join(engine.dataRoot, "content/ingest"))).toEqual([]);
    await middle.stop();
    expect((await engine.inro(["system", "check"])).code).toBe(0);
  });
});

describe.skipIf(why !== "")(`a registry with passwords${why && ` (${why})`}`, () => {
  let engine: TestEngine;
  let registry: RunningRegistry;
  beforeAll(async () => {
    [engine, registry] = await Promise.all([
      new TestEngine().start(),
      startRegistry({ users: { ann: "s3cret:with colon" } }),
    ]);
    const layer = await tarOf({ file: "private\n" });
    const config = {
      architecture: arch,
      os: "linux",
      config: {},
      rootfs: { type: "layers", diff_ids: [sha256(layer)] },
    };
    const pusher = new TestPusher(registry.host, "private", { username: "ann", password: "s3cret:with colon" });
    await pusher.image(config, [{ data: gzipSync(layer), mediaType: MEDIA.ociLayerGzip }], "1");
  });
  afterAll(async () => {
    await registry?.stop();
    await engine?.stop();
  });

  const pull = async (auth?: object) => {
    const path = `/images/create?fromImage=${encodeURIComponent(`${registry.host}/private`)}&tag=1`;
    const header = auth ? { "X-Registry-Auth": Buffer.from(JSON.stringify(auth)).toString("base64url") } : undefined;
    const answer = await engine.api("POST", path, undefined, header);
    return { status: answer.status, text: await answer.text() };
  };

  test("X-Registry-Auth opens it; none, or a wrong one, does not, and the password is in no message or log", async () => {
    const none = await pull();
    expect(none.text).toMatch(/no basic auth credentials|pull access denied|unauthorized|authentication required/);
    const wrong = await pull({ username: "ann", password: "wr0ng-w0rd" });
    expect(wrong.text).toMatch(/unauthorized|denied|authentication required/);
    expect(await engine.ok("images", "-q")).toBe("");
    const right = await pull({ username: "ann", password: "s3cret:with colon", serveraddress: registry.host });
    expect(right.status).toBe(200);
    expect(right.text).toContain("Status: Downloaded newer image");
    expect(await engine.ok("images", "--format", "{{.Repository}}:{{.Tag}}")).toBe(`${registry.host}/private:1`);
    const said = none.text + wrong.text + right.text + engine.log;
    expect(said).not.toContain("wr0ng");
    expect(said).not.toContain("s3cret");
    expect(said).not.toContain(Buffer.from("ann:s3cret:with colon").toString("base64"));
  });

  test("a header that is no credentials is a 400", async () => {
    const path = "/images/create?fromImage=x&tag=1";
    const answer = await engine.api("POST", path, undefined, { "X-Registry-Auth": "%%%" });
    expect([200, 400]).toContain(answer.status);
  });
});
