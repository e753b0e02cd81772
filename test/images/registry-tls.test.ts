import { afterAll, afterEach, beforeAll, beforeEach, describe, expect, test } from "bun:test";
import { copyFileSync, mkdirSync, rmSync, writeFileSync } from "node:fs";
import { join } from "node:path";
import { messageOf } from "../../src/base/errors.ts";
import { Bench, configOf, layerOf, pieces, type SampleLayer, tarOf } from "../../src/images/testing/samples.ts";
import type { Registries } from "../../src/registry/endpoint.ts";
import { checkCredentials } from "../../src/registry/login.ts";
import { DOCKER_REGISTRY, type RunningRegistry, startRegistry } from "../../src/registry/testing/docker-registry.ts";
import { type Interposer, interpose } from "../../src/registry/testing/interpose.ts";
import { TestPusher } from "../../src/registry/testing/push.ts";
import { authority, certificate, OPENSSL } from "../access/certificates.ts";
import { isRoot, temporary } from "../harness.ts";

const why = !isRoot ? "needs root" : !OPENSSL ? "no openssl" : !DOCKER_REGISTRY ? "no docker-registry" : "";

describe.skipIf(why !== "")(`registries with TLS and mirrors${why && ` (${why})`}`, () => {
  let dir: string;
  let secure: RunningRegistry;
  let strict: RunningRegistry;
  let plain: RunningRegistry;
  let layer: SampleLayer;
  let bench: Bench | undefined;
  let proxy: Interposer | undefined;
  let client: { cert: string; key: string };
  let certs: string;

  beforeAll(async () => {
    dir = temporary();
    authority(dir);
    const server = certificate(dir, "server");
    client = certificate(dir, "client");
    const ca = join(dir, "ca.pem");
    [secure, strict, plain] = await Promise.all([
      startRegistry({ tls: server, users: { anna: "pw" } }),
      startRegistry({ tls: { ...server, clientCa: ca } }),
      startRegistry(),
    ]);
    layer = await layerOf({ "etc/name": "x" });
    await new TestPusher(plain.host, "a/b").image(configOf([layer]), [layer], "t");
  });
  beforeEach(() => {
    certs = join(dir, "certs.d");
    mkdirSync(certs, { recursive: true });
  });
  afterEach(async () => {
    rmSync(certs, { recursive: true });
    bench?.close();
    bench = undefined;
    await proxy?.stop();
    proxy = undefined;
  });
  afterAll(async () => {
    for (const registry of [secure, strict, plain]) await registry?.stop();
    rmSync(dir, { recursive: true, force: true });
  });

  const withRegistries = (registries: Registries) => {
    bench?.close();
    bench = new Bench({ registries: () => registries });
    return bench.images;
  };
  const auth = { username: "anna", password: "pw" };
  const roundTrip = async (host: string, registries: Registries) => {
    const images = withRegistries(registries);
    const signal = new AbortController().signal;
    const id = await images.importTar({
      source: pieces(await tarOf({ a: "b" })),
      config: {},
      repo: `${host}/t`,
      tag: "1",
      signal,
    });
    await images.push({ reference: `${host}/t`, tag: "1", auth, onMessage() {} });
    const again = withRegistries(registries);
    await again.pull({ reference: `${host}/t:1`, auth, onMessage() {} });
    expect(again.find(`${host}/t:1`).id).toBe(id);
  };
  const failure = (work: Promise<unknown>) => work.then(() => "none", messageOf);

  test("an authority of the settings, for all registries or for one", async () => {
    const ca = join(dir, "ca.pem");
    await roundTrip(secure.host, { ca: [`${secure.host}=${ca}`] });
    await checkCredentials({ ...auth, serveraddress: secure.host }, { ca: [ca] });
    const wrong = { ca: [`${secure.host}=${join(dir, "nothing.pem")}`] };
    expect(await failure(roundTrip(secure.host, wrong))).toContain("nothing.pem");
    authority(certs);
    expect(await failure(roundTrip(secure.host, { ca: [join(certs, "ca.pem")] }))).toMatch(/certificate|SIGNATURE/i);
  });

  test("certs.d: an authority and the client's certificate; one without its key is said", async () => {
    const own = join(certs, strict.host);
    mkdirSync(own);
    copyFileSync(join(dir, "ca.pem"), join(own, "ca.crt"));
    expect(await failure(roundTrip(strict.host, { certs: [certs] }))).not.toBe("none");
    copyFileSync(client.cert, join(own, "client.cert"));
    expect(await failure(roundTrip(strict.host, { certs: [certs] }))).toContain("missing key client.key");
    copyFileSync(client.key, join(own, "client.key"));
    await roundTrip(strict.host, { certs: ["/nonexistent", certs] });
  });

  test("hosts.toml: skip_verify, client, mirrors with capabilities", async () => {
    const own = join(certs, strict.host.replace(/:(\d+)/, "_$1_"));
    mkdirSync(own);
    for (const [from, to] of [
      [client.cert, "c.pem"],
      [client.key, "k.pem"],
    ] as const)
      copyFileSync(from, join(own, to));
    const toml = `server = "https://${strict.host}"\nskip_verify = true\nclient = [["c.pem", "k.pem"]]\n`;
    writeFileSync(join(own, "hosts.toml"), toml);
    await roundTrip(strict.host, { certs: [certs] });
    writeFileSync(join(own, "hosts.toml"), `${toml}capabilties = ["pull"]\n`);
    expect(await failure(roundTrip(strict.host, { certs: [certs] }))).toContain("did you mean capabilities?");

    proxy = await interpose(plain.host, () => false);
    const other = join(certs, "registry.test");
    mkdirSync(other);
    writeFileSync(join(other, "hosts.toml"), `[host."http://${proxy.host}"]\ncapabilities = ["pull", "resolve"]\n`);
    const images = withRegistries({ certs: [certs] });
    await images.pull({ reference: "registry.test/a/b:t", onMessage() {} });
    expect(images.find("registry.test/a/b:t").tags).toEqual(["registry.test/a/b:t"]);
    expect(proxy.requests.every((line) => line.includes("ns=registry.test"))).toBe(true);
    writeFileSync(join(other, "hosts.toml"), `[host."http://${proxy.host}/v2"]\noverride_path = true\n`);
    await withRegistries({ certs: [certs] }).pull({ reference: "registry.test/a/b:t", onMessage() {} });
  });

  test("a mirror of one registry; when it has nothing, or fails, the registry is asked; it gets no credentials", async () => {
    const headers: (string | undefined)[] = [];
    proxy = await interpose("", (req, res) => {
      headers.push(req.headers.authorization);
      if (!req.url!.includes("/manifests/")) return false;
      res.writeHead(401, { "WWW-Authenticate": 'Basic realm="mirror"' }).end();
      return true;
    });
    const images = withRegistries({ mirrors: [`${plain.host}=http://${proxy.host}`] });
    await images.pull({ reference: `${plain.host}/a/b:t`, auth, onMessage() {} });
    expect(headers.length).toBeGreaterThan(0);
    expect(headers.every((header) => header === undefined)).toBe(true);
    const elsewhere = withRegistries({ mirrors: [`registry.test=http://${plain.host}`] });
    await elsewhere.pull({ reference: "registry.test/a/b:t", onMessage() {} });
  });

  test("a rate limit is told; one that lasts is not waited for", async () => {
    proxy = await interpose(plain.host, (_req, res) => {
      const errors = [{ code: "TOOMANYREQUESTS", message: "You have reached your pull rate limit" }];
      const limit = { "RateLimit-Limit": "100;w=21600", "RateLimit-Remaining": "0;w=21600", "Retry-After": "7200" };
      res.writeHead(429, limit).end(JSON.stringify({ errors }));
      return true;
    });
    const pulling = withRegistries({}).pull({ reference: `${proxy.host}/a/b:t`, onMessage() {} });
    expect(await failure(pulling)).toEndWith(
      "toomanyrequests: You have reached your pull rate limit (the limit is 100 in 21600 s, 0 left, try again in 7200 s)",
    );
    expect(proxy.requests).toHaveLength(1);
  });
});
