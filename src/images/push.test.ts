import { afterAll, afterEach, beforeAll, beforeEach, describe, expect, test } from "bun:test";
import { randomBytes } from "node:crypto";
import { gunzipSync } from "node:zlib";
import { sha256 } from "../base/digest.ts";
import { messageOf } from "../base/errors.ts";
import { attach } from "../registry/referrers.ts";
import { Repository } from "../registry/repository.ts";
import { DOCKER_REGISTRY, type RunningRegistry, startRegistry } from "../registry/testing/docker-registry.ts";
import { type Interposer, interpose } from "../registry/testing/interpose.ts";
import { TestPusher } from "../registry/testing/push.ts";
import { type Manifest, MEDIA } from "../spec/oci-image.ts";
import { hostPlatform } from "./platform.ts";
import type { PushOptions } from "./push.ts";
import { Bench, configOf, isRoot, layerOf, pieces, recorder, type SampleLayer, tarOf } from "./testing/samples.ts";

const registryName = "docker-registry (Debian package), unpacked as root";

describe.skipIf(!DOCKER_REGISTRY || !isRoot)(`push to ${registryName}`, () => {
  let registry: RunningRegistry;
  let bench: Bench;
  let base: SampleLayer;
  let large: SampleLayer;
  let proxy: Interposer | undefined;

  beforeAll(async () => {
    registry = await startRegistry();
    base = await layerOf({ "etc/": "", "etc/name": "base" });
    large = await layerOf({ noise: randomBytes(3_000_000) }, "zstd");
  });
  afterAll(() => registry?.stop());
  beforeEach(() => {
    bench = new Bench();
  });
  afterEach(async () => {
    expect(bench.leftovers().temporary).toEqual([]);
    bench.close();
    await proxy?.stop();
    proxy = undefined;
  });

  const through = async (meddle: Parameters<typeof interpose>[1]) => {
    proxy = await interpose(registry.host, meddle);
    return proxy;
  };
  const push = async (reference: string, more: Partial<PushOptions> = {}, host = registry.host) => {
    const said = recorder();
    await bench.images.push({ reference: `${host}/${reference}`, tag: "t", onMessage: said.onMessage, ...more });
    return said;
  };
  const pulled = async (path: string, layers: SampleLayer[], mediaType?: string) => {
    const pusher = new TestPusher(registry.host, path);
    const { digest } = await pusher.image(configOf(layers), layers, "t");
    await bench.images.pull({ reference: `${registry.host}/${path}:t`, onMessage() {} });
    return { digest, name: `${registry.host}/${path}:t`, mediaType };
  };
  const imported = (name: string, content: string) =>
    tarOf({ "etc/": "", "etc/content": content.repeat(1000) }).then((tar) =>
      bench.images.importTar({
        source: pieces(tar),
        config: {},
        repo: name,
        tag: "t",
        signal: new AbortController().signal,
      }),
    );
  const repository = (path: string, host = registry.host) =>
    new Repository({ base: `http://${host}`, mirror: false }, path);
  const short = (layer: SampleLayer) => layer.diffId.slice(7, 19);
  const statesOf = (lines: string[], layer: SampleLayer) => {
    const own = lines.filter((line) => line.startsWith(`${short(layer)}:`)).map((line) => line.slice(14));
    return own.filter((line, i) => line !== own[i - 1]);
  };

  test("a pulled image goes as it came: same digest, layers mounted from where they came from", async () => {
    const { digest, name } = await pulled("push/from", [base, large]);
    const target = `${registry.host}/push/mounted`;
    bench.images.tag(name, target, "t");
    const said = await push("push/mounted");
    const lines = said.lines();
    expect(lines[0]).toBe(`The push refers to repository [${target}]`);
    expect(statesOf(lines, base)).toEqual(["Preparing", "Mounted from push/from"]);
    const size = (await repository("push/mounted").manifest("t")).bytes.length;
    expect(lines.at(-2)).toBe(`t: digest: ${digest} size: ${size}`);
    expect(said.messages.at(-1)!.aux).toEqual({ Tag: "t", Digest: digest, Size: size });
    expect(bench.images.find(target + ":t").digests).toContain(`${target}@${digest}`);
    expect((await repository("push/mounted").manifest("t")).digest).toBe(digest);

    const again = (await push("push/mounted")).lines();
    expect(statesOf(again, large)).toEqual(["Preparing", "Layer already exists"]);
  });

  test("where nothing can be mounted, layers are uploaded, and pull as the same image", async () => {
    const { digest, name } = await pulled("push/a", [base, large]);
    const other = await startRegistry();
    try {
      bench.images.tag(name, `${other.host}/b`, "t");
      const said = await push("b", {}, other.host);
      expect(statesOf(said.lines(), large)).toEqual(["Preparing", "Pushing", "Pushed"]);
      const last = said.messages.filter(({ status, id }) => status === "Pushing" && id === short(large)).at(-1)!;
      expect(last.progressDetail).toEqual({ current: large.data.length, total: large.data.length });
      expect((await repository("b", other.host).manifest("t")).digest).toBe(digest);
      const fresh = new Bench();
      await fresh.images.pull({ reference: `${other.host}/b:t`, onMessage() {} });
      expect(fresh.images.find(`${other.host}/b:t`).id).toBe(bench.images.find(name).id);
      fresh.close();
    } finally {
      await other.stop();
    }
  });

  test("an imported layer is compressed, to the same bytes each time, and what they are is remembered", async () => {
    const id = await imported(`${registry.host}/push/made`, "one");
    await push("push/made");
    const first = await repository("push/made").manifest("t");
    const manifest = JSON.parse(first.bytes.toString()) as Manifest;
    expect(manifest.config.digest).toBe(id);
    const [layer] = manifest.layers;
    expect(layer!.mediaType).toBe(MEDIA.ociLayerGzip);
    const blob = Buffer.concat(await Array.fromAsync((await repository("push/made").blob(layer!.digest, 0)).body));
    expect(sha256(gunzipSync(blob))).toBe(bench.images.inspect(id).RootFS.Layers![0]!);

    const seen = await through(() => false);
    bench.images.tag(id, `${seen.host}/push/again`, "t");
    await push("push/again", {}, seen.host);
    expect((await repository("push/again").manifest("t")).digest).toBe(first.digest);

    bench.images.tag(id, `${registry.host}/push/zstd`, "t");
    await push("push/zstd", { compression: "zstd" });
    const zstd = JSON.parse((await repository("push/zstd").manifest("t")).bytes.toString()) as Manifest;
    expect(zstd.layers[0]!.mediaType).toBe(MEDIA.ociLayerZstd);
  });

  test("a connection lost in the middle of a layer: the upload goes on where the registry says", async () => {
    const { name } = await pulled("push/cut", [large]);
    const half = 1_500_000;
    const ranges: (string | undefined)[] = [];
    // This registry forgets an upload whose answer was lost; one that remembers, as the specification wants, answers so.
    let state = "";
    const seen = await through((req, res) => {
      if (req.method === "GET" && state !== "") {
        res.writeHead(204, { Location: state, Range: `0-${half - 1}` }).end();
        return true;
      }
      if (req.method !== "PATCH") return false;
      ranges.push(req.headers["content-range"]);
      if (ranges.length > 1) return false;
      const chunks: Buffer[] = [];
      let taken = 0;
      const listener = async (chunk: Buffer) => {
        chunks.push(chunk);
        taken += chunk.length;
        if (taken < half) return;
        req.off("data", listener);
        const body = new Uint8Array(Buffer.concat(chunks).subarray(0, half));
        const headers = { "Content-Type": "application/octet-stream" };
        const answer = await fetch(`http://${registry.host}${req.url}`, { method: "PATCH", headers, body });
        const { pathname, search } = new URL(answer.headers.get("Location")!, `http://${registry.host}`);
        state = pathname + search;
        req.socket.destroy();
      };
      req.on("data", listener);
      return true;
    });
    bench.images.tag(name, `${seen.host}/push/cut2`, "t");
    const lines = (await push("push/cut2", {}, seen.host)).lines();
    expect(statesOf(lines, large)).toContain("Retrying in 1 second");
    expect(ranges).toEqual([undefined, `${half}-${large.data.length - 1}`]);
    expect(seen.requests.some((line) => /^GET \/v2\/push\/cut2\/blobs\/uploads\//.test(line))).toBe(true);
    expect((await repository("push/cut2").manifest("t")).bytes.length).toBeGreaterThan(0);
  });

  test("a proxy that takes no large bodies gets chunks", async () => {
    const { name, digest } = await pulled("push/chunks", [large]);
    const seen = await through((req, res) => {
      if (req.method !== "PATCH" || Number(req.headers["content-length"]) <= 1_000_000) return false;
      req.resume();
      req.on("end", () => res.writeHead(413).end());
      return true;
    });
    bench.images.tag(name, `${seen.host}/push/chunks2`, "t");
    await push("push/chunks2", {}, seen.host);
    expect((await repository("push/chunks2").manifest("t")).digest).toBe(digest);
  });

  test("429 with Retry-After, and 500, are tried again", async () => {
    const { name, digest } = await pulled("push/busy", [base]);
    const failed = new Set<string>();
    const seen = await through((req, res) => {
      const key = req.method!;
      if (failed.has(key) || req.method === "GET") return false;
      failed.add(key);
      req.resume();
      req.on("end", () => res.writeHead(key === "HEAD" ? 429 : 500, { "Retry-After": "0" }).end());
      return true;
    });
    bench.images.tag(name, `${seen.host}/push/busy2`, "t");
    await push("push/busy2", {}, seen.host);
    expect([...failed].sort()).toEqual(["HEAD", "POST", "PUT"]);
    expect((await repository("push/busy2").manifest("t")).digest).toBe(digest);
  });

  test("docker's words for what is not there", async () => {
    const { name } = await pulled("push/words", [base]);
    const failure = (work: Promise<unknown>) => work.then(() => "none", messageOf);
    expect(await failure(push("push/nothing"))).toBe(
      `An image does not exist locally with the tag: ${registry.host}/push/nothing`,
    );
    expect(await failure(push("push/words", { tag: "other" }))).toBe(
      `tag does not exist: ${registry.host}/push/words:other`,
    );
    const digest = bench.images.find(name).digests[0]!.split("@")[1]!;
    expect(await failure(push("push/words", { tag: digest }))).toBe("cannot push a digest reference");
    const platform = { os: "linux", architecture: "s390x" };
    expect(await failure(push("push/words", { platform }))).toContain("does not provide the specified platform");
  });

  test("a registry that denies, or wants a login, says so in docker's words", async () => {
    const { name } = await pulled("push/denied", [base]);
    const seen = await through((req, res) => {
      if (req.method === "HEAD") {
        res.writeHead(401).end();
        return true;
      }
      const error = { code: "DENIED", message: "requested access to the resource is denied" };
      res.writeHead(403, { "Content-Type": "application/json" }).end(JSON.stringify({ errors: [error] }));
      return true;
    });
    bench.images.tag(name, `${seen.host}/push/denied`, "t");
    expect(await push("push/denied", {}, seen.host).then(() => "none", messageOf)).toBe(
      "denied: requested access to the resource is denied",
    );
    const closed = await startRegistry({ users: { anna: "pw" } });
    try {
      bench.images.tag(name, `${closed.host}/c`, "t");
      expect(await push("c", {}, closed.host).then(() => "none", messageOf)).toBe("no basic auth credentials");
      await push("c", { auth: { username: "anna", password: "pw" } }, closed.host);
    } finally {
      await closed.stop();
    }
  });

  test("credentials do not go to another host that an upload is sent to", async () => {
    const { name } = await pulled("push/away", [base]);
    const asked: (string | undefined)[] = [];
    const elsewhere = await interpose("", (req, res) => {
      asked.push(req.headers.authorization);
      req.resume();
      res.writeHead(500).end();
      return true;
    });
    const seen = await through((req, res) => {
      if (req.method !== "POST") return false;
      if (req.headers.authorization === undefined) res.writeHead(401, { "WWW-Authenticate": 'Basic realm="x"' }).end();
      else res.writeHead(202, { Location: `http://${elsewhere.host}/upload` }).end();
      return true;
    });
    bench.images.tag(name, `${seen.host}/push/away2`, "t");
    const auth = { username: "anna", password: "pw" };
    await push("push/away2", { auth }, seen.host).catch(() => {});
    await elsewhere.stop();
    expect(asked.length).toBeGreaterThan(0);
    expect(asked.every((header) => header === undefined)).toBe(true);
  });

  test("all tags; an abort ends the uploads", async () => {
    const { name } = await pulled("push/all", [base, large]);
    bench.images.tag(name, `${registry.host}/push/all2`, "x");
    bench.images.tag(name, `${registry.host}/push/all2`, "y");
    await bench.images.push({ reference: `${registry.host}/push/all2`, onMessage() {} });
    expect((await repository("push/all2").tags()).sort()).toEqual(["x", "y"]);

    const controller = new AbortController();
    const seen = await through((req) => {
      if (req.method !== "PATCH") return false;
      controller.abort(new Error("left"));
      req.resume();
      return true;
    });
    bench.images.tag(name, `${seen.host}/push/abort`, "t");
    const failure = await push("push/abort", { signal: controller.signal }, seen.host).then(() => "none", messageOf);
    expect(failure).toBe("left");
    expect(seen.requests.some((line) => line.startsWith("DELETE"))).toBe(true);
  });

  test("what the registry has under a name: an image, an index, nothing; what is attached to it", async () => {
    const { digest, name } = await pulled("ask/one", [base]);
    const answer = await bench.images.distribution({ reference: name });
    expect(answer.Descriptor).toMatchObject({ mediaType: MEDIA.ociManifest, digest });
    expect(answer.Platforms).toEqual([{ os: hostPlatform().os, architecture: hostPlatform().architecture }]);
    const pusher = new TestPusher(registry.host, "ask/one");
    const entry = { ...answer.Descriptor, platform: { os: "linux", architecture: "arm64", variant: "v8" } };
    const index = await pusher.manifest({ schemaVersion: 2, mediaType: MEDIA.ociIndex, manifests: [entry] }, "many");
    expect(await bench.images.distribution({ reference: name.replace(/t$/, "many") })).toEqual({
      Descriptor: index,
      Platforms: [entry.platform],
    });
    const missing = bench.images.distribution({ reference: name.replace(/t$/, "none") });
    expect(await missing.then(() => "", messageOf)).toStartWith("manifest unknown: ");
    const attached = await attach(
      new Repository({ base: `http://${registry.host}`, mirror: false }, "ask/one"),
      answer.Descriptor,
      {
        artifactType: "text/x",
        blobs: [],
      },
    );
    expect((await bench.images.referrers({ reference: name })).Referrers).toEqual([attached]);
  });
});
