import { treeInChild } from "../../archive/command.ts";
import { invalid, notImplemented } from "../../base/errors.ts";
import type { BuildResult } from "../../build/builder.ts";
import { wholeName } from "../../build/frontend/plan.ts";
import { Progress } from "../../build/progress.ts";
import type { ContentStore } from "../../content/store.ts";
import { tagTarget } from "../../images/find.ts";
import { hostPlatform, samePlatform } from "../../images/platform.ts";
import { familiar } from "../../images/reference.ts";
import type { Layers } from "../../layers/layers.ts";
import type { RegistryAuth } from "../../registry/auth.ts";
import type { BuildEvent } from "../../spec/build.ts";
import type { BuildBody, BuildDone, BuildOutput } from "../../spec/build-stream.ts";
import type { Descriptor } from "../../spec/oci-image.ts";
import type { Context } from "../context.ts";
import { attest, type ToldOf } from "./attestations.ts";
import { checkPlatformsOutput, filesOfPlatforms, withPlatformImages } from "./platforms.ts";

/** `[type:]key=value` and an output's `annotation.key`: those of the manifest. */
function annotationsOf(
  given: readonly string[],
  attributes: Record<string, string>,
): Record<string, string> | undefined {
  const found: Record<string, string> = {};
  for (const text of given) {
    const [, types, key, value] =
      /^(?:((?:manifest|index|manifest-descriptor|index-descriptor)(?:\[[^\]]*\])?(?:,[^:=]*)?):)?([^=]+)=(.*)$/s.exec(
        text,
      ) ?? [];
    if (key === undefined || value === undefined)
      throw invalid(`invalid annotation ${JSON.stringify(text.slice(0, 200))}: expected key=value`);
    if (types === undefined || types.split(",").some((type) => /^manifest(?:\[|$)/.test(type))) found[key] = value;
    else throw notImplemented(`annotations of ${types} are not supported yet: images are stored one by one`);
  }
  for (const [key, value] of Object.entries(attributes)) {
    const name = /^annotation(?:-manifest)?(?:\[[^\]]*\])?\.(.+)$/.exec(key)?.[1];
    if (name !== undefined) found[name] = value;
  }
  return Object.keys(found).length > 0 ? found : undefined;
}

/** Where builds go. */
export class Exporter {
  constructor(
    private readonly ctx: Context,
    private readonly content: ContentStore,
    private readonly layers: Layers,
    /** For what is made on the way. */
    private readonly temporary: string,
  ) {}

  /** Records the image of this machine's platform under its names. Answers the id. */
  async record(
    result: BuildResult,
    tags: readonly string[],
    signal: AbortSignal,
    annotations?: Record<string, string>,
  ): Promise<string> {
    const targets = tags.map((tag) => familiar(tagTarget(tag, undefined)));
    const image = result.images.find(({ platform }) => samePlatform(platform, hostPlatform())) ?? result.images[0]!;
    const id = await this.ctx.images.create({
      config: image.config,
      layers: [...image.layers],
      tags: [...tags],
      ...(annotations ? { annotations } : {}),
      signal,
    });
    for (const target of targets) this.ctx.images.tagged(id, target);
    return id;
  }

