import { newId } from "../base/digest.ts";
import { conflict, InroError, invalid, messageOf, notFound, unavailable } from "../base/errors.ts";
import { ownerUid } from "../base/owner.ts";
import { formatPlatform, parsePlatform, satisfies } from "../images/platform.ts";
import type { CreateResponse, HostConfig } from "../spec/docker-api.ts";
import type { ImageConfig } from "../spec/oci-image.ts";
import { boundMounts } from "./bounds.ts";
import { nowText } from "./clock.ts";
import { type CreateDefaults, withDefaults } from "./config/create-defaults.ts";
import { hasNetworks, usernsRequest } from "./config/modes.ts";
import { type PlannedMount, planMounts } from "./config/mount-plan.ts";
import { containerName, randomName } from "./config/names.ts";
import { requestedImage, validateCreate } from "./config/validate-create.ts";
import { inheritedMounts, parseVolumesFrom } from "./config/volumes-from.ts";
import { Container, newState } from "./container.ts";
import { type Context, emit } from "./context.ts";
import { isHostImage } from "./host-image.ts";
import { checkLog } from "./log/container-log.ts";
import { checkBindSource } from "./mount-sources.ts";
import { requestedEndpoints } from "./networks/endpoint-settings.ts";
import type { Bounds } from "./requests.ts";
import type { ContainerRecord, StateRecord } from "./store.ts";
import type { Volumes } from "./volumes.ts";

/**
 * POST /containers/create: checks the untrusted body and records the container, in one synchronous step, so that of two
 * with the same name one fails. Makes nothing else.
 */
export function createContainer(
  ctx: Context,
  volumes: Volumes,
  request: { body: unknown; name?: string | undefined; platform?: string | undefined; bounds?: Bounds | undefined },
): CreateResponse {
  const taken = (name: string) => ctx.table.byName(name) !== undefined;
  const name = request.name ? containerName(request.name) : randomName(taken);
  const image = requestedImage(request.body);
  const found = ctx.images.find(image);
  if (request.platform && !isHostImage(image)) checkPlatform(image, found.config, request.platform);
  const defaults = withoutReserved(ctx, found.config.config);
  const body = completed(withNetwork(request.body, ctx.networks.defaultName), ctx.settings.defaults);
  const { config, host, warnings } = validateCreate(body, defaults, undefined, ctx.defaultLog);
  nameById(ctx, host);
  const requested = requestedEndpoints(request.body as Record<string, unknown>, config, host);
  for (const link of host.Links ?? []) {
    const target = link.split(":")[0]!;
    named(() => ctx.table.get(target), `could not get container for ${target.slice(0, 256)}: `);
  }
  const endpoints = hasNetworks(host.NetworkMode ?? "none") ? named(() => ctx.endpoints.plan(requested)) : undefined;
  const other = ctx.table.byName(name);
  if (other) {
    throw conflict(
      `Conflict. The container name "/${name}" is already in use by container "${other.id}". You have to remove (or rename) that container to be able to reuse that name.`,
    );
  }
  const inherited = (host.VolumesFrom ?? []).flatMap((text) => {
    const from = parseVolumesFrom(text);
    return named(() => inheritFrom(ctx.table.get(from.container), from.readOnly));
  });
  const mounts = planMounts(
    config,
    host,
    inherited.flatMap(({ mounts }) => mounts),
  );
  const { bounds } = request;
  const allowed = bounds ? boundMounts(mounts, bounds, (name) => ctx.store.volume(name)) : mounts;
  for (const mount of allowed) if (mount.type === "bind" && !mount.createSource) checkBindSource(mount);
  const planned = named(() => volumes.plan(allowed.map((mount) => withImage(ctx, mount))));
  const range = usernsRequest(host.UsernsMode);
  // The ids of a plain user are those of all its containers.
  if (range && ownerUid() !== 0) {
    throw invalid(
      `userns ${host.UsernsMode}: rootless containers are in the user namespace of their engine, which has no ids left`,
    );
  }
  const record: ContainerRecord = {
    id: newId(),
    name,
    created: nowText(),
    image,
    imageId: found.id,
    config,
    host,
    mounts: planned.mounts,
    anonymous: [
      ...planned.anonymous,
      // As in docker they go with the last container that has them.
      ...inherited.flatMap(({ anonymous }) => anonymous).filter((name) => isMounted(name, planned.mounts)),
    ],
    ...(range ? { userns: freeIds(ctx, range.size) } : {}),
    ...(endpoints ? { endpoints } : {}),
  };
  checkLog(record);
  const state = newState();
  ctx.store.insertContainer(record, state, planned.volumes);
  ctx.images.noteUse(found.id);
  const container = register(ctx, record, state);
  for (const volume of planned.volumes) volumes.created(volume);
  // They outlive the container, which need not be on the disk itself.
  if (planned.volumes.some(({ anonymous }) => !anonymous)) {
    ctx.store.sync().catch((error) => ctx.log(`sync: ${messageOf(error)}`));
  }
  emit(ctx, container, "create");
  return { Id: record.id, Warnings: warnings };
}

