import { randomUUID } from "node:crypto";
import { createReadStream } from "node:fs";
import { sha256 } from "../base/digest.ts";
import { InroError, invalid, notFound } from "../base/errors.ts";
import { Slots } from "../base/slots.ts";
import { compressInChild } from "../layers/apply-command.ts";
import type { CompressedForm } from "../layers/compress.ts";
import type { RegistryAuth } from "../registry/auth.ts";
import { originOf } from "../registry/endpoint.ts";
import { PATIENCE, type Patience } from "../registry/http.ts";
import { RegistryError, Repository } from "../registry/repository.ts";
import { type Located, locate, upload } from "../registry/upload.ts";
import type { StreamMessage } from "../spec/docker-api.ts";
import { type Descriptor, type Manifest, MEDIA, type Platform } from "../spec/oci-image.ts";
import { formatPlatform, satisfies } from "./platform.ts";
import { Progress } from "./progress.ts";
import type { PullContext } from "./pull.ts";
import type { ImageRow, LayerRow } from "./records.ts";
import { checkTag, familiar, familiarName, parseReference, type Reference, repositoryName } from "./reference.ts";
import { Spool } from "./spool.ts";
import type { ImageStore } from "./store.ts";

export interface PushOptions {
  /** The repository; a tag in it is used when `tag` is absent. */
  reference: string;
  /** Without one, all tags of the repository. */
  tag?: string;
  /** Refuses an image of another. */
  platform?: Platform;
  auth?: RegistryAuth;
  /** For layers that are here as plain tars; default gzip. */
  compression?: CompressedForm;
  onMessage(message: StreamMessage): void;
  signal?: AbortSignal;
}

/** As many as dockerd uploads at once. */
const PARALLEL = 5;
const PARALLEL_COMPRESSION = 2;
const CHUNK = 1 << 18;

/** See Images.push. */
export async function push(
  context: PullContext & { tempDir: string | undefined },
  options: PushOptions,
): Promise<void> {
  const { store, registries, patience = PATIENCE } = context;
  const progress = new Progress(options.onMessage);
  const reference = wanted(options);
  const { domain, path } = reference;
  const endpoint = originOf(domain, registries);
  const repository = new Repository(endpoint, path, options.auth, patience, "pull,push");
  progress.say(`The push refers to repository [${repositoryName(reference)}]`);
  const tags = store.records.tagsOf(repositoryName(reference));
  if (tags.length === 0) {
    throw notFound(`An image does not exist locally with the tag: ${familiarName(reference)}`);
  }
  const chosen = reference.tag === undefined ? tags : tags.filter(({ tag }) => tag === reference.tag);
  if (chosen.length === 0) throw notFound(`tag does not exist: ${familiar(reference)}`);
  const spool = await Spool.open(context.tempDir);
  try {
    const signal = options.signal ?? new AbortController().signal;
    const work = { store, repository, progress, patience, spool, signal, form: options.compression ?? "gzip" } as const;
    for (const { tag, image } of chosen) {
      const row = store.records.get(image)!;
      checkPlatform(row, { domain, path, tag }, options.platform);
      await new Push({ ...work, domain }, row).run(tag);
    }
  } catch (error) {
    throw explain(error, options.auth !== undefined);
  } finally {
    await spool.close();
  }
}

function wanted({ reference: text, tag }: PushOptions): Reference {
  const reference = parseReference(text);
  if (reference.digest !== undefined || tag?.includes(":")) throw invalid("cannot push a digest reference");
  if (!tag) return reference;
  checkTag(tag);
  return { ...reference, tag };
}

function checkPlatform({ config }: ImageRow, reference: Reference, platform: Platform | undefined): void {
  if (!platform || satisfies(config, platform, true)) return;
  const found = `image with reference ${familiar(reference)} was found but does not provide the specified platform`;
  throw notFound(`${found} (${formatPlatform(platform)})`);
}

interface PushWork {
  store: ImageStore;
  repository: Repository;
  domain: string;
  progress: Progress;
  patience: Patience;
  spool: Spool;
  signal: AbortSignal;
  form: CompressedForm;
}

/** One image on its way to one repository. The first failure ends all uploads. */
class Push {
  readonly #failure = new AbortController();
  readonly #signal: AbortSignal;
  readonly #uploads = new Slots(PARALLEL);
  readonly #compressions = new Slots(PARALLEL_COMPRESSION);

  constructor(
    private readonly work: PushWork,
    private readonly row: ImageRow,
  ) {
    this.#signal = AbortSignal.any([work.signal, this.#failure.signal]);
  }

