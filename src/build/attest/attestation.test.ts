import { expect, test } from "bun:test";
import { sha256 } from "../../base/digest.ts";
import { parseManifest } from "../../registry/manifest.ts";
import { startInroRegistry } from "../../registry/testing/inro-registry.ts";
import { TestPusher } from "../../registry/testing/push.ts";
import { MEDIA } from "../../spec/oci-image.ts";
import { attestationManifest, attestedIndex, referrer } from "./attestation.ts";
import { provenance, SLSA_PROVENANCE, statement } from "./provenance.ts";

const facts = {
  dockerfile: "Dockerfile",
  platform: "linux/amd64",
  args: { B: "2", A: "1" },
  materials: [
    { uri: "pkg:docker/debian@12", digest: { sha256: "2".repeat(64) } },
    { uri: "https://example.org/a", digest: { sha256: "1".repeat(64) } },
  ],
};

test("provenance is the same each time, and has arguments only with mode max", () => {
  expect(provenance(facts)).toEqual({
    buildDefinition: {
      buildType: expect.stringMatching(/^https:/),
      externalParameters: { dockerfile: "Dockerfile", platform: "linux/amd64" },
      internalParameters: {},
      resolvedDependencies: facts.materials.toReversed(),
    },
    runDetails: { builder: { id: expect.stringMatching(/^https:/) }, metadata: {} },
  });
  expect(JSON.stringify(provenance(facts, "max"))).toContain('"args":{"A":"1","B":"2"}');
  expect(provenance({ ...facts, materials: facts.materials.toReversed() })).toEqual(provenance(facts));
});

test("an image with attestations goes to a registry: beside it in the index, and as a referrer", async () => {
  const registry = await startInroRegistry();
  try {
    const pusher = new TestPusher(registry.host, "attested");
    const config = { architecture: "amd64", os: "linux", rootfs: { type: "layers", diff_ids: [] } };
    const image = await pusher.image(config, [], "plain", { architecture: "amd64", os: "linux" });
    const said = statement([{ name: "attested", digest: image.digest }], SLSA_PROVENANCE, provenance(facts));
    expect(said).toMatchObject({ subject: [{ name: "attested", digest: { sha256: image.digest.slice(7) } }] });

    const { manifest, blobs } = attestationManifest(image, [{ predicateType: SLSA_PROVENANCE, statement: said }]);
    for (const { bytes, descriptor } of blobs) await pusher.blob(bytes, descriptor.mediaType);
    await pusher.rawManifest(manifest.bytes, MEDIA.ociManifest, "");
    const index = attestedIndex([image], [manifest.descriptor]);
    await pusher.rawManifest(index.bytes, MEDIA.ociIndex, "latest");
    const parsed = parseManifest(index.bytes, MEDIA.ociIndex);
    if (parsed.kind !== "index") throw new Error("not an index");
    expect(parsed.index.manifests[1]).toMatchObject({
      digest: sha256(manifest.bytes),
      platform: { architecture: "unknown", os: "unknown" },
      annotations: {
        "vnd.docker.reference.type": "attestation-manifest",
        "vnd.docker.reference.digest": image.digest,
      },
    });

    const one = referrer(image, SLSA_PROVENANCE, said);
    for (const { bytes, descriptor } of one.blobs) await pusher.blob(bytes, descriptor.mediaType);
    await pusher.rawManifest(one.manifest.bytes, MEDIA.ociManifest, "");
    const answer = await fetch(`http://${registry.host}/v2/attested/referrers/${image.digest}`);
    expect(((await answer.json()) as { manifests: object[] }).manifests).toEqual([
      {
        mediaType: MEDIA.ociManifest,
        digest: one.manifest.descriptor.digest,
        size: one.manifest.bytes.length,
        artifactType: "application/vnd.in-toto+json",
        annotations: { "in-toto.io/predicate-type": SLSA_PROVENANCE },
      },
    ]);
  } finally {
    await registry.stop();
  }
});
