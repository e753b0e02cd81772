import { sha256 } from "../../base/digest.ts";
import type { Descriptor, Index, Manifest, Platform } from "../../spec/oci-image.ts";
import { MEDIA } from "../../spec/oci-image.ts";
import type { RegistryAuth } from "../auth.ts";
import { expectStatus, Repository } from "../repository.ts";

/** A small pusher for tests: puts blobs and manifests of made-up images into a registry. */
export class TestPusher {
  private readonly repository: Repository;

  constructor(host: string, path: string, auth?: RegistryAuth) {
    this.repository = new Repository({ base: `http://${host}`, mirror: false }, path, auth, undefined, "pull,push");
  }

  async blob(data: Uint8Array, mediaType: string): Promise<Descriptor> {
    const digest = sha256(data);
    const begun = await this.repository.request({ method: "POST", url: this.repository.url("blobs/uploads/") });
    await expectStatus(begun, [202]);
    const location = new URL(begun.header("Location")!, this.repository.url("").href);
    begun.discard();
    location.searchParams.set("digest", digest);
    const headers = { "Content-Type": "application/octet-stream" };
    const done = await this.repository.request({ method: "PUT", url: location, headers, body: new Uint8Array(data) });
    await expectStatus(done, [201]);
    done.discard();
    return { mediaType, digest, size: data.length };
  }

  async manifest(value: Manifest | Index, tag: string, platform?: Platform): Promise<Descriptor> {
    return this.rawManifest(Buffer.from(JSON.stringify(value)), value.mediaType!, tag, platform);
  }

  /** `tag` "" pushes by digest. */
  async rawManifest(bytes: Buffer, mediaType: string, tag: string, platform?: Platform): Promise<Descriptor> {
    const digest = sha256(bytes);
    const url = this.repository.url(`manifests/${tag || digest}`);
    const headers = { "Content-Type": mediaType };
    const answer = await this.repository.request({ method: "PUT", url, headers, body: new Uint8Array(bytes) });
    await expectStatus(answer, [201]);
    answer.discard();
    return { mediaType, digest, size: bytes.length, ...(platform ? { platform } : {}) };
  }

  /** Config and layers (blobs as they are) under one tag. */
  async image(
    config: object | Uint8Array,
    layers: { data: Uint8Array; mediaType: string }[],
    tag: string,
    platform?: Platform,
  ): Promise<Descriptor> {
    const configBytes = config instanceof Uint8Array ? config : Buffer.from(JSON.stringify(config));
    const manifest: Manifest = {
      schemaVersion: 2,
      mediaType: MEDIA.ociManifest,
      config: await this.blob(configBytes, MEDIA.ociConfig),
      layers: [],
    };
    for (const layer of layers) manifest.layers.push(await this.blob(layer.data, layer.mediaType));
    return this.manifest(manifest, tag, platform);
  }
}
