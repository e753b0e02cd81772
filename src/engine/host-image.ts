import { sha256 } from "../base/digest.ts";
import { conflict } from "../base/errors.ts";
import { tagTarget } from "../images/find.ts";
import {
  type ImageRecord,
  Images,
  type ImagesOptions,
  type ImportOptions,
  type LoadOptions,
  type PullOptions,
  type PushOptions,
  type Removal,
} from "../images/images.ts";
import { familiar, familiarName, parseReference, withDefaultTag } from "../images/reference.ts";
import type { HistoryEntry, ImageInspect } from "../spec/docker-api.ts";
import type { ImageConfig } from "../spec/oci-image.ts";
import { ZERO_TIME } from "./clock.ts";
import { HOST_IMAGE } from "./config/modes.ts";
import type { EventLog } from "./events.ts";

const config: ImageConfig = {
  architecture: process.arch === "x64" ? "amd64" : process.arch,
  os: "linux",
  config: {
    Env: ["PATH=/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin"],
    Cmd: ["sh"],
  },
  rootfs: { type: "layers", diff_ids: [] },
};

/** The pseudo-image `host`: the machine's own root as the only, read-only layer. Needs no network and no disk. */
const HOST: ImageRecord = {
  id: sha256(JSON.stringify(config)),
  config,
  layers: ["/"],
  tags: [`${HOST_IMAGE}:latest`],
  digests: [],
  size: 0,
  created: ZERO_TIME,
};

const HOST_COMMENT = "the machine's own root, read-only";

export function isHostImage(nameOrId: string): boolean {
  return [HOST_IMAGE, `${HOST_IMAGE}:latest`, HOST.id].includes(nameOrId);
}

/**
 * The images of an engine: those in the store, and `host`, which is found but neither listed nor removed. What happens to
 * them is an event.
 */
export class EngineImages extends Images {
  constructor(
    options: ImagesOptions,
    private readonly events: EventLog,
  ) {
    super(options);
  }

  /** Hears that there is an image more, or may be. */
  onArrival: (() => void) | undefined;

  /** Docker's attributes of an image event: the image's labels, and the name that the action was about. */
  #emit(action: string, id: string, name: string, image?: ImageRecord): void {
    this.events.emit("image", action, id, { ...image?.config.config?.Labels, name });
  }

  /** Tells of a prune that freed so many bytes. */
  pruned(bytes: number): void {
    this.events.emit("image", "prune", "", { reclaimed: String(bytes) });
  }

  override async pull(options: PullOptions): Promise<void> {
    await super.pull(options);
    this.onArrival?.();
    const { reference, tag, all } = options;
    const pulled = parseReference(reference);
    if (all) {
      this.#emit("pull", familiarName(pulled), familiarName(pulled));
      return;
    }
    const { domain, path } = pulled;
    const digest = tag?.includes(":") ? { digest: tag } : tag ? { tag } : undefined;
    const name = familiar(withDefaultTag(digest ? { domain, path, ...digest } : pulled));
    this.#emit("pull", name, familiarName(pulled), this.find(name));
  }

  override async importTar(options: ImportOptions): Promise<string> {
    const id = await super.importTar(options);
    this.noteUse(id);
    this.onArrival?.();
    this.#emit("import", id, id, this.find(id));
    return id;
  }

  override async load(options: LoadOptions): Promise<string[]> {
    const ids = await super.load(options);
    for (const id of ids) {
      this.noteUse(id);
      this.onArrival?.();
    }
    for (const id of ids) this.#emit("load", id, id, this.find(id));
    return ids;
  }

  override async push(options: PushOptions): Promise<void> {
    await super.push(options);
    const { tag } = options;
    const bare = parseReference(options.reference);
    const named = tag ? { domain: bare.domain, path: bare.path, tag } : bare;
    this.#emit("push", familiar(named), familiarName(bare));
  }

  override save(names: string[], without?: ReadonlySet<string>): AsyncIterable<Uint8Array> {
    const archive = super.save(names, without);
    for (const id of this.savedIds(names)) this.#emit("save", id, id, this.find(id));
    return archive;
  }

  override tag(source: string, repository: string, tag?: string): void {
    super.tag(source, repository, tag);
    const image = this.find(source);
    this.#emit("tag", image.id, familiar(tagTarget(repository, tag)), image);
  }

  /** Tells that an image has been built. */
  created(id: string): void {
    this.#emit("create", id, id, this.find(id));
  }

  /** Tells that an image has got a name in another way than by {@link tag}. */
  tagged(id: string, name: string): void {
    this.#emit("tag", id, name, this.find(id));
  }

  override find(nameOrId: string): ImageRecord {
    return isHostImage(nameOrId) ? HOST : super.find(nameOrId);
  }

  override inspect(nameOrId: string): ImageInspect {
    if (!isHostImage(nameOrId)) return super.inspect(nameOrId);
    return {
      Id: HOST.id,
      RepoTags: HOST.tags,
      RepoDigests: [],
      Parent: "",
      Comment: HOST_COMMENT,
      Created: HOST.created,
      Author: "",
      Config: { ...config.config } as ImageInspect["Config"],
      Architecture: config.architecture,
      Os: config.os,
      Size: 0,
      GraphDriver: { Name: "overlay2", Data: { UpperDir: "/" } },
      RootFS: { Type: "layers", Layers: [] },
      Metadata: { LastTagTime: ZERO_TIME },
    };
  }

  override history(nameOrId: string): HistoryEntry[] {
    if (!isHostImage(nameOrId)) return super.history(nameOrId);
    return [{ Id: HOST.id, Created: 0, CreatedBy: "", Tags: HOST.tags, Size: 0, Comment: HOST_COMMENT }];
  }

  override remove(nameOrId: string, options: Parameters<Images["remove"]>[1]): Removal {
    if (isHostImage(nameOrId)) throw conflict("the image host is the machine itself: it cannot be removed");
    const image = this.find(nameOrId);
    const { id } = image;
    const removal = super.remove(nameOrId, options);
    for (const { Untagged, Deleted } of removal) {
      if (Untagged !== undefined) this.#emit("untag", id, id, image);
      if (Deleted === id) this.#emit("delete", id, id, image);
    }
    return removal;
  }
}
