import { InroError, notFound } from "../../base/errors.ts";
import type { Engine } from "../../engine/engine.ts";
import { isHostImage } from "../../engine/host-image.ts";
import type { ContainerRecord } from "../../engine/store.ts";
import { parseReference, repositoryName } from "../../images/reference.ts";
import type { EventMessage, HostConfig } from "../../spec/docker-api.ts";
import type { Call, Found } from "../call.ts";
import { forbidden, hostViolation, NAMESPACE_FIELDS } from "./container-fields.ts";
import type { Scope } from "./policy.ts";

/** How far a chain of containers that share namespaces is followed. */
const LONGEST_CHAIN = 8;

/** One scope on one engine: what is there for its clients, and what they may touch. */
export class Guard {
  constructor(
    /** May be changed: it is looked at anew for each request. */
    public scope: Scope,
    readonly engine: Engine,
    /** The API's route of a GET. */
    private readonly find: (path: string) => Found | undefined,
  ) {}

  /** Whether labels make their bearer visible. */
  carries(labels: Record<string, string> | null | undefined): boolean {
    const { label } = this.scope;
    return (
      label === undefined || (labels != null && Object.hasOwn(labels, label.key) && labels[label.key] === label.value)
    );
  }

  /**
   * The labels of what is made: the scope's among them. Throws forbidden where the client wants another value, or a label
   * by which another socket's clients would take it for theirs.
   */
  marked(labels: unknown): Record<string, unknown> {
    const given = (typeof labels === "object" && labels !== null ? labels : {}) as Record<string, unknown>;
    const { label } = this.scope;
    const others = this.engine.reservedLabels.filter((key) => key !== label?.key);
    const foreign = others.find((key) => Object.hasOwn(given, key));
    if (foreign !== undefined) throw forbidden(this.scope, `label ${foreign}, which is another socket's`);
    if (!label) return given;
    if (Object.hasOwn(given, label.key) && given[label.key] !== label.value) {
      throw forbidden(this.scope, `label ${label.key} with another value than ${JSON.stringify(label.value)}`);
    }
    return { ...given, [label.key]: label.value };
  }

  /**
   * The id of a container that may be looked at; one outside of the scope is not found, in the words for one that is not
   * there. An id, since a name may be another container's by the time it is used.
   */
  see(ref: string): string {
    return this.#seen(ref).id;
  }

