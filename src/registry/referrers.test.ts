import { afterAll, afterEach, beforeAll, describe, expect, test } from "bun:test";
import { randomBytes } from "node:crypto";
import { sha256 } from "../base/digest.ts";
import { messageOf } from "../base/errors.ts";
import { type Descriptor, MEDIA } from "../spec/oci-image.ts";
import { attach, EMPTY, readArtifact, referrers, referrersTag } from "./referrers.ts";
import { Repository } from "./repository.ts";
import { DOCKER_REGISTRY, type RunningRegistry, startRegistry } from "./testing/docker-registry.ts";
import { type Interposer, interpose } from "./testing/interpose.ts";
import { TestPusher } from "./testing/push.ts";

const PATIENCE = { attempts: 2, retryDelay: 1, idle: 5000 };

describe.skipIf(!DOCKER_REGISTRY)("referrers (docker-registry, which has no API for them)", () => {
  let registry: RunningRegistry;
  let proxy: Interposer | undefined;
  beforeAll(async () => {
    registry = await startRegistry();
  });
  afterAll(() => registry?.stop());
  afterEach(async () => {
    await proxy?.stop();
    proxy = undefined;
  });

  const at = (host = registry.host) =>
    new Repository({ base: `http://${host}`, mirror: false }, "a/b", undefined, PATIENCE, "pull,push");
  const subject = (): Promise<Descriptor> => {
    const image = {
      architecture: "amd64",
      os: "linux",
      rootfs: { type: "layers", diff_ids: [] },
      author: randomBytes(9).toString("hex"),
    };
    return new TestPusher(registry.host, "a/b").image(image, [], "t");
  };
  const note = (text: string) => ({ mediaType: "text/plain", data: Buffer.from(text) });

  test("attached, listed by the tag, read again; twice is once", async () => {
    const image = await subject();
    expect(await referrers(at(), image.digest)).toEqual([]);
    const one = { artifactType: "text/one", blobs: [note("1")], annotations: { a: "b" } };
    const first = await attach(at(), image, one);
    expect(first.digest).toBe((await attach(at(), image, one)).digest);
    const second = await attach(at(), image, { artifactType: "text/two", blobs: [note("2"), note("3")] });
    expect((await referrers(at(), image.digest)).map(({ digest }) => digest)).toEqual([first.digest, second.digest]);
    expect(await referrers(at(), image.digest, { artifactType: "text/one" })).toEqual([first]);
    expect(await at().tags()).toContain(referrersTag(image.digest));
    const { manifest, blobs } = await readArtifact(at(), second.digest, { limit: 10 });
    expect(manifest.subject).toEqual({ mediaType: image.mediaType, digest: image.digest, size: image.size });
    expect(manifest.config.digest).toBe(EMPTY.digest);
    expect(blobs.map(String)).toEqual(["2", "3"]);
    expect(await readArtifact(at(), second.digest, { limit: 0 }).catch(messageOf)).toContain("more than the 0 allowed");
  });

  test("a registry with the API: pages, a filter of its own or none, no tag is made", async () => {
    const image = await subject();
    const entry = (name: string): Descriptor => ({
      mediaType: MEDIA.ociManifest,
      digest: sha256(name),
      size: 1,
      artifactType: `text/${name}`,
    });
    proxy = await interpose(registry.host, (req, res, pass) => {
      if (req.method === "PUT" && req.url!.includes("/manifests/")) {
        res.setHeader("OCI-Subject", image.digest);
        const { writeHead } = res;
        res.writeHead = ((status: number, headers: object) =>
          writeHead.call(res, status, { ...headers, "OCI-Subject": image.digest } as never)) as never;
        pass();
        return true;
      }
      if (!req.url!.includes("/referrers/")) return false;
      const second = req.url!.includes("last=");
      const headers: Record<string, string> = { "Content-Type": MEDIA.ociIndex };
      if (!second) headers.Link = `</v2/a/b/referrers/${image.digest}?last=x>; rel="next"`;
      const manifests = [entry(second ? "two" : "one")];
      res.writeHead(200, headers).end(JSON.stringify({ schemaVersion: 2, mediaType: MEDIA.ociIndex, manifests }));
      return true;
    });
    expect(await referrers(at(proxy.host), image.digest)).toEqual([entry("one"), entry("two")]);
    expect(await referrers(at(proxy.host), image.digest, { artifactType: "text/two" })).toEqual([entry("two")]);
    await attach(at(proxy.host), image, { artifactType: "text/x", blobs: [note("x")] });
    expect(await at().tags()).not.toContain(referrersTag(image.digest));
  });

  test("a tag that is no list, and lists that are not, say nothing or are refused", async () => {
    const image = await subject();
    const pusher = new TestPusher(registry.host, "a/b");
    await pusher.image({ architecture: "amd64", os: "linux" }, [], referrersTag(image.digest));
    expect(await referrers(at(), image.digest)).toEqual([]);
    proxy = await interpose(registry.host, (req, res) => {
      if (!req.url!.includes("/referrers/")) return false;
      const entry = { mediaType: MEDIA.ociManifest, digest: "sha256:../../x", size: 1 };
      const index = { schemaVersion: 2, mediaType: MEDIA.ociIndex, manifests: [entry] };
      res.writeHead(200, { "Content-Type": MEDIA.ociIndex }).end(JSON.stringify(index));
      return true;
    });
    expect(await referrers(at(proxy.host), image.digest).catch(messageOf)).toContain("has digest");
  });
});