  async run(tag: string): Promise<void> {
    const { store, repository, progress } = this.work;
    const { row } = this;
    const hold = store.holds.open();
    try {
      for (const blob of [row.id, row.manifest.digest, ...row.layers.map(({ blob }) => blob.digest)]) hold.blob(blob);
      const unique = [...new Map(row.layers.map((layer) => [layer.blob.digest, layer])).values()];
      for (const layer of unique) progress.say("Preparing", shortId(layer));
      const pushed = new Map<string, Descriptor>();
      await this.#all(
        unique.map(async (layer) => {
          pushed.set(layer.blob.digest, await this.#layer(layer));
        }),
      );
      await this.#blob({ mediaType: MEDIA.ociConfig, digest: row.id, size: Buffer.byteLength(row.configText) });
      const layers = row.layers.map(({ blob }) => pushed.get(blob.digest)!);
      const { bytes, mediaType, digest } = await this.#manifest(layers);
      await repository.putManifest(bytes, { mediaType, digest }, tag, this.#signal);
      const name = `${this.work.domain}/${repository.path}`;
      store.origins.record([row.id, ...layers.map((layer) => layer.digest)], name);
      if (store.records.get(row.id)) store.records.setDigest(name, digest, row.id);
      progress.say(`${tag}: digest: ${digest} size: ${bytes.length}`);
      progress.aux({ Tag: tag, Digest: digest, Size: bytes.length });
    } finally {
      hold.release();
    }
  }

  async #all(works: Promise<void>[]): Promise<void> {
    for (const work of works) work.catch((error) => this.#failure.abort(error));
    await Promise.allSettled(works);
    this.#signal.throwIfAborted();
  }

  /** Uploads a layer as it is stored, or compressed where it never was anything but a plain tar of this machine. */
  async #layer(layer: LayerRow): Promise<Descriptor> {
    const { store, progress } = this.work;
    if (this.#uploads.full) progress.say("Waiting", shortId(layer));
    return this.#uploads.run(async () => {
      this.#signal.throwIfAborted();
      if (!isPlain(layer.blob) || store.origins.isForeign(layer.blob.digest)) {
        await this.#blob(layer.blob, layer);
        return layer.blob;
      }
      return this.#compressed(layer);
    });
  }

  async #compressed(layer: LayerRow): Promise<Descriptor> {
    const { store, form, spool } = this.work;
    const mediaType = form === "gzip" ? MEDIA.ociLayerGzip : MEDIA.ociLayerZstd;
    const known = store.origins.compressed(layer.diffId, form);
    // What it is called is known from the last time: it is compressed only for a registry that has it not.
    const located = known && (await this.#locate(known.digest));
    if (known && located && this.#isThere(located, layer)) return { mediaType, ...known };
    const target = spool.path(randomUUID());
    const source = store.content.path(layer.blob.digest);
    const made = await this.#compressions.run(() =>
      compressInChild({ source, digest: layer.blob.digest, target, form }, this.#signal),
    );
    store.origins.recordCompressed(layer.diffId, form, made);
    const descriptor = { mediaType, ...made };
    const session = known?.digest === made.digest && located?.at === "nowhere" ? located.session : undefined;
    await this.#send(descriptor, layer, target, session);
    await spool.drop(target);
    return descriptor;
  }

  async #blob(descriptor: Descriptor, layer?: LayerRow): Promise<void> {
    const located = await this.#locate(descriptor.digest);
    if (this.#isThere(located, layer)) return;
    const path = this.work.store.content.path(descriptor.digest);
    await this.#send(descriptor, layer, path, located.at === "nowhere" ? located.session : undefined);
  }

  #locate(digest: string): Promise<Located> {
    const { store, repository, domain } = this.work;
    const mounts = store.origins.paths(digest, domain).filter((path) => path !== repository.path);
    return locate(repository, digest, mounts, this.#signal);
  }

  #isThere(located: Located, layer: LayerRow | undefined): boolean {
    if (located.at === "nowhere") return false;
    const said = located.at === "mounted" ? `Mounted from ${located.from}` : EXISTS;
    if (layer) this.work.progress.say(said, shortId(layer));
    return true;
  }

  async #send(descriptor: Descriptor, layer: LayerRow | undefined, path: string, session?: URL): Promise<void> {
    const { repository, progress, patience } = this.work;
    const id = layer && shortId(layer);
    await upload({
      ...{ repository, descriptor, session, patience, signal: this.#signal },
      open: (start) => createReadStream(path, { start, highWaterMark: CHUNK }),
      onProgress: (current) => id && progress.advance("Pushing", id, current, descriptor.size),
      onRetry: (seconds) => id && progress.say(`Retrying in ${seconds} second${seconds === 1 ? "" : "s"}`, id),
    });
    if (id) progress.say("Pushed", id);
  }

  /** The image's manifest as it came, where its layers are what it says. */
  async #manifest(layers: Descriptor[]): Promise<{ bytes: Buffer; mediaType: string; digest: string }> {
    const { row } = this;
    if (layers.every((layer, i) => layer.digest === row.layers[i]!.blob.digest)) {
      return { ...row.manifest, bytes: await this.work.store.content.read(row.manifest.digest) };
    }
    const config = { mediaType: MEDIA.ociConfig, digest: row.id, size: Buffer.byteLength(row.configText) };
    const manifest: Manifest = { schemaVersion: 2, mediaType: MEDIA.ociManifest, config, layers };
    const bytes = Buffer.from(JSON.stringify(manifest));
    return { bytes, mediaType: MEDIA.ociManifest, digest: sha256(bytes) };
  }
}

const EXISTS = "Layer already exists";
const PLAIN: readonly string[] = [MEDIA.ociLayer, "application/vnd.docker.image.rootfs.diff.tar"];

const isPlain = ({ mediaType }: Descriptor) => PLAIN.includes(mediaType);

/** Docker names layers by their diffID here. */
const shortId = ({ diffId }: LayerRow) => diffId.slice(diffId.indexOf(":") + 1).slice(0, 12);

/** Docker's words: those of the registry, alone. */
function explain(error: unknown, withAuth: boolean): unknown {
  if (!(error instanceof RegistryError)) return error;
  const { kind, status, said } = error;
  if (status === 401 && !withAuth && !said?.startsWith("denied"))
    return new InroError("unauthorized", "no basic auth credentials", { cause: error });
  return said && (status === 401 || status === 403) ? new InroError(kind, said, { cause: error }) : error;
}