  #seen(ref: string): ContainerRecord {
    const record = this.engine.containers.record(ref);
    if (!this.carries(record.config.Labels)) throw notFound(`No such container: ${ref.slice(0, 256)}`);
    return record;
  }

  /**
   * The id of a container that may be acted upon: seen, and no more than this socket could have made. Else a command in a
   * privileged container, say, would give what no container of this socket can have.
   */
  touch(ref: string, depth = 0): string {
    const record = this.#seen(ref);
    const { host, id, name, mounts } = record;
    const why = hostViolation(this.scope, this.#asked(host));
    if (why !== undefined) throw forbidden(this.scope, `container ${name} has ${why}: touching it is`);
    if (isHostImage(record.imageId)) this.image("host");
    for (const { type, source, imageId } of mounts) {
      if (type === "volume") this.volume(source);
      else if (type === "image") this.image(imageId!);
    }
    for (const field of NAMESPACE_FIELDS) {
      const other = /^container:(.+)$/.exec(host[field] ?? "")?.[1];
      if (other === undefined) continue;
      if (depth === LONGEST_CHAIN)
        throw forbidden(this.scope, `container ${name}, at the end of a long chain: touching it is`);
      this.touch(other, depth + 1);
    }
    return id;
  }

  /** A recorded HostConfig without what the engine's own defaults put there. */
  #asked(host: HostConfig): Record<string, unknown> {
    const { cgroupParent, cgroupnsMode } = this.engine.settings.defaults;
    const asked: Record<string, unknown> = { ...host };
    if (host.CgroupParent === cgroupParent) delete asked.CgroupParent;
    if (host.CgroupnsMode === cgroupnsMode) delete asked.CgroupnsMode;
    return asked;
  }

  /** Throws notFound for a volume outside of the scope, forbidden for one whose options name what is elsewhere. */
  volume(name: string): void {
    const record = this.engine.volumes.record(name);
    if (!this.carries(record.labels)) throw notFound(`get ${name.slice(0, 256)}: no such volume`);
    if (Object.keys(record.options ?? {}).length > 0)
      throw forbidden(this.scope, `volume ${name} has driver options: using it is`);
  }

  /** Throws notFound for an image that may not be used, in the words for one that is not there. */
  image(nameOrId: string): void {
    const missing = () => notFound(`No such image: ${nameOrId.slice(0, 256)}`);
    if (isHostImage(nameOrId)) {
      // It shows all of the machine's root, so it is never meant by silence.
      if (this.scope.images?.some(({ isHost }) => isHost)) return;
      throw missing();
    }
    const { images, label } = this.scope;
    if (!images && !label) return;
    const found = this.engine.images.find(nameOrId);
    if (label && this.carries(found.config.config?.Labels)) return;
    const names = [...found.tags, ...found.digests];
    if (!images || !names.some((name) => this.#listed(name))) throw missing();
  }

  hasImage(nameOrId: string): boolean {
    try {
      this.image(nameOrId);
      return true;
    } catch (error) {
      if (error instanceof InroError && error.kind === "notFound") return false;
      throw error;
    }
  }

  /** Throws forbidden for a name that an image outside of the scope has: it would lose it. */
  target(repository: string | null, tag: string | null): void {
    if (!repository) return;
    const name = `${repository}:${tag || "latest"}`;
    if (this.#exists(name) && !this.hasImage(name)) throw forbidden(this.scope, `the name ${name} of another image`);
  }

  #exists(name: string): boolean {
    try {
      return this.engine.images.find(name) !== undefined;
    } catch (error) {
      if (error instanceof InroError) return false;
      throw error;
    }
  }

  /** The JSON answer of the API's own GET of a path. */
  async ask(call: Call, path: string): Promise<unknown> {
    const found = this.find(path);
    const reply =
      found &&
      (await found.handler({ ...call, params: found.params, query: new URLSearchParams(), version: found.version }));
    if (!reply || !("body" in reply)) throw notFound("page not found");
    return JSON.parse(String(reply.body));
  }

  /** Whether a reference fits the scope's patterns. */
  #listed(text: string, tag?: string): boolean {
    try {
      const reference = parseReference(text);
      const repository = repositoryName(reference);
      return (this.scope.images ?? []).some((pattern) => pattern.matches(repository, tag ?? reference.tag));
    } catch (error) {
      if (error instanceof InroError) return false;
      throw error;
    }
  }

  /** Throws forbidden for a reference that may not be pulled. */
  pull(reference: string, tag: string | undefined): void {
    const { images, label } = this.scope;
    if (!images && !label) return;
    if (!images) throw forbidden(this.scope, "pulling, since it has a label and no image=");
    const { tag: own } = parseReference(reference);
    const both = tag !== undefined && own !== undefined && tag !== own;
    if (both || !this.#listed(reference, tag)) throw forbidden(this.scope, `pulling ${reference.slice(0, 200)}`);
  }

  /** Throws forbidden where images cannot be told from their names: what the scope allows by name could be anything then. */
  namesImages(what: string): void {
    const { images, label } = this.scope;
    if (images || label) throw forbidden(this.scope, `${what}, since it is limited to some images`);
  }

  /** Whether a container's, volume's or image's event is for this scope. */
  sees(event: EventMessage): boolean {
    if (!this.scope.label) return true;
    const { ID, Attributes } = event.Actor;
    if (event.Type === "container") return this.carries(Attributes);
    try {
      if (event.Type === "volume") return this.carries(this.engine.volumes.record(ID).labels);
      return event.Type === "image" && this.hasImage(ID);
    } catch {
      // Gone by now, and its labels with it.
      return false;
    }
  }
}
