import { treeInChild } from "../../archive/command.ts";
import { invalid, notImplemented } from "../../base/errors.ts";
import type { BuildResult, BuiltImage } from "../../build/builder.ts";
import { wholeName } from "../../build/frontend/plan.ts";
import { Progress } from "../../build/progress.ts";
import type { ContentStore } from "../../content/store.ts";
import { tagTarget } from "../../images/find.ts";
import { formatPlatform, hostPlatform, samePlatform } from "../../images/platform.ts";
import { familiar } from "../../images/reference.ts";
import type { Layers } from "../../layers/layers.ts";
import type { RegistryAuth } from "../../registry/auth.ts";
import type { BuildEvent } from "../../spec/build.ts";
import type { BuildBody, BuildDone, BuildOutput } from "../../spec/build-stream.ts";
import type { Context } from "../context.ts";
import { Annotations } from "./annotations.ts";
import { attest, type ToldOf } from "./attestations.ts";
import { checkPlatformsOutput, filesOfPlatforms, withPlatformImages } from "./platforms.ts";

/** What the outputs of a build are to be named, and to say. */
export type ExportBody = Pick<BuildBody, "tags" | "annotations" | "attestations"> &
  Partial<ToldOf> & { auth?(reference: string): RegistryAuth | undefined };

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
    this.ctx.images.created(id);
    for (const target of targets) this.ctx.images.tagged(id, target);
    return id;
  }

  /** One output of a build. `give` sends what is the client's to it: a file, or a tar of files. */
  async export(
    result: BuildResult,
    output: BuildOutput,
    body: ExportBody,
    report: (event: BuildEvent) => void,
    signal: AbortSignal,
    give: (kind: "file" | "files", bytes: AsyncIterable<Uint8Array>) => Promise<void>,
  ): Promise<Partial<BuildDone>> {
    const progress = new Progress(report, "export");
    const { type, dest, attributes } = output;
    const annotations = new Annotations(body.annotations, attributes);
    if (type === "cacheonly") return {};
    const several = result.images.length > 1;
    if (several) checkPlatformsOutput(output);
    if ((type === "docker" && dest === undefined) || type === "image") {
      const pushed = attributes.push === "true";
      if (several) return await this.#pushIndex(result, output, body, annotations, progress, signal);
      annotations.only(["manifest"]);
      const exported = await progress.during("exporting to image", async () => {
        const given = (attributes.name ?? "").split(",").filter(Boolean);
        const names = given.length > 0 ? given : body.tags;
        const { platform } = result.images[0]!;
        const imageId = await this.record(result, names, signal, annotations.of("manifest", platform));
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
        const { digest } = exported;
        await this.#attest(result, result.images[0]!, { name, digest }, body, progress, signal);
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
      annotations.only(several ? ["manifest", "index"] : ["manifest"]);
      const images = result.images.map((image) => ({
        ...image,
        annotations: annotations.of("manifest", image.platform),
      }));
      const archive = this.ctx.images.archive({ images, tags, annotations: annotations.of("index"), signal });
      await give(attributes.tar === "false" ? "files" : "file", archive);
      return { names: tags.map((name) => wholeName(name)) };
    });
  }

  /** Of several platforms, which the engine keeps no image of. */
  async #pushIndex(
    result: BuildResult,
    { attributes }: BuildOutput,
    body: ExportBody,
    annotations: Annotations,
    progress: Progress,
    signal: AbortSignal,
  ): Promise<Partial<BuildDone>> {
    annotations.only(["manifest", "manifest-descriptor", "index"]);
    const given = (attributes.name ?? "").split(",").filter(Boolean);
    const names = (given.length > 0 ? given : body.tags).map((name) => wholeName(name));
    if (names.length === 0) throw invalid("tag is needed when pushing to registry");
    return await withPlatformImages(result.images, this.content, this.temporary, signal, async (ready) => {
      const images = ready.map((image) => ({
        ...image,
        annotations: annotations.of("manifest", image.platform),
        descriptorAnnotations: annotations.of("manifest-descriptor", image.platform),
      }));
      const done: Partial<BuildDone> = { names };
      for (const name of names) {
        const asked = { reference: name, auth: body.auth?.(name), signal };
        const pushed = await progress.during(`pushing ${name}`, () =>
          this.ctx.images.pushIndex(asked, images, annotations.of("index")),
        );
        done.descriptor = pushed.descriptor;
        done.digest = pushed.descriptor.digest;
        for (const [at, { digest }] of pushed.manifests.entries()) {
          await this.#attest(result, result.images[at]!, { name, digest }, body, progress, signal);
        }
      }
      return done;
    });
  }

  /** Attaches what is wanted to one image's manifest, `digest`, at its registry. */
  async #attest(
    result: BuildResult,
    image: BuiltImage,
    { name, digest }: { name: string; digest: string },
    body: ExportBody,
    progress: Progress,
    signal: AbortSignal,
  ): Promise<void> {
    const { attestations: wanted, dockerfileName = "Dockerfile", target, args = {}, labels = {} } = body;
    if (!wanted?.sbom && !wanted?.provenance) return;
    const told = { dockerfileName, args, labels, ...(target === undefined ? {} : { target }) };
    const reference = name.slice(0, name.lastIndexOf(":"));
    const of = result.images.length > 1 ? ` for ${formatPlatform(image.platform)}` : "";
    await progress.during(`attesting ${name}${of}`, () =>
      attest(
        this.ctx,
        { ...result, image, content: this.content },
        { reference, digest, auth: body.auth?.(name), wanted, told },
        signal,
      ),
    );
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
