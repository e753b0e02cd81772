import { afterAll, afterEach, beforeAll, beforeEach, describe, expect, test } from "bun:test";
import { randomBytes } from "node:crypto";
import { mkdtempSync, rmSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { sha256 } from "../base/digest.ts";
import { ContentStore } from "../content/store.ts";
import { MEDIA } from "../spec/oci-image.ts";
import { download } from "./download.ts";
import { Repository } from "./repository.ts";
import { DOCKER_REGISTRY, type RunningRegistry, startRegistry } from "./testing/docker-registry.ts";
import { type Interposer, interpose } from "./testing/interpose.ts";
import { TestPusher } from "./testing/push.ts";

const PATIENCE = { attempts: 3, retryDelay: 1, idle: 2000 };

describe.skipIf(!DOCKER_REGISTRY)("download from docker-registry (Debian package)", () => {
  const data = randomBytes(1_000_000);
  const descriptor = { digest: sha256(data), size: data.length };
  const path = `/v2/a/b/blobs/${descriptor.digest}`;
  let registry: RunningRegistry;
  let dir: string;
  let content: ContentStore;
  let proxy: Interposer | undefined;

  beforeAll(async () => {
    registry = await startRegistry();
    await new TestPusher(registry.host, "a/b").blob(data, MEDIA.ociLayer);
  });
  afterAll(() => registry?.stop());
  beforeEach(() => {
    dir = mkdtempSync(join(tmpdir(), "inro-download-"));
    content = new ContentStore(dir);
  });
  afterEach(async () => {
    rmSync(dir, { recursive: true, force: true });
    await proxy?.stop();
    proxy = undefined;
  });

  const run = (hosts: string[], signal = new AbortController().signal, onProgress?: (current: number) => void) =>
    download({
      repositories: hosts.map(
        (host) => new Repository({ base: `http://${host}`, mirror: false }, "a/b", undefined, PATIENCE),
      ),
      ...{ descriptor, content, patience: PATIENCE, signal },
      ...(onProgress ? { onProgress } : {}),
    });
  const stored = async () => (await content.read(descriptor.digest)).equals(data);

  /** Answers the first `times` requests with half of the blob and a cut connection. */
  const cutting = (times: number) =>
    interpose(registry.host, (_req, res, _pass) => {
      if (times-- <= 0) return false;
      res.writeHead(200, { "Content-Length": String(data.length) });
      res.write(data.subarray(0, 400_000), () => res.destroy());
      return true;
    });

  test("plain", async () => {
    const seen: number[] = [];
    await run([registry.host], undefined, (current) => seen.push(current));
    expect(await stored()).toBe(true);
    expect(seen.at(-1)).toBe(data.length);
  });

  test("a cut connection is taken up where it ended", async () => {
    proxy = await cutting(1);
    await run([proxy.host]);
    expect(await stored()).toBe(true);
    expect(proxy.requests.length).toBe(2);
    // How much of what was sent before the cut reaches the reader is up to the kernel.
    const resumedAt = Number(/ bytes=(\d+)-$/.exec(proxy.requests[1]!)?.[1]);
    expect(resumedAt).toBeGreaterThan(0);
    expect(resumedAt).toBeLessThanOrEqual(400_000);
  });

  test("a server that ignores the range begins again", async () => {
    let first = true;
    proxy = await interpose(registry.host, (req, res) => {
      delete req.headers.range;
      if (!first) return false;
      first = false;
      res.writeHead(200, { "Content-Length": String(data.length) });
      res.write(Buffer.alloc(400_000, 1), () => res.destroy());
      return true;
    });
    await run([proxy.host]);
    expect(await stored()).toBe(true);
  });

  test("a partial blob that is wrong is dropped and fetched whole", async () => {
    const writer = await content.writer(descriptor);
    await writer.write(Buffer.alloc(1000, 7));
    await writer.close();
    proxy = await interpose(registry.host, () => false);
    await run([proxy.host]);
    expect(await stored()).toBe(true);
    expect(proxy.requests).toEqual([`GET ${path} bytes=1000-`, `GET ${path}`]);
  });

  test("a corrupt blob fails and leaves nothing", async () => {
    proxy = await interpose(registry.host, (_req, _res, pass) => {
      pass((body) => {
        body[5]! ^= 1;
        return body;
      });
      return true;
    });
    await expect(run([proxy.host])).rejects.toThrow(
      `filesystem layer verification failed for digest ${descriptor.digest}`,
    );
    expect(content.has(descriptor.digest)).toBe(false);
    expect(content.clean()).toBe(0);
    expect(proxy.requests.length).toBe(1);
  });

  test("the next repository is asked when one has a corrupt blob, or none", async () => {
    proxy = await interpose("", (req, res) => {
      if (!req.url!.includes("/blobs/")) return false;
      res.writeHead(200, { "Content-Length": String(data.length) }).end(Buffer.alloc(data.length));
      return true;
    });
    await run([proxy.host, registry.host]);
    expect(await stored()).toBe(true);
    content.delete(descriptor.digest);
    await proxy.stop();
    proxy = await interpose("", () => false);
    await run([proxy.host, registry.host]);
    expect(await stored()).toBe(true);
  });

  test("a blob longer than its descriptor says is refused while it arrives", async () => {
    proxy = await interpose("", (_req, res) => {
      res.writeHead(200);
      const more = () => {
        while (!res.destroyed && res.write(Buffer.alloc(65536)));
      };
      res.on("drain", more);
      more();
      return true;
    });
    await expect(run([proxy.host])).rejects.toThrow("is larger than the 1000000 bytes");
    expect(content.clean()).toBe(0);
  });

  test("gives up after attempts without progress, and keeps what is there", async () => {
    proxy = await cutting(100);
    await expect(run([proxy.host])).rejects.toMatchObject({ kind: "unavailable" });
    expect(content.has(descriptor.digest)).toBe(false);
    expect(content.clean()).toBeGreaterThan(0);
  });

  test("an abort keeps the partial blob, and the next download resumes", async () => {
    const controller = new AbortController();
    proxy = await interpose(registry.host, (req, res) => {
      if (req.headers.range) return false;
      res.writeHead(200, { "Content-Length": String(data.length) });
      res.write(data.subarray(0, 300_000));
      return true;
    });
    const stop = (current: number) => {
      if (current === 300_000) controller.abort(new Error("stop"));
    };
    await expect(run([proxy.host], controller.signal, stop)).rejects.toThrow("stop");
    await run([proxy.host]);
    expect(await stored()).toBe(true);
    expect(proxy.requests.at(-1)).toBe(`GET ${path} bytes=300000-`);
  });
});
