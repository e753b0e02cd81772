import { afterAll, afterEach, beforeAll, describe, expect, test } from "bun:test";
import { sha256 } from "../base/digest.ts";
import { MEDIA } from "../spec/oci-image.ts";
import { endpoints, isLoopback } from "./endpoint.ts";
import { retryAfter } from "./http.ts";
import { Repository } from "./repository.ts";
import { DOCKER_REGISTRY, type RunningRegistry, startRegistry } from "./testing/docker-registry.ts";
import { type Interposer, interpose } from "./testing/interpose.ts";
import { TestPusher } from "./testing/push.ts";

const PATIENCE = { attempts: 3, retryDelay: 1, idle: 2000 };
const repository = (host: string, path = "a/b") =>
  new Repository({ base: `http://${host}`, mirror: false }, path, undefined, PATIENCE);

describe("endpoints", () => {
  const cases: [string, string | undefined, string[]][] = [
    ["docker.io", undefined, ["https://registry-1.docker.io"]],
    ["docker.io", "http://127.0.0.1:5000/", ["http://127.0.0.1:5000", "https://registry-1.docker.io"]],
    ["docker.io", "https://m.example/hub/", ["https://m.example/hub", "https://registry-1.docker.io"]],
    ["r.example", "http://127.0.0.1:5000", ["https://r.example"]],
    ["localhost:5000", undefined, ["http://localhost:5000"]],
    ["127.9.8.7", undefined, ["http://127.9.8.7"]],
    ["[::1]:5000", undefined, ["http://[::1]:5000"]],
    ["127.0.0.1.evil.example", undefined, ["https://127.0.0.1.evil.example"]],
    ["localhost.evil.example", undefined, ["https://localhost.evil.example"]],
  ];
  for (const [domain, mirror, expected] of cases) {
    test(`${domain} ${mirror ?? ""}`, () => {
      const mirrors = mirror === undefined ? [] : [mirror];
      expect(endpoints(domain, { mirrors }).map((endpoint) => endpoint.base)).toEqual(expected);
    });
  }
  test("refuses a mirror that is no http address", () => {
    expect(() => endpoints("docker.io", { mirrors: ["ftp://x"] })).toThrow("invalid registry mirror");
  });
  test("one that is named has no TLS, and no other port of it", () => {
    const bases = (domain: string) => endpoints(domain, { insecure: ["r.example:5000"] }).map(({ base }) => base);
    expect(bases("r.example:5000")).toEqual(["http://r.example:5000"]);
    expect(bases("r.example")).toEqual(["https://r.example"]);
  });
  test("isLoopback", () => expect(isLoopback("128.0.0.1")).toBe(false));
});

test("retryAfter", () => {
  expect(retryAfter("3")).toBe(3000);
  expect(retryAfter("Thu, 01 Jan 1970 00:00:10 GMT", 4000)).toBe(6000);
  expect(retryAfter("soon")).toBeUndefined();
});

