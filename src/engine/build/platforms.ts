import { mkdtemp, rm } from "node:fs/promises";
import { join } from "node:path";
import { treeInChild } from "../../archive/command.ts";
import { readTar, type TarMember, writeTar } from "../../archive/tar.ts";
import { invalid } from "../../base/errors.ts";
import type { BuiltImage } from "../../build/builder.ts";
import type { ContentStore } from "../../content/store.ts";
import type { ArtifactFile, PlatformImage } from "../../images/artifacts.ts";
import { formatPlatform } from "../../images/platform.ts";
import type { Layers } from "../../layers/layers.ts";
import type { BuildOutput } from "../../spec/build-stream.ts";
import { compressedLayer } from "./compressed-layer.ts";

/** Outputs of a build for several platforms. */

/** All files of all images, each platform's in a directory of its name: `linux_arm64`. */
export async function* filesOfPlatforms(
  images: readonly BuiltImage[],
  layers: Layers,
  signal: AbortSignal,
): AsyncGenerator<Uint8Array> {
  async function* members(): AsyncGenerator<TarMember> {
    for (const { platform, layers: own } of images) {
      const top = `${formatPlatform(platform).replaceAll("/", "_")}/`;
      yield { header: { name: top, type: "directory", mode: 0o755, uid: 0, gid: 0, size: 0, mtime: 0n } };
      const tree = { lowers: layers.lowers(own.map(({ diffId }) => diffId)) };
      for await (const { body, ...entry } of readTar(treeInChild({ kind: "rootfs", tree }, signal))) {
        const inside = (name: Buffer) => Buffer.concat([Buffer.from(top), name]);
        const linkname = entry.type === "hardlink" ? inside(entry.linknameBytes) : entry.linknameBytes;
        yield { header: { ...entry, name: inside(entry.nameBytes), linkname }, body };
      }
    }
  }
  yield* writeTar(members());
}

/** Where a build for several platforms may go. Errors are invalid. */
export function checkPlatformsOutput({ type, attributes }: BuildOutput): void {
  if (type === "docker" || (type === "image" && attributes.push !== "true")) {
    throw invalid(
      "an image of several platforms is kept by registries and OCI archives: use --push, or --output type=oci,dest=FILE",
    );
  }
}

/** Has the images as they are pushed; what is made for it in `directory` goes when `body` has settled. */
export async function withPlatformImages<T>(
  images: readonly BuiltImage[],
  content: ContentStore,
  directory: string,
  signal: AbortSignal,
  body: (images: PlatformImage[]) => Promise<T>,
): Promise<T> {
  const own = await mkdtemp(join(directory, "push-"));
  try {
    const made = new Map<string, ArtifactFile>();
    const ready: PlatformImage[] = [];
    for (const { platform, config, layers } of images) {
      const files: ArtifactFile[] = [];
      for (const { blob } of layers) {
        const file = made.get(blob.digest) ?? (await compressedLayer(content, blob, own, signal));
        made.set(blob.digest, file);
        files.push(file);
      }
      ready.push({ platform, config, layers: files });
    }
    return await body(ready);
  } finally {
    await rm(own, { recursive: true, force: true });
  }
}
