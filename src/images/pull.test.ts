import { afterAll, afterEach, beforeAll, beforeEach, describe, expect, test } from "bun:test";
import { randomBytes } from "node:crypto";
import { readdirSync, readFileSync, statSync } from "node:fs";
import { join } from "node:path";
import { sha256 } from "../base/digest.ts";
import { messageOf } from "../base/errors.ts";
import { DOCKER_REGISTRY, type RunningRegistry, startRegistry } from "../registry/testing/docker-registry.ts";
import { type Interposer, interpose } from "../registry/testing/interpose.ts";
import { TestPusher } from "../registry/testing/push.ts";
import { type Index, type Manifest, MEDIA } from "../spec/oci-image.ts";
import { hostPlatform } from "./platform.ts";
import { Bench, configOf, isRoot, layerOf, NOTHING, recorder, type SampleLayer } from "./testing/samples.ts";

const registryName = "docker-registry (Debian package), unpacked as root";

describe.skipIf(!DOCKER_REGISTRY || !isRoot)(`pull from ${registryName}`, () => {
  let registry: RunningRegistry;
  let bench: Bench;
  let base: SampleLayer;
  let top: SampleLayer;
  let proxy: Interposer | undefined;

  beforeAll(async () => {
    registry = await startRegistry();
    base = await layerOf({ "etc/": "", "etc/name": "base", gone: "x" });
    top = await layerOf({ "etc/": "", "etc/name": "top", ".wh.gone": "", noise: randomBytes(300_000) }, "zstd");
  });
  afterAll(() => registry?.stop());
  beforeEach(() => {
    bench = new Bench();
  });
  afterEach(async () => {
    bench.close();
    await proxy?.stop();
    proxy = undefined;
  });

  const pusher = (path = "a/b") => new TestPusher(registry.host, path);
  const pull = async (
    reference: string,
    more: { platform?: string; all?: boolean; signal?: AbortSignal; tag?: string } = {},
  ) => {
    const said = recorder();
    await bench.images.pull({ reference: `${registry.host}/${reference}`, onMessage: said.onMessage, ...more });
    return said;
  };

  test("layers, names, messages and files are right; a second pull is up to date", async () => {
    const pushed = await pusher().image(configOf([base, top]), [base, top], "one");
    const said = await pull("a/b:one");
    const name = `${registry.host}/a/b`;
    const [first, second] = [base, top].map((layer) => sha256(layer.data).slice(7, 19));
    const lines = said.lines();
    expect(lines[0]).toBe("one: Pulling from a/b");
    for (const id of [first, second]) {
      const own = lines.filter((line) => line.startsWith(`${id}:`)).map((line) => line.slice(14));
      const distinct = own.filter((line, i) => line !== own[i - 1] && line !== "Waiting");
      expect(distinct).toEqual([
        "Pulling fs layer",
        "Downloading",
        "Verifying Checksum",
        "Download complete",
        "Extracting",
        "Pull complete",
      ]);
    }
    expect(lines.slice(-2)).toEqual([`Digest: ${pushed.digest}`, `Status: Downloaded newer image for ${name}:one`]);
    const progress = said.messages.filter((message) => message.status === "Downloading" && message.id === second);
    expect(progress.at(-1)!.progressDetail).toEqual({ current: top.data.length, total: top.data.length });

    const image = bench.images.find(`${name}:one`);
    expect(image.id).toBe(sha256(JSON.stringify(configOf([base, top]))));
    expect(image.tags).toEqual([`${name}:one`]);
    expect(image.digests).toEqual([`${name}@${pushed.digest}`]);
    expect(readFileSync(join(image.layers[0]!, "etc/name"), "utf8")).toBe("top");
    expect(readFileSync(join(bench.layers.lowers([base.diffId])[0]!, "etc/name"), "utf8")).toBe("base");
    expect(image.config.config?.Env).toEqual(["A=b"]);

    const again = (await pull("a/b:one")).lines();
    expect(again).toEqual([
      "one: Pulling from a/b",
      `Digest: ${pushed.digest}`,
      `Status: Image is up to date for ${name}:one`,
    ]);
  });

  test("a layer that another image has is not fetched again", async () => {
    await pusher("share/a").image(configOf([base]), [base], "one");
    await pusher("share/b").image(configOf([base, top]), [base, top], "one");
    await pull("share/a:one");
    const lines = (await pull("share/b:one")).lines();
    expect(lines).toContain(`${sha256(base.data).slice(7, 19)}: Already exists`);
    expect(lines).toContain(`${sha256(top.data).slice(7, 19)}: Pull complete`);
  });

  test("by digest: no tag, and the digest is a name", async () => {
    const { digest } = await pusher("by/digest").image(configOf([base]), [base], "one");
    const name = `${registry.host}/by/digest@${digest}`;
    const lines = (await pull("by/digest", { tag: digest })).lines();
    expect(lines[0]).toBe(`${name}: Pulling from by/digest`);
    expect(lines.at(-1)).toBe(`Status: Downloaded newer image for ${name}`);
    expect(bench.images.find(name).tags).toEqual([]);
    expect((await pull("by/digest", { tag: digest })).lines().at(-1)).toBe(`Status: Image is up to date for ${name}`);
  });

  test("all tags", async () => {
    for (const tag of ["x", "y"]) await pusher("all/tags").image(configOf([base], { author: tag }), [base], tag);
    const lines = (await pull("all/tags", { all: true })).lines();
    expect(lines.at(-1)).toBe(`Status: Downloaded newer image for ${registry.host}/all/tags`);
    expect(
      bench.images
        .list()
        .flatMap((image) => image.tags)
        .sort(),
    ).toEqual(["x", "y"].map((t) => `${registry.host}/all/tags:${t}`));
  });

  test("a moved tag: the old image stays, untagged", async () => {
    await pusher("moved").image(configOf([base], { author: "1" }), [base], "t");
    await pull("moved:t");
    const old = bench.images.find(`${registry.host}/moved:t`);
    await pusher("moved").image(configOf([base], { author: "2" }), [base], "t");
    await pull("moved:t");
    expect(bench.images.find(`${registry.host}/moved:t`).id).not.toBe(old.id);
    expect(bench.images.find(old.id).tags).toEqual([]);
  });

  describe("index", () => {
    const host = hostPlatform();
    const other = { os: "linux", architecture: host.architecture === "s390x" ? "amd64" : "s390x" };

    async function pushIndex(path: string): Promise<string> {
      const push = pusher(path);
      const entries = [
        await push.image(configOf([base], other), [base], "", other),
        await push.image(configOf([base, top]), [base, top], "", host),
      ];
      const attestation = { ...entries[0]!, platform: { os: "unknown", architecture: "unknown" } };
      const index: Index = { schemaVersion: 2, mediaType: MEDIA.ociIndex, manifests: [attestation, ...entries] };
      return (await push.manifest(index, "multi")).digest;
    }

    test("takes this machine's platform; RepoDigests names the index", async () => {
      const digest = await pushIndex("index/own");
      await pull("index/own:multi");
      const image = bench.images.find(`${registry.host}/index/own:multi`);
      expect(image.config.architecture).toBe(host.architecture);
      expect(image.digests).toEqual([`${registry.host}/index/own@${digest}`]);
    });

    test("takes the platform asked for", async () => {
      await pushIndex("index/other");
      await pull("index/other:multi", { platform: `linux/${other.architecture}` });
      expect(bench.images.find(`${registry.host}/index/other:multi`).config.architecture).toBe(other.architecture);
    });

    test("names the platforms there are when none fits", async () => {
      await pushIndex("index/none");
      const failed = pull("index/none:multi", { platform: "linux/mips64le" });
      await expect(failed).rejects.toThrow(
        `no matching manifest for linux/mips64le in the manifest list entries (available: linux/${other.architecture}, linux/${host.architecture}`,
      );
      expect(bench.leftovers()).toEqual(NOTHING);
    });

    test("an entry whose config is for another platform is refused", async () => {
      const push = pusher("index/liar");
      const entry = await push.image(configOf([base], other), [base], "", host);
      await push.manifest({ schemaVersion: 2, mediaType: MEDIA.ociIndex, manifests: [entry] }, "multi");
      await expect(pull("index/liar:multi")).rejects.toThrow("does not match the specified platform");
      expect(bench.leftovers()).toEqual(NOTHING);
    });
  });

  describe("refuses, leaving nothing", () => {
    const hostile: [string, object | Uint8Array, string][] = [
      ["a config with an Env that is no list", { config: { Env: "A=b" } }, "config.Env is not a list"],
      ["a config with a NUL", { config: { User: "root\0x" } }, "config.User is not free of NUL"],
      [
        "a config with too few diffIDs",
        { rootfs: { type: "layers", diff_ids: [] } },
        "image config names 0 layers, the manifest 1",
      ],
      ["a config for windows", { os: "windows" }, 'image operating system "windows" cannot be used on this platform'],
      ["a config that is no JSON", Buffer.from("{"), "invalid image config: not JSON"],
      ["a config with a wrong diffID", { rootfs: { type: "layers", diff_ids: [sha256("wrong")] } }, "the image says"],
    ];
    for (const [name, change, message] of hostile) {
      test(name, async () => {
        const path = `hostile/${sha256(name).slice(7, 19)}`;
        const config = change instanceof Uint8Array ? change : { ...configOf([base]), ...change };
        await pusher(path).image(config, [base], "t");
        await expect(pull(`${path}:t`)).rejects.toThrow(message);
        expect(bench.leftovers()).toEqual(NOTHING);
        expect(bench.images.list()).toEqual([]);
      });
    }

    test("a config of more than 4 MiB", async () => {
      await pusher("hostile/huge").image(configOf([base], { author: "x".repeat(5 << 20) }), [base], "t");
      await expect(pull("hostile/huge:t")).rejects.toThrow("too large");
      expect(bench.leftovers()).toEqual(NOTHING);
    });

    test("a foreign layer", async () => {
      const manifest = await manifestWith("foreign", "application/vnd.docker.image.rootfs.foreign.diff.tar.gzip");
      proxy = await serving(Buffer.from(JSON.stringify(manifest)), MEDIA.ociManifest);
      await expect(pullFrom(proxy, "foreign")).rejects.toThrow("is a foreign layer");
    });

    test("an artifact that is no image", async () => {
      const manifest = await manifestWith("artifact", "application/vnd.in-toto+json");
      proxy = await serving(Buffer.from(JSON.stringify(manifest)), MEDIA.ociManifest);
      await expect(pullFrom(proxy, "artifact")).rejects.toThrow("unsupported layer media type");
    });

    test("schema 1", async () => {
      proxy = await serving(
        Buffer.from('{"schemaVersion":1,"fsLayers":[]}'),
        "application/vnd.docker.distribution.manifest.v1+prettyjws",
      );
      await expect(pullFrom(proxy, "old")).rejects.toThrow("schema 1 is not supported");
    });

    test("a document that is index and manifest (CVE-2021-41190)", async () => {
      const manifest = { ...(await manifestWith("both", MEDIA.ociLayerGzip)), manifests: [] };
      proxy = await serving(Buffer.from(JSON.stringify(manifest)), MEDIA.ociManifest);
      await expect(pullFrom(proxy, "both")).rejects.toThrow("has both manifests and layers");
    });

    async function manifestWith(path: string, mediaType: string): Promise<Manifest> {
      const push = pusher(path);
      const config = await push.blob(Buffer.from(JSON.stringify(configOf([base]))), MEDIA.ociConfig);
      const layer = { ...(await push.blob(base.data, MEDIA.ociLayerGzip)), mediaType };
      return { schemaVersion: 2, mediaType: MEDIA.ociManifest, config, layers: [layer] };
    }
    const serving = (bytes: Buffer, mediaType: string) =>
      interpose(registry.host, (req, res) => {
        if (!req.url!.includes("/manifests/")) return false;
        res.writeHead(200, { "Content-Type": mediaType }).end(bytes);
        return true;
      });
    async function pullFrom(from: Interposer, path: string): Promise<void> {
      try {
        await bench.images.pull({ reference: `${from.host}/${path}:t`, onMessage: () => {} });
      } finally {
        expect(bench.leftovers()).toEqual(NOTHING);
      }
    }
  });

  test("a corrupt layer fails the pull; the good ones go too", async () => {
    await pusher("corrupt").image(configOf([base, top]), [base, top], "t");
    proxy = await interpose(registry.host, (req, _res, pass) => {
      if (!req.url!.endsWith(sha256(top.data))) return false;
      pass((body) => {
        body[100]! ^= 1;
        return body;
      });
      return true;
    });
    const failed = bench.images.pull({ reference: `${proxy.host}/corrupt:t`, onMessage: () => {} });
    await expect(failed).rejects.toThrow(`filesystem layer verification failed for digest ${sha256(top.data)}`);
    expect(bench.leftovers()).toEqual(NOTHING);
  });

  test("an abort rejects with its reason, leaves no blob or layer, and the next pull resumes", async () => {
    await pusher("abort").image(configOf([base, top]), [base, top], "t");
    const controller = new AbortController();
    proxy = await interpose(registry.host, (req, res) => {
      if (!req.url!.endsWith(sha256(top.data)) || req.headers.range) return false;
      res.writeHead(200, { "Content-Length": String(top.data.length) });
      res.write(top.data.subarray(0, 1000));
      return true;
    });
    const reference = `${proxy.host}/abort:t`;
    const onMessage = ({ status, progressDetail }: { status?: string; progressDetail?: { current?: number } }) => {
      if (status === "Downloading" && progressDetail?.current === 1000) controller.abort(new Error("stop"));
    };
    await expect(bench.images.pull({ reference, onMessage, signal: controller.signal })).rejects.toThrow("stop");
    expect(bench.leftovers()).toEqual(NOTHING);
    await bench.images.pull({ reference, onMessage: () => {} });
    // The other layer may come before or after it.
    expect(proxy.requests.filter((line) => line.includes(sha256(top.data))).at(-1)).toEndWith("bytes=1000-");
    expect(bench.images.layerSizes(reference).size).toBe(2);
  });

  describe("a large layer is taken in while it arrives", () => {
    let large: SampleLayer;
    beforeAll(async () => {
      large = await layerOf({ noise: randomBytes(3 << 20) });
    });
    /** Bytes of tars that are being made. */
    const made = () => {
      const names = readdirSync(join(bench.dir, "layers")).filter((name) => name.startsWith("tmp-"));
      const tars = names.map((name) =>
        statSync(join(bench.dir, "layers", name, "layer.tar"), { throwIfNoEntry: false }),
      );
      return tars.reduce((sum, tar) => sum + (tar?.size ?? 0), 0);
    };
    let ends = 0;
    /** A registry that sends half, and the rest, or what `end` makes of it, once half of the layer is there. */
    const halting = async (end: (rest: Buffer, send: (rest: Buffer) => void, cut: () => void) => void) => {
      let halves = 0;
      ends = 0;
      proxy = await interpose(registry.host, (req, res) => {
        if (!req.url!.endsWith(sha256(large.data)) || halves++ > 0) return false;
        const half = large.data.length >> 1;
        res.writeHead(200, { "Content-Length": String(large.data.length) });
        res.write(large.data.subarray(0, half));
        const look = () => {
          // All that is there but what the decompressor holds back.
          if (res.destroyed) return;
          if (made() < 1 << 20) return void setImmediate(look);
          ends++;
          end(
            Buffer.from(large.data.subarray(half)),
            (rest) => res.end(rest),
            () => res.destroy(),
          );
        };
        look();
        return true;
      });
      return proxy.host;
    };

    test("the layer is made before the blob is whole", async () => {
      await pusher("large").image(configOf([large]), [large], "t");
      const host = await halting((rest, send) => send(rest));
      await bench.images.pull({ reference: `${host}/large:t`, onMessage: () => {} });
      expect(ends).toBe(1);
      expect(bench.images.layerSizes(`${host}/large:t`).size).toBe(1);
      expect(bench.leftovers()).toEqual({ blobs: 3, layers: 1, temporary: [] });
    });

    test("a lost connection is taken up, by the layer too", async () => {
      await pusher("large").image(configOf([large]), [large], "t");
      const host = await halting((_rest, _send, cut) => cut());
      await bench.images.pull({ reference: `${host}/large:t`, onMessage: () => {} });
      expect(ends).toBe(1);
      expect(proxy!.requests.at(-1)).toContain("bytes=");
      expect(bench.leftovers()).toEqual({ blobs: 3, layers: 1, temporary: [] });
    });

    test("of one whose digest is wrong in the end nothing is left", async () => {
      await pusher("large").image(configOf([large]), [large], "t");
      const host = await halting((rest, send) => {
        rest[rest.length - 1]! ^= 1;
        send(rest);
      });
      const failed = bench.images.pull({ reference: `${host}/large:t`, onMessage: () => {} });
      await expect(failed).rejects.toThrow(`filesystem layer verification failed for digest ${sha256(large.data)}`);
      expect(ends).toBe(1);
      expect(bench.leftovers()).toEqual(NOTHING);
    });
  });

  test("concurrent pulls fetch a blob once; one that is aborted does not disturb the other", async () => {
    await pusher("twice/a").image(configOf([base, top]), [base, top], "t");
    await pusher("twice/b").image(configOf([base, top], { author: "b" }), [base, top], "t");
    let release = () => {};
    const held = new Promise<void>((resolve) => {
      release = resolve;
    });
    proxy = await interpose(registry.host, (req, _res, pass) => {
      if (!req.url!.endsWith(sha256(top.data))) return false;
      held.then(() => pass());
      return true;
    });
    const controller = new AbortController();
    const { host, requests } = proxy;
    const first = recorder();
    const a = bench.images
      .pull({ reference: `${host}/twice/a:t`, onMessage: first.onMessage, signal: controller.signal })
      .then(() => "done", messageOf);
    while (!first.lines().some((line) => line.includes("Pull complete"))) await new Promise(setImmediate);
    // The second finds the base layer there, and waits for the same blob.
    const said = recorder();
    const b = bench.images.pull({ reference: `${host}/twice/b:t`, onMessage: said.onMessage });
    while (!said.lines().some((line) => line.includes("Already exists"))) await new Promise(setImmediate);
    controller.abort(new Error("stop"));
    expect(await a).toBe("stop");
    release();
    await b;
    expect(requests.filter((line) => line.includes(sha256(top.data))).length).toBe(1);
    expect(bench.images.list().length).toBe(1);
    expect(bench.leftovers()).toEqual({ blobs: 4, layers: 2, temporary: [] });
  });

  test("a missing tag and a missing repository", async () => {
    await pusher("there").image(configOf([base]), [base], "t");
    await expect(pull("there:nope")).rejects.toThrow(`manifest for ${registry.host}/there:nope not found: `);
    await expect(pull("nowhere:t")).rejects.toMatchObject({ kind: "notFound" });
  });

  test("a password", async () => {
    const guarded = await startRegistry({ users: { tester: "secret" } });
    try {
      const auth = { username: "tester", password: "secret" };
      await new TestPusher(guarded.host, "a/b", auth).image(configOf([base]), [base], "t");
      const reference = `${guarded.host}/a/b:t`;
      const denied = bench.images.pull({ reference, onMessage: () => {} });
      await expect(denied).rejects.toThrow(
        `pull access denied for ${guarded.host}/a/b, repository does not exist or may require 'docker login'`,
      );
      const wrong = bench.images.pull({ reference, auth: { ...auth, password: "no" }, onMessage: () => {} });
      await expect(wrong).rejects.toMatchObject({ kind: "unauthorized" });
      await bench.images.pull({ reference, auth, onMessage: () => {} });
      expect(bench.images.find(reference).tags).toEqual([reference]);
    } finally {
      await guarded.stop();
    }
  });

  test("docker.io through a mirror", async () => {
    await pusher("library/thing").image(configOf([base]), [base], "latest");
    bench.close();
    bench = new Bench({ registries: () => ({ mirrors: [`http://${registry.host}`] }) });
    const said = recorder();
    await bench.images.pull({ reference: "thing", onMessage: said.onMessage });
    expect(said.lines()[0]).toBe("latest: Pulling from library/thing");
    expect(said.lines().at(-1)).toBe("Status: Downloaded newer image for thing:latest");
    expect(bench.images.find("thing").tags).toEqual(["thing:latest"]);
  });
});