/** The body with its network named, where it names none and the engine has another default than docker. */
function withNetwork(body: unknown, name: string): unknown {
  if (name === "bridge" || typeof body !== "object" || body === null) return body;
  const { HostConfig: host } = body as { HostConfig?: { NetworkMode?: unknown } };
  const mode = host?.NetworkMode;
  if (mode !== undefined && mode !== null && mode !== "" && mode !== "default") return body;
  return { ...body, HostConfig: { ...host, NetworkMode: name } };
}

/** `container:NAME` becomes `container:ID`: who shares a namespace goes on sharing it when the other is renamed. */
function nameById(ctx: Context, host: HostConfig): void {
  for (const mode of ["NetworkMode", "PidMode", "IpcMode"] as const) {
    const name = host[mode]?.startsWith(SHARED) ? host[mode].slice(SHARED.length) : "";
    if (name === "") continue;
    // Whose network it is to share may come until the start, as in docker.
    const other = mode === "NetworkMode" ? ctx.table.find(name) : named(() => ctx.table.get(name));
    if (other) host[mode] = `${SHARED}${other.id}`;
  }
}
const SHARED = "container:";

/** Puts a recorded container into the table. */
export function register(ctx: Context, record: ContainerRecord, state: StateRecord): Container {
  const container: Container = new Container(
    record,
    state,
    {
      directory: ctx.paths.container(record.id),
      journal: ctx.journal,
      onError: (error) => ctx.log(`container ${record.id.slice(0, 12)}: its log: ${messageOf(error)}`),
    },
    () => emit(ctx, container, "detach"),
  );
  ctx.table.add(container);
  return container;
}

/** What `VolumesFrom` gives, and which of it was made for the other container alone. */
function inheritFrom({ record }: Container, readOnly: boolean): { mounts: PlannedMount[]; anonymous: string[] } {
  return { mounts: inheritedMounts(record.mounts, readOnly), anonymous: record.anonymous };
}

const isMounted = (volume: string, mounts: readonly PlannedMount[]) =>
  mounts.some(({ type, source }) => type === "volume" && source === volume);

/** The image of a mount is the one that has the name now. */
function withImage(ctx: Context, mount: PlannedMount): PlannedMount {
  if (mount.type !== "image") return mount;
  if (isHostImage(mount.source)) throw invalid("the image host cannot be mounted: bind what is needed of the machine");
  return {
    ...mount,
    imageId: named(() => ctx.images.find(mount.source).id, 'invalid mount config for type "image": '),
  };
}

/** What a container refers to. Where that is not there it is invalid, and not notFound: a client would pull the image then. */
function named<T>(find: () => T, what = ""): T {
  try {
    return find();
  } catch (error) {
    if (!(error instanceof InroError) || error.kind !== "notFound") throw error;
    throw invalid(`${what}${error.message}`, error);
  }
}

/** The body with the engine's defaults; what is no object is left for the checks. */
function completed(body: unknown, defaults: CreateDefaults): unknown {
  if (Object.keys(defaults).length === 0) return body;
  const host = (body as { HostConfig?: unknown }).HostConfig ?? {};
  if (typeof host !== "object" || Array.isArray(host)) return body;
  return { ...(body as object), HostConfig: withDefaults(host as Record<string, unknown>, defaults) };
}

/** An image's defaults without the labels by which rights are given: who builds an image does not give them. */
function withoutReserved(ctx: Context, defaults: ImageConfig["config"]): ImageConfig["config"] {
  if (ctx.reservedLabels.length === 0 || !defaults?.Labels) return defaults;
  const left = Object.entries(defaults.Labels).filter(([key]) => !ctx.reservedLabels.includes(key));
  return { ...defaults, Labels: Object.fromEntries(left) };
}

function checkPlatform(image: string, config: { os: string; architecture: string; variant?: string }, wanted: string) {
  const platform = parsePlatform(wanted);
  if (satisfies(config, platform, true)) return;
  throw notFound(
    `image with reference ${image} was found but its platform (${formatPlatform(config)}) does not match the specified platform (${formatPlatform(platform)})`,
  );
}

const FIRST_ID = 100_000;
const LAST_ID = 2 ** 31;

/** A range of host ids that no other container has. */
function freeIds(ctx: Context, size: number): { hostID: number; size: number } {
  const used = ctx.table
    .all()
    .flatMap(({ record }) => (record.userns ? [record.userns] : []))
    .sort((a, b) => a.hostID - b.hostID);
  let hostID = FIRST_ID;
  for (const range of used) {
    if (hostID + size <= range.hostID) break;
    hostID = Math.max(hostID, range.hostID + range.size);
  }
  if (hostID + size > LAST_ID) throw unavailable("no ids are left for another user namespace");
  return { hostID, size };
}