describe("against a made-up server", () => {
  let server: Interposer | undefined;
  afterEach(() => server?.stop());

  test("429 and 5xx are tried again, other answers are not", async () => {
    const answers = [429, 503, 200];
    server = await interpose("", (_req, res) => {
      res.writeHead(answers.shift()!, { "Retry-After": "0" }).end("{}");
      return true;
    });
    await repository(server.host).manifest("x");
    expect(server.requests.length).toBe(3);
  });

  test("gives up after the last attempt", async () => {
    server = await interpose("", (_req, res) => {
      res.writeHead(500).end();
      return true;
    });
    await expect(repository(server.host).manifest("x")).rejects.toMatchObject({ kind: "unavailable", status: 500 });
    expect(server.requests.length).toBe(3);
  });

  test("a connection that is cut is tried again", async () => {
    let cut = true;
    server = await interpose("", (req, res) => {
      if (cut) req.socket.destroy();
      else res.end("{}");
      cut = false;
      return true;
    });
    await repository(server.host).manifest("x");
    expect(server.requests.length).toBe(2);
  });

  test("a server that says nothing is given up", async () => {
    server = await interpose("", () => true);
    const impatient = new Repository({ base: `http://${server.host}`, mirror: false }, "a", undefined, {
      attempts: 1,
      retryDelay: 1,
      idle: 50,
    });
    await expect(impatient.manifest("x")).rejects.toThrow("no data for");
  });

  test("redirects end after ten", async () => {
    server = await interpose("", (_req, res) => {
      res.writeHead(302, { Location: "/again" }).end();
      return true;
    });
    await expect(repository(server.host).manifest("x")).rejects.toThrow("more than 10 redirects");
    expect(server.requests.length).toBe(11);
  });

  test("a redirect to another scheme is refused", async () => {
    server = await interpose("", (_req, res) => {
      res.writeHead(302, { Location: "file:///etc/passwd" }).end();
      return true;
    });
    await expect(repository(server.host).manifest("x")).rejects.toThrow("unusable address");
  });

  test("a manifest over 4 MiB is refused", async () => {
    server = await interpose("", (_req, res) => {
      res.end(Buffer.alloc(4 * 1024 * 1024 + 1, 32));
      return true;
    });
    await expect(repository(server.host).manifest("x")).rejects.toThrow("larger than 4194304 bytes");
  });

  test("bytes that do not fit the digest asked for are refused", async () => {
    server = await interpose("", (_req, res) => {
      res.end("{}");
      return true;
    });
    await expect(repository(server.host).manifest(sha256("other"))).rejects.toThrow("manifest verification failed");
  });

  test("bytes that do not fit Docker-Content-Digest are refused", async () => {
    server = await interpose("", (_req, res) => {
      res.writeHead(200, { "Docker-Content-Digest": sha256("other") }).end("{}");
      return true;
    });
    await expect(repository(server.host).manifest("x")).rejects.toThrow("manifest verification failed");
  });

  test("error texts of a server lose their control characters", async () => {
    server = await interpose("", (_req, res) => {
      res.writeHead(404).end(JSON.stringify({ errors: [{ code: "MANIFEST_UNKNOWN", message: "a\x1b[31m\nb" }] }));
      return true;
    });
    const error = await repository(server.host)
      .manifest("x")
      .catch((e) => e);
    expect(error.message).toEndWith("manifest unknown: a [31m b");
    expect(error.errorCode).toBe("MANIFEST_UNKNOWN");
  });

  test("an abort ends a request with its reason", async () => {
    const controller = new AbortController();
    server = await interpose("", () => {
      controller.abort(new Error("stop"));
      return true;
    });
    await expect(repository(server.host).manifest("x", controller.signal)).rejects.toThrow("stop");
  });
});

describe.skipIf(!DOCKER_REGISTRY)("against docker-registry (Debian package)", () => {
  let registry: RunningRegistry;
  let guarded: RunningRegistry;
  beforeAll(async () => {
    registry = await startRegistry();
    guarded = await startRegistry({ users: { tester: "secret" } });
  });
  afterAll(async () => {
    await registry?.stop();
    await guarded?.stop();
  });
  const config = { architecture: "amd64", os: "linux", rootfs: { type: "layers", diff_ids: [] } };

  test("manifest by tag and by digest, blob from an offset, tags", async () => {
    const pusher = new TestPusher(registry.host, "a/b");
    const pushed = await pusher.image(config, [], "one");
    await pusher.image(config, [], "two");
    const repo = repository(registry.host);
    const byTag = await repo.manifest("one");
    expect(byTag.digest).toBe(pushed.digest);
    expect(byTag.mediaType).toBe(MEDIA.ociManifest);
    expect((await repo.manifest(pushed.digest)).bytes.equals(byTag.bytes)).toBe(true);
    const bytes = Buffer.from(JSON.stringify(config));
    const blob = await repo.blob(sha256(bytes), 10);
    expect(blob.offset).toBe(10);
    expect(Buffer.concat(await Array.fromAsync(blob.body)).equals(bytes.subarray(10))).toBe(true);
    expect((await repo.tags()).sort()).toEqual(["one", "two"]);
  });

  test("a missing manifest is notFound with the registry's code", async () => {
    await expect(repository(registry.host).manifest("nope")).rejects.toMatchObject({
      kind: "notFound",
      errorCode: "MANIFEST_UNKNOWN",
    });
  });

  test("htpasswd: right, wrong and no password", async () => {
    const auth = { username: "tester", password: "secret" };
    const pushed = await new TestPusher(guarded.host, "a/b", auth).image(config, [], "one");
    const endpoint = { base: `http://${guarded.host}`, mirror: false };
    const fetched = await new Repository(endpoint, "a/b", auth, PATIENCE).manifest("one");
    expect(fetched.digest).toBe(pushed.digest);
    const wrong = new Repository(endpoint, "a/b", { username: "tester", password: "no" }, PATIENCE);
    await expect(wrong.manifest("one")).rejects.toMatchObject({ kind: "unauthorized" });
    await expect(new Repository(endpoint, "a/b", undefined, PATIENCE).manifest("one")).rejects.toMatchObject({
      kind: "unauthorized",
    });
  });
});
