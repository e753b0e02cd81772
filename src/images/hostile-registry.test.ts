import { afterAll, afterEach, beforeAll, beforeEach, describe, expect, test } from "bun:test";
import { existsSync } from "node:fs";
import { join } from "node:path";
import { sha256 } from "../base/digest.ts";
import { messageOf } from "../base/errors.ts";
import { checkCredentials } from "../registry/login.ts";
import { parseManifest } from "../registry/manifest.ts";
import { Repository } from "../registry/repository.ts";
import { DOCKER_REGISTRY, type RunningRegistry, startRegistry } from "../registry/testing/docker-registry.ts";
import { type Interposer, interpose } from "../registry/testing/interpose.ts";
import { TestPusher } from "../registry/testing/push.ts";
import { type Manifest, MEDIA } from "../spec/oci-image.ts";
import { Bench, configOf, isRoot, layerOf, NOTHING, type SampleLayer } from "./testing/samples.ts";

describe.skipIf(!DOCKER_REGISTRY || !isRoot)("a registry that means ill (docker-registry behind an interposer)", () => {
  let registry: RunningRegistry;
  let layer: SampleLayer;
  let manifest: Manifest;
  let bench: Bench;
  const servers: Interposer[] = [];
  const auth = { username: "anna", password: "geheim" };
  const secret = Buffer.from("anna:geheim").toString("base64");

  beforeAll(async () => {
    registry = await startRegistry();
    layer = await layerOf({ a: "b" });
    const pusher = new TestPusher(registry.host, "a/b");
    const { digest } = await pusher.image(configOf([layer]), [layer], "t");
    const repository = new Repository({ base: `http://${registry.host}`, mirror: false }, "a/b");
    manifest = JSON.parse((await repository.manifest(digest)).bytes.toString()) as Manifest;
  });
  afterAll(() => registry?.stop());
  beforeEach(() => {
    bench = new Bench();
  });
  afterEach(async () => {
    expect(bench.leftovers()).toEqual(NOTHING);
    bench.close();
    await Promise.all(servers.splice(0).map((server) => server.stop()));
  });

  const serve = async (meddle: Parameters<typeof interpose>[1], upstream = registry.host) => {
    const server = await interpose(upstream, meddle);
    servers.push(server);
    return server;
  };
  /** A host that hears all and wants credentials. */
  const thief = async () => {
    const heard: string[] = [];
    const server: Interposer = await serve((req, res) => {
      heard.push(`${req.url} ${req.headers.authorization ?? "-"}`);
      res.writeHead(401, { "WWW-Authenticate": `Bearer realm="http://${server.host}/token",service="x"` }).end();
      return true;
    }, "");
    return { host: server.host, heard };
  };
  const pull = (host: string, reference = "a/b:t") =>
    bench.images.pull({ reference: `${host}/${reference}`, auth, onMessage() {} }).then(() => "pulled", messageOf);
  /** A registry whose manifest is another. */
  const withManifest = (value: unknown, mediaType: string = MEDIA.ociManifest) =>
    serve((req, res) => {
      if (!req.url!.includes("/manifests/")) return false;
      const body = typeof value === "string" ? value : JSON.stringify(value);
      res.writeHead(200, { "Content-Type": mediaType }).end(body);
      return true;
    });

  test("CVE-2020-15157: a layer's URLs are never asked, and no other server gets the credentials", async () => {
    const { host, heard } = await thief();
    const urls = [`http://${host}/layer`];
    const foreign = "application/vnd.docker.image.rootfs.foreign.diff.tar.gzip";
    for (const mediaType of [foreign, MEDIA.ociLayerGzip]) {
      const { digest } = { digest: sha256("not there") };
      const layers = [{ mediaType, digest, size: 9, urls }];
      const answer = await pull((await withManifest({ ...manifest, layers })).host);
      expect(answer).toMatch(mediaType === foreign ? /foreign layer/ : /blob unknown/);
    }
    expect(heard).toEqual([]);
  });

  test("CVE-2020-15157: a server that is redirected to and asks for credentials gets none", async () => {
    const { host, heard } = await thief();
    for (const part of ["/blobs/", "/manifests/"]) {
      const redirecting = await serve((req, res) => {
        if (req.headers.authorization === undefined) {
          res.writeHead(401, { "WWW-Authenticate": 'Basic realm="own"' }).end();
          return true;
        }
        if (!req.url!.includes(part)) return false;
        res.writeHead(307, { Location: `http://${host}${req.url}` }).end();
        return true;
      });
      expect(await pull(redirecting.host)).not.toBe("pulled");
    }
    const away = await serve((_req, res) => {
      res.writeHead(307, { Location: `http://${host}/v2/` }).end();
      return true;
    });
    const login = checkCredentials({ ...auth, serveraddress: away.host }, {}).then(() => "in", messageOf);
    expect(await login).toContain("401");
    expect(heard.length).toBeGreaterThan(2);
    expect(
      heard.filter((line) => line.includes("Basic") || line.includes(secret) || line.startsWith("/token")),
    ).toEqual([]);
  });

  test("a token server that redirects does not pass the password on", async () => {
    const { host, heard } = await thief();
    const registering: Interposer = await serve((req, res) => {
      if (req.url!.startsWith("/token")) res.writeHead(302, { Location: `http://${host}/token` }).end();
      else res.writeHead(401, { "WWW-Authenticate": `Bearer realm="http://${registering.host}/token"` }).end();
      return true;
    });
    expect(await pull(registering.host)).toContain("unauthorized");
    expect(heard).toEqual(["/token -"]);
  });

  test("digests that are paths", async () => {
    const outside = join(bench.dir, "content", "x");
    for (const digest of [
      "sha256:../../x",
      `sha256:${"../".repeat(21)}x`,
      "../x",
      "sha256:",
      `sha256:${"A".repeat(64)}`,
      "md5:00",
    ]) {
      const layers = [{ ...manifest.layers[0]!, digest }];
      expect(await pull((await withManifest({ ...manifest, layers })).host)).toContain("has digest");
      const config = { ...manifest.config, digest };
      expect(await pull((await withManifest({ ...manifest, config })).host)).toContain("has digest");
      const manifests = [{ mediaType: MEDIA.ociManifest, digest, size: 5 }];
      const index = { schemaVersion: 2, mediaType: MEDIA.ociIndex, manifests };
      expect(await pull((await withManifest(index, MEDIA.ociIndex)).host)).toContain("has digest");
      const naming = await serve((req, res) => {
        if (!req.url!.includes("/manifests/")) return false;
        res.writeHead(200, { "Content-Type": MEDIA.ociManifest, "Docker-Content-Digest": digest });
        res.end(JSON.stringify(manifest));
        return true;
      });
      expect(await pull(naming.host)).toContain("unusable digest");
    }
    expect(existsSync(outside)).toBe(false);
  });

  test("CVE-2021-41190: what is an index to one and a manifest to the other is neither", async () => {
    const both = { ...manifest, manifests: [] };
    for (const type of [MEDIA.ociManifest, MEDIA.ociIndex, "", "application/json"]) {
      expect(() => parseManifest(Buffer.from(JSON.stringify(both)), type)).toThrow();
    }
    expect(await pull((await withManifest(manifest, MEDIA.ociIndex)).host)).toContain("it says");
    const bare = { schemaVersion: 2, config: manifest.config, layers: manifest.layers };
    expect(await pull((await withManifest(bare, MEDIA.ociIndex)).host)).toContain("manifests is not a list");
  });

  test("documents and answers without end", async () => {
    expect(await pull((await withManifest(" ".repeat(5 << 20))).host)).toContain("answer is larger than 4194304 bytes");
    const layers = Array.from({ length: 501 }, () => manifest.layers[0]!);
    expect(await pull((await withManifest({ ...manifest, layers })).host)).toContain("more than 500 layers");
    const config = { ...manifest.config, size: 8 * 2 ** 30 };
    expect(await pull((await withManifest({ ...manifest, config })).host)).toContain("too large");
    const endless = await serve((req, res) => {
      if (!req.url!.includes("/blobs/")) return false;
      const more = () => {
        while (!res.destroyed && res.write(Buffer.alloc(65_536)));
      };
      res.writeHead(200);
      res.on("drain", more);
      more();
      return true;
    });
    expect(await pull(endless.host)).toMatch(/is larger than the \d+ bytes its manifest says/);
    const headers = await serve((_req, res) => {
      res.writeHead(401, { "WWW-Authenticate": `Basic realm="${"x".repeat(1 << 20)}"` }).end();
      return true;
    });
    expect(await pull(headers.host)).not.toBe("pulled");
  });

  test("pages of tags that lead elsewhere, or never end", async () => {
    const { host, heard } = await thief();
    const tags = (link: string, count: number) =>
      serve((req, res) => {
        if (!req.url!.includes("/tags/list")) return false;
        const names = Array.from({ length: count }, (_, i) => `t${i}`);
        res.writeHead(200, { Link: `<${link}>; rel="next"` }).end(JSON.stringify({ name: "a/b", tags: names }));
        return true;
      });
    const at = (server: Interposer) => new Repository({ base: `http://${server.host}`, mirror: false }, "a/b", auth);
    expect(await at(await tags(`http://${host}/v2/a/b/tags/list?last=x`, 1)).tags()).toEqual(["t0"]);
    expect(heard).toEqual([]);
    const endless = await tags("/v2/a/b/tags/list?last=x", 60_000);
    expect(
      await at(endless)
        .tags()
        .then(() => "", messageOf),
    ).toContain("more than 100000 tags");
  });
});