  /** One output of a build. `give` sends what is the client's to it: a file, or a tar of files. */
  async export(
    result: BuildResult,
    output: BuildOutput,
    body: Pick<BuildBody, "tags" | "annotations" | "attestations"> &
      Partial<ToldOf> & { auth?(reference: string): RegistryAuth | undefined },
    report: (event: BuildEvent) => void,
    signal: AbortSignal,
    give: (kind: "file" | "files", bytes: AsyncIterable<Uint8Array>) => Promise<void>,
  ): Promise<Partial<BuildDone>> {
    const progress = new Progress(report, "export");
    const { type, dest, attributes } = output;
    const annotations = annotationsOf(body.annotations, attributes);
    if (type === "cacheonly") return {};
    const several = result.images.length > 1;
    if (several) {
      const { sbom, provenance } = body.attestations ?? {};
      checkPlatformsOutput(output, { attested: Boolean(sbom || provenance) });
    }
    if ((type === "docker" && dest === undefined) || type === "image") {
      const pushed = attributes.push === "true";
      if (result.images.length > 1) return await this.#pushIndex(result, output, body, progress, signal);
      const exported = await progress.during("exporting to image", async () => {
        const given = (attributes.name ?? "").split(",").filter(Boolean);
        const names = given.length > 0 ? given : body.tags;
        const imageId = await this.record(result, names, signal, annotations);
        const descriptor = this.ctx.images.manifest(imageId);
        return { imageId, digest: descriptor.digest, descriptor, names: names.map((name) => wholeName(name)) };
      });
      if (!pushed) return exported;
      if (exported.names.length === 0) throw invalid("tag is needed when pushing to registry");
      for (const name of exported.names) {
        await progress.during(`pushing ${name}`, async () => {
          const digest = await this.#push(name, body.auth?.(name), signal);
          exported.digest = digest ?? exported.digest;
          // Its layers are compressed there.
          if (digest !== undefined && digest !== exported.descriptor.digest) {
            const { Descriptor } = await this.ctx.images.distribution({
              reference: `${name.slice(0, name.lastIndexOf(":"))}@${digest}`,
              auth: body.auth?.(name),
              signal,
            });
            exported.descriptor = Descriptor;
          }
        });
        const { attestations: wanted, dockerfileName = "Dockerfile", target, args = {}, labels = {} } = body;
        if (!wanted?.sbom && !wanted?.provenance) continue;
        const told = { dockerfileName, args, labels, ...(target === undefined ? {} : { target }) };
        const { digest, imageId } = exported;
        const reference = name.slice(0, name.lastIndexOf(":"));
        await progress.during(`attesting ${name}`, () =>
          attest(this.ctx, result, { reference, digest, imageId, auth: body.auth?.(name), wanted, told }, signal),
        );
      }
      return exported;
    }
    if (type === "local" || type === "tar") {
      return await progress.during(
        type === "tar" ? "exporting to tarball" : "exporting to client directory",
        async () => {
          const lowers = this.layers.lowers(result.images[0]!.layers.map(({ diffId }) => diffId));
          const tar = several
            ? filesOfPlatforms(result.images, this.layers, signal)
            : treeInChild({ kind: "rootfs", tree: { lowers } }, signal);
          await give(type === "tar" ? "file" : "files", tar);
          return {};
        },
      );
    }
    const { compression = "uncompressed" } = attributes;
    if (compression !== "uncompressed") {
      throw notImplemented(
        `archives with compression=${compression.slice(0, 60)} are not supported yet: compress the file`,
      );
    }
    const form = type === "oci" ? "exporting to oci image format" : "exporting to docker image format";
    const given = (attributes.name ?? "").split(",").filter(Boolean);
    const tags = given.length > 0 ? given : body.tags;
    return await progress.during(form, async () => {
      const archive = this.ctx.images.archive({ images: result.images, tags, annotations, signal });
      await give(attributes.tar === "false" ? "files" : "file", archive);
      return { names: tags.map((name) => wholeName(name)) };
    });
  }

  /** Of several platforms, which the engine keeps no image of. */
  async #pushIndex(
    { images }: BuildResult,
    { attributes }: BuildOutput,
    { tags, auth }: Pick<BuildBody, "tags"> & { auth?(reference: string): RegistryAuth | undefined },
    progress: Progress,
    signal: AbortSignal,
  ): Promise<Partial<BuildDone>> {
    const given = (attributes.name ?? "").split(",").filter(Boolean);
    const names = (given.length > 0 ? given : tags).map((name) => wholeName(name));
    if (names.length === 0) throw invalid("tag is needed when pushing to registry");
    return await withPlatformImages(images, this.content, this.temporary, signal, async (ready) => {
      const done: Partial<BuildDone> = { names };
      for (const reference of names) {
        await progress.during(`pushing ${reference}`, async () => {
          done.descriptor = await this.ctx.images.pushIndex({ reference, auth: auth?.(reference), signal }, ready);
          done.digest = (done.descriptor as Descriptor).digest;
        });
      }
      return done;
    });
  }

  /** Pushes `name:tag`; answers the digest of its manifest at the registry. */
  async #push(name: string, auth: RegistryAuth | undefined, signal: AbortSignal): Promise<string | undefined> {
    const colon = name.lastIndexOf(":");
    let digest: string | undefined;
    await this.ctx.images.push({
      ...{ reference: name.slice(0, colon), tag: name.slice(colon + 1), signal },
      onMessage: ({ aux }) => {
        digest = (aux as { Digest?: string } | undefined)?.Digest ?? digest;
      },
      ...(auth ? { auth } : {}),
    });
    return digest;
  }
}
