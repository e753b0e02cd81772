import { invalid, notFound } from "../base/errors.ts";
import type { PlannedMount } from "./config/mount-plan.ts";
import type { Container } from "./container.ts";

/** The containers that there are, by id, name and prefix. */
export class ContainerTable {
  readonly #byId = new Map<string, Container>();
  readonly #byName = new Map<string, Container>();

  add(container: Container): void {
    this.#byId.set(container.id, container);
    this.#byName.set(container.record.name, container);
  }

  delete(container: Container): void {
    this.#byId.delete(container.id);
    this.#byName.delete(container.record.name);
  }

  rename(container: Container, from: string): void {
    this.#byName.delete(from);
    this.#byName.set(container.record.name, container);
  }

  all(): Container[] {
    return [...this.#byId.values()];
  }

  /** Who uses an image, for its removal. */
  usersOf(imageId: string): { id: string; running: boolean }[] {
    return this.all()
      .filter(({ record }) => record.imageId === imageId || mountsImage(record.mounts, imageId))
      .map(({ id, isUp }) => ({ id, running: isUp }));
  }

  has(id: string): boolean {
    return this.#byId.has(id);
  }

  byName(name: string): Container | undefined {
    return this.#byName.get(name);
  }

  /** By full id, name, or unique prefix of an id, in this order. None, or more than one, is an error. */
  get(ref: string): Container {
    const found = this.find(ref);
    if (!found) throw notFound(`No such container: ${ref.slice(0, 256)}`);
    return found;
  }

  /** As {@link get}, where it may be missing. */
  find(ref: string): Container | undefined {
    const exact = this.#byId.get(ref) ?? this.#byName.get(ref.startsWith("/") ? ref.slice(1) : ref);
    if (exact) return exact;
    const found = /^[0-9a-f]{1,64}$/.test(ref) ? this.all().filter(({ id }) => id.startsWith(ref)) : [];
    if (found.length > 1) throw invalid(`multiple IDs found with provided prefix: ${ref}`);
    return found[0];
  }
}

const mountsImage = (mounts: readonly PlannedMount[], id: string) =>
  mounts.length > 0 && mounts.some(({ imageId }) => imageId === id);
