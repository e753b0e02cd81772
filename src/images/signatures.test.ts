import { afterAll, afterEach, beforeAll, beforeEach, describe, expect, test } from "bun:test";
import { generateKeyPairSync, type KeyObject, sign } from "node:crypto";
import { mkdtempSync, rmSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { messageOf } from "../base/errors.ts";
import { attach } from "../registry/referrers.ts";
import { Repository } from "../registry/repository.ts";
import { DOCKER_REGISTRY, type RunningRegistry, startRegistry } from "../registry/testing/docker-registry.ts";
import { TestPusher } from "../registry/testing/push.ts";
import { type Descriptor, type Manifest, MEDIA } from "../spec/oci-image.ts";
import { parseReference } from "./reference.ts";
import { readPolicy, requirementsFor } from "./signature-policy.ts";
import { Bench, configOf, isRoot, layerOf, NOTHING, type SampleLayer } from "./testing/samples.ts";

const SIMPLE = "application/vnd.dev.cosign.simplesigning.v1+json";
const BUNDLE = "application/vnd.dev.sigstore.bundle.v0.3+json";

describe.skipIf(!DOCKER_REGISTRY || !isRoot)("signatures as a condition of pull (docker-registry)", () => {
  let registry: RunningRegistry;
  let layer: SampleLayer;
  let dir: string;
  let bench: Bench;
  const keys = {
    ec: generateKeyPairSync("ec", { namedCurve: "P-256" }),
    ed: generateKeyPairSync("ed25519"),
    rsa: generateKeyPairSync("rsa", { modulusLength: 2048 }),
    other: generateKeyPairSync("ec", { namedCurve: "P-256" }),
  };

  beforeAll(async () => {
    registry = await startRegistry();
    layer = await layerOf({ a: "b" });
    dir = mkdtempSync(join(tmpdir(), "inro-policy-"));
    for (const [name, { publicKey }] of Object.entries(keys)) {
      writeFileSync(join(dir, `${name}.pub`), publicKey.export({ type: "spki", format: "pem" }));
    }
  });
  afterAll(async () => {
    await registry?.stop();
    rmSync(dir, { recursive: true, force: true });
  });
  beforeEach(() => {
    bench = new Bench({ registries: () => ({ policy: join(dir, "policy.json") }) });
  });
  afterEach(() => bench.close());

  const repository = (path: string) =>
    new Repository({ base: `http://${registry.host}`, mirror: false }, path, undefined, undefined, "pull,push");
  const image = (path: string, author: string) =>
    new TestPusher(registry.host, path).image(configOf([layer], { author }), [layer], "t");
  const policy = (requirements: object[], scope = registry.host) =>
    writeFileSync(
      join(dir, "policy.json"),
      JSON.stringify({ default: [{ type: "reject" }], transports: { docker: { [scope]: requirements } } }),
    );
  const signedBy = (key: string, signedIdentity: object = { type: "matchRepository" }) => ({
    ...{ type: "sigstoreSigned", keyPath: join(dir, `${key}.pub`), signedIdentity },
  });
  const signWith = (key: KeyObject, data: Uint8Array) =>
    sign(key.asymmetricKeyType === "ed25519" ? null : "sha256", data, key).toString("base64");
  const claim = (path: string, digest: string) => ({
    critical: {
      identity: { "docker-reference": `${registry.host}/${path}` },
      image: { "docker-manifest-digest": digest },
      type: "cosign container image signature",
    },
    optional: null,
  });
  /** As `cosign sign --key` does. */
  const cosign = async (path: string, subject: Descriptor, key: KeyObject, signed = claim(path, subject.digest)) => {
    const pusher = new TestPusher(registry.host, path);
    const payload = Buffer.from(JSON.stringify(signed));
    const annotations = { "dev.cosignproject.cosign/signature": signWith(key, payload) };
    const manifest: Manifest = {
      schemaVersion: 2,
      mediaType: MEDIA.ociManifest,
      config: await pusher.blob(Buffer.from("{}"), MEDIA.ociConfig),
      layers: [{ ...(await pusher.blob(payload, SIMPLE)), annotations }],
    };
    await pusher.manifest(manifest, `${subject.digest.replace(":", "-")}.sig`);
  };
  const pull = (path: string, tag = "t") =>
    bench.images.pull({ reference: `${registry.host}/${path}:${tag}`, onMessage() {} }).then(() => "pulled", messageOf);

  test.each(["ec", "ed", "rsa"] as const)("cosign's signature with a key: %s", async (kind) => {
    const path = `key/${kind}`;
    const pushed = await image(path, kind);
    policy([signedBy(kind)]);
    expect(await pull(path)).toEndWith("a signature was required, but no signature exists");
    expect(bench.leftovers()).toEqual(NOTHING);
    await cosign(path, pushed, keys[kind].privateKey);
    expect(await pull(path)).toBe("pulled");
  });

  test("of another key, of another image, of another name, changed: nothing is pulled", async () => {
    const [one, two] = [await image("bad/one", "1"), await image("bad/two", "2")];
    policy([signedBy("ec")]);
    await cosign("bad/one", one, keys.other.privateKey);
    expect(await pull("bad/one")).toEndWith("a signature does not verify");
    await cosign("bad/one", one, keys.ec.privateKey, claim("bad/one", two.digest));
    expect(await pull("bad/one")).toEndWith(`a signature is for ${two.digest}`);
    await cosign("bad/one", one, keys.ec.privateKey, claim("bad/two", one.digest));
    expect(await pull("bad/one")).toEndWith(`a signature is for "${registry.host}/bad/two"`);
    await cosign("bad/one", one, keys.ec.privateKey);
    policy([signedBy("ec", { type: "matchExact" })]);
    expect(await pull("bad/one")).toContain("a signature is for");
    policy([signedBy("ec"), signedBy("other")]);
    expect(await pull("bad/one")).toEndWith("a signature does not verify");
    policy([{ type: "reject" }], `${registry.host}/bad/one:t`);
    expect(await pull("bad/one")).toEndWith("nothing is allowed here");
    expect(bench.leftovers()).toEqual(NOTHING);
    expect(bench.images.list()).toEqual([]);
    policy([signedBy("ec")]);
    expect(await pull("bad/one")).toBe("pulled");
  });

  test("a signed index stands for its images", async () => {
    const pushed = await image("index", "i");
    const pusher = new TestPusher(registry.host, "index");
    const { architecture, os } = configOf([layer]);
    const manifests = [{ ...pushed, platform: { os, architecture } }];
    const index = await pusher.manifest({ schemaVersion: 2, mediaType: MEDIA.ociIndex, manifests }, "many");
    policy([signedBy("ec")]);
    expect(await pull("index", "many")).toContain("no signature exists");
    await cosign("index", index, keys.ec.privateKey);
    expect(await pull("index", "many")).toBe("pulled");
  });

  test("as a referrer: cosign's payload, and a sigstore bundle, which names no image", async () => {
    const pushed = await image("ref/simple", "r");
    const payload = Buffer.from(JSON.stringify(claim("ref/simple", pushed.digest)));
    const annotations = { "dev.cosignproject.cosign/signature": signWith(keys.ec.privateKey, payload) };
    await attach(repository("ref/simple"), pushed, {
      artifactType: "application/vnd.dev.cosign.artifact.sig.v1+json",
      blobs: [{ mediaType: SIMPLE, data: payload, annotations }],
    });
    policy([signedBy("ec")]);
    expect(await pull("ref/simple")).toBe("pulled");

    const bundled = await image("ref/bundle", "b");
    const statement = Buffer.from(
      JSON.stringify({
        _type: "https://in-toto.io/Statement/v1",
        subject: [{ digest: { sha256: bundled.digest.slice(7) } }],
        predicateType: "https://sigstore.dev/cosign/sign/v1",
        predicate: {},
      }),
    );
    const type = "application/vnd.in-toto+json";
    const pae = Buffer.concat([Buffer.from(`DSSEv1 ${type.length} ${type} ${statement.length} `), statement]);
    const dsseEnvelope = {
      payload: statement.toString("base64"),
      payloadType: type,
      signatures: [{ sig: signWith(keys.ec.privateKey, pae) }],
    };
    const bundle = { mediaType: BUNDLE, verificationMaterial: { publicKey: { hint: "" } }, dsseEnvelope };
    await attach(repository("ref/bundle"), bundled, {
      artifactType: BUNDLE,
      blobs: [{ mediaType: BUNDLE, data: Buffer.from(JSON.stringify(bundle)) }],
    });
    expect(await pull("ref/bundle")).toEndWith("a signature is for no name");
    policy([signedBy("ec", { type: "matchDigest" })]);
    expect(await pull("ref/bundle")).toBe("pulled");
    policy([signedBy("other", { type: "matchDigest" })]);
    bench.close();
    bench = new Bench({ registries: () => ({ policy: join(dir, "policy.json") }) });
    expect(await pull("ref/bundle")).toEndWith("a signature does not verify");
  });

  test("a signature that is no signature hides no other, and an enormous one is not read", async () => {
    const pushed = await image("junk", "j");
    await attach(repository("junk"), pushed, {
      artifactType: BUNDLE,
      blobs: [{ mediaType: BUNDLE, data: Buffer.from("{") }],
    });
    await attach(repository("junk"), pushed, {
      artifactType: BUNDLE,
      blobs: [{ mediaType: BUNDLE, data: Buffer.alloc(300 << 10, 32) }],
    });
    policy([signedBy("ec")]);
    expect(await pull("junk")).toContain("no signature exists");
    await cosign("junk", pushed, keys.ec.privateKey);
    expect(await pull("junk")).toBe("pulled");
  });
});

test("which requirements count", () => {
  const dir = mkdtempSync(join(tmpdir(), "inro-policy-"));
  const path = join(dir, "p.json");
  const write = (value: unknown) => writeFileSync(path, JSON.stringify(value));
  const accept = [{ type: "insecureAcceptAnything" }];
  const reject = [{ type: "reject" }];
  try {
    const docker = {
      "a.test/team": accept,
      "a.test/team/x:1": reject,
      "*.b.test": accept,
      "docker.io/library": accept,
    };
    write({ default: reject, transports: { docker, "docker-daemon": { "": accept } } });
    const policy = readPolicy(path);
    const type = (text: string) => requirementsFor(policy, parseReference(text))[0]!.type;
    expect(type("a.test/team/x:2")).toBe("insecureAcceptAnything");
    expect(type("a.test/team/x:1")).toBe("reject");
    expect(type("a.test/teams/x:1")).toBe("reject");
    expect(type("c.b.test/x:1")).toBe("insecureAcceptAnything");
    expect(type("b.test/x:1")).toBe("reject");
    expect(type("busybox:1")).toBe("insecureAcceptAnything");
    for (const [value, message] of [
      [{}, "default is missing"],
      [{ default: [] }, "no list of requirements"],
      [{ default: [{ type: "signedBy" }] }, '"signedBy" is not supported'],
      [{ default: [{ type: "reject", x: 1 }] }, '"x" is not supported'],
      [{ default: [{ type: "sigstoreSigned" }] }, "keyPath"],
      [{ default: [{ type: "sigstoreSigned", keyPath: "/nonexistent" }] }, "/nonexistent"],
      [{ default: reject, transport: {} }, '"transport" is not supported'],
    ] as const) {
      write(value);
      expect(() => readPolicy(path)).toThrow(message);
    }
  } finally {
    rmSync(dir, { recursive: true });
  }
});
