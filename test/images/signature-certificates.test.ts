import { afterAll, beforeAll, describe, expect, test } from "bun:test";
import { createPrivateKey, sign } from "node:crypto";
import { readFileSync, rmSync, writeFileSync } from "node:fs";
import { join } from "node:path";
import { messageOf } from "../../src/base/errors.ts";
import { Bench, configOf, layerOf } from "../../src/images/testing/samples.ts";
import { DOCKER_REGISTRY, type RunningRegistry, startRegistry } from "../../src/registry/testing/docker-registry.ts";
import { TestPusher } from "../../src/registry/testing/push.ts";
import { MEDIA } from "../../src/spec/oci-image.ts";
import { authority, OPENSSL } from "../access/certificates.ts";
import { isRoot, temporary } from "../harness.ts";

const why = !isRoot ? "needs root" : !OPENSSL ? "no openssl" : !DOCKER_REGISTRY ? "no docker-registry" : "";
const SIMPLE = "application/vnd.dev.cosign.simplesigning.v1+json";

describe.skipIf(why !== "")(`signatures with certificates${why && ` (${why})`}`, () => {
  let dir: string;
  let registry: RunningRegistry;
  beforeAll(async () => {
    dir = temporary();
    authority(dir);
    registry = await startRegistry();
  });
  afterAll(async () => {
    await registry?.stop();
    rmSync(dir, { recursive: true, force: true });
  });

  const openssl = (...args: string[]) => expect(Bun.spawnSync([OPENSSL!, ...args], { cwd: dir }).exitCode).toBe(0);
  /** A signer's certificate with these extensions. */
  const signer = (name: string, extensions: string, days = "2") => {
    writeFileSync(join(dir, "extensions"), extensions);
    const key = ["-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:P-256", "-nodes", "-keyout", `${name}.key`];
    openssl("req", ...key, "-out", "request", "-subj", `/CN=${name}`);
    const by = ["-CA", "ca.pem", "-CAkey", "ca-key.pem", "-CAcreateserial", "-extfile", "extensions"];
    openssl("x509", "-req", "-in", "request", ...by, "-out", `${name}.pem`, "-days", days);
    return {
      key: createPrivateKey(readFileSync(join(dir, `${name}.key`))),
      certificate: readFileSync(join(dir, `${name}.pem`), "utf8"),
    };
  };

  test("by an authority of the policy, for the name in it, for code signing, and nothing else", async () => {
    const layer = await layerOf({ a: "b" });
    const pusher = new TestPusher(registry.host, "app");
    const pushed = await pusher.image(configOf([layer]), [layer], "t");
    const signed = async ({ key, certificate }: ReturnType<typeof signer>) => {
      const payload = Buffer.from(
        JSON.stringify({
          critical: {
            identity: { "docker-reference": `${registry.host}/app` },
            image: { "docker-manifest-digest": pushed.digest },
            type: "cosign container image signature",
          },
          optional: null,
        }),
      );
      const annotations = {
        "dev.cosignproject.cosign/signature": sign("sha256", payload, key).toString("base64"),
        "dev.sigstore.cosign/certificate": certificate,
      };
      const config = await pusher.blob(Buffer.from("{}"), MEDIA.ociConfig);
      const layers = [{ ...(await pusher.blob(payload, SIMPLE)), annotations }];
      const tag = `${pushed.digest.replace(":", "-")}.sig`;
      await pusher.manifest({ schemaVersion: 2, mediaType: MEDIA.ociManifest, config, layers }, tag);
    };
    const policy = (roots: string) => {
      const pki = { caRootsPath: join(dir, roots), subjectEmail: "anna@example.test" };
      const requirement = { type: "sigstoreSigned", pki, signedIdentity: { type: "matchRepository" } };
      writeFileSync(join(dir, "policy.json"), JSON.stringify({ default: [requirement] }));
    };
    const pull = async () => {
      const bench = new Bench({ registries: () => ({ policy: join(dir, "policy.json") }) });
      try {
        await bench.images.pull({ reference: `${registry.host}/app:t`, onMessage() {} });
        return "pulled";
      } catch (error) {
        return messageOf(error);
      } finally {
        bench.close();
      }
    };
    policy("ca.pem");
    await signed(signer("anna", "subjectAltName=email:anna@example.test\nextendedKeyUsage=codeSigning"));
    expect(await pull()).toBe("pulled");
    await signed(signer("eve", "subjectAltName=email:eve@example.test\nextendedKeyUsage=codeSigning"));
    expect(await pull()).toEndWith("is not for anna@example.test");
    await signed(signer("server", "subjectAltName=email:anna@example.test\nextendedKeyUsage=serverAuth"));
    expect(await pull()).toEndWith("is not for code signing");
    await signed(signer("old", "subjectAltName=email:anna@example.test\nextendedKeyUsage=codeSigning", "0"));
    expect(await pull()).toEndWith("out of its time");
    await signed(signer("anna", "subjectAltName=email:anna@example.test\nextendedKeyUsage=codeSigning"));
    const other = temporary();
    authority(other);
    writeFileSync(join(dir, "other.pem"), readFileSync(join(other, "ca.pem")));
    rmSync(other, { recursive: true });
    policy("other.pem");
    expect(await pull()).toEndWith("of no trusted authority");
  });
});
