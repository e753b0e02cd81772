import { messageOf } from "../base/errors.ts";
import { diskSizesInChild } from "../layers/apply-command.ts";
import type { Context } from "./context.ts";

/** When images go that nobody has asked to keep; none of it by default. */
export interface CollectionLimits {
  /** Bytes that images may take on the disk: those that were used longest ago go first. */
  maxSize?: number | undefined;
  /** Seconds without a container. */
  maxAge?: number | undefined;
}

const EVERY_MS = 60 * 60 * 1000;
/** What has just come is there for somebody who is about to use it. */
const GRACE_MS = 10 * 60 * 1000;

/**
 * Removes images by size and age, as of {@link CollectionLimits}: when one has come, and every hour. One that a container
 * has, running or not, stays. An image was used when it came, got a name, or a container was made of it.
 */
export class ImageCollection {
  #timer: NodeJS.Timeout | undefined;
  #running: Promise<string[]> | undefined;

  constructor(private readonly ctx: Context) {}

  begin(): void {
    this.ctx.images.onArrival = () => this.#soon();
    this.#timer = setInterval(() => this.#soon(), EVERY_MS);
    this.#timer.unref();
  }

  /** Waits for a collection in progress; when images were used is on the disk then. */
  async close(): Promise<void> {
    clearInterval(this.#timer);
    this.ctx.images.onArrival = undefined;
    await this.#running?.catch(() => {});
    this.ctx.images.keepUses();
  }

  #soon(): void {
    this.run().catch((error) => this.ctx.log(`collect images: ${messageOf(error)}`));
  }

  /** Answers the ids of those that went. */
  run(now = Date.now()): Promise<string[]> {
    this.#running ??= this.#collect(now).finally(() => {
      this.#running = undefined;
    });
    return this.#running;
  }

  async #collect(now: number): Promise<string[]> {
    const { images, table, log } = this.ctx;
    const { maxSize, maxAge } = this.ctx.settings.imageCollection ?? {};
    if (maxSize === undefined && maxAge === undefined) return [];
    for (const { id } of images.list()) if (table.usersOf(id).length > 0) images.noteUse(id, now);
    const uses = images.keepUses();
    const gone: string[] = [];
    const unused = images
      .list()
      .map(({ id }) => ({ id, used: uses.get(id) ?? 0 }))
      .filter(({ id, used }) => used < now - GRACE_MS && table.usersOf(id).length === 0)
      .sort((a, b) => a.used - b.used);
    for (const { id, used } of unused) {
      const old = maxAge !== undefined && used < now - maxAge * 1000;
      if (!old && (maxSize === undefined || (await this.#size()) <= maxSize)) continue;
      // Meanwhile somebody may have made a container of it.
      if (table.usersOf(id).length > 0) continue;
      images.remove(id, { force: true, users: (image) => table.usersOf(image) });
      log(`image ${id} has gone: ${old ? "nobody used it" : "images take more than their space"}`);
      gone.push(id);
    }
    return gone;
  }

  async #size(): Promise<number> {
    const { paths } = this.ctx;
    // What was removed may be on its way.
    await this.ctx.images.settled();
    return (await diskSizesInChild([[paths.content, paths.layers]]))[0]!;
  }
}
