import { invalid } from "../base/errors.ts";
import { LONGEST_NAME, safePattern } from "../base/pattern.ts";
import { ZERO_TIME } from "./clock.ts";
import type { Container } from "./container.ts";
import type { HealthRecord } from "./health/record.ts";
import { exposedPorts, parsePorts } from "./networks/ports.ts";
import type { Filters } from "./requests.ts";
import type { StateRecord } from "./store.ts";

/** Keys of `filters` for the list of containers and for prune. */
export const LIST_FILTERS = [
  "ancestor",
  "before",
  "since",
  "exited",
  "expose",
  "publish",
  "health",
  "id",
  "isolation",
  "is-task",
  "label",
  "name",
  "network",
  "status",
  "volume",
] as const;
export const PRUNE_FILTERS = ["until", "label", "label!"] as const;

const STATUSES = ["created", "running", "paused", "restarting", "removing", "exited", "dead"];

const HEALTH = ["none", "starting", "healthy", "unhealthy"];

/** What `before`, `since` and `ancestor` name, resolved by the caller. */
export interface FilterFacts {
  /** Of the container that a reference names; throws notFound. */
  createdOf(ref: string): string;
  /** Image id of a reference; undefined if there is none. */
  imageId(ref: string): string | undefined;
  /** Id of the network that a reference names; undefined if there is none. */
  networkId(ref: string): string | undefined;
}

/** A predicate of docker's meaning. Unknown keys and values that cannot be are invalid. */
export function containerFilter(filters: Filters, facts: FilterFacts): (container: Container) => boolean {
  const tests: ((container: Container) => boolean)[] = [];
  const some = (key: string, one: (value: string) => (container: Container) => boolean) => {
    const values = filters.get(key);
    if (!values || values.length === 0) return;
    const alternatives = values.map(one);
    tests.push((container) => alternatives.some((test) => test(container)));
  };
  for (const key of filters.keys()) {
    if (!(LIST_FILTERS as readonly string[]).includes(key)) throw invalid(`invalid filter '${key.slice(0, 100)}'`);
  }
  some(
    "id",
    (value) =>
      ({ id }) =>
        id.startsWith(value),
  );
  some("name", (value) => {
    const test = namePattern(value);
    return ({ record }) => test(record.name);
  });
  some("status", (value) => {
    if (!STATUSES.includes(value)) throw invalid(`invalid filter 'status=${value.slice(0, 100)}'`);
    return ({ state }) => shownStatus(state) === value;
  });
  some("exited", (value) => {
    if (!/^-?\d{1,10}$/.test(value)) throw invalid(`invalid filter 'exited=${value.slice(0, 100)}'`);
    return ({ state }) => state.status === "exited" && state.exitCode === Number(value);
  });
  some("ancestor", (value) => {
    const id = facts.imageId(value);
    return ({ record }) => (id === undefined ? record.image === value : record.imageId === id);
  });
  some("before", (value) => {
    const created = facts.createdOf(value);
    return ({ record }) => record.created < created;
  });
  some("since", (value) => {
    const created = facts.createdOf(value);
    return ({ record }) => record.created > created;
  });
  some("volume", (value) => ({ record }) => {
    return record.mounts.some(({ source, destination }) => source === value || destination === value);
  });
  some("network", (value) => {
    const id = facts.networkId(value);
    return ({ record }) =>
      record.endpoints
        ? id !== undefined && Object.hasOwn(record.endpoints, id)
        : (record.host.NetworkMode ?? "none") === value;
  });
  some("expose", (value) => ({ record }) => {
    const wanted = value.includes("/") ? value : `${value}/tcp`;
    return exposedPorts(record.config).some(({ port, protocol }) => `${port}/${protocol}` === wanted);
  });
  some("health", (value) => {
    if (!HEALTH.includes(value)) throw invalid(`invalid filter 'health=${value.slice(0, 100)}'`);
    return ({ state }) => (state.health?.status ?? "none") === value;
  });
  some("isolation", (value) => () => value === "default" || value === "");
  some("is-task", (value) => () => value === "false" || value === "0");
  some("publish", (value) => {
    const wanted = parsePorts(value);
    // The host's port, as in docker; the container's is what `expose` asks for.
    return ({ state }) =>
      wanted !== undefined &&
      (state.network?.ports ?? []).some(
        ({ hostPort, protocol }) => protocol === wanted.protocol && hostPort >= wanted.first && hostPort <= wanted.last,
      );
  });
  tests.push(({ record }) => labelsMatch(record.config.Labels ?? {}, filters));
  return (container) => tests.every((test) => test(container));
}

/** Docker shows a start that is under way as what it intends to leave. */
export function shownStatus({ status, startedAt, restarts }: StateRecord): Exclude<StateRecord["status"], "starting"> {
  if (status !== "starting") return status;
  if (restarts?.due !== undefined) return "restarting";
  return startedAt === ZERO_TIME ? "created" : "exited";
}

/** In a list: of one that does not run there is nothing to say. */
export function healthStatus({ status, health }: StateRecord): "none" | HealthRecord["status"] {
  return health && (status === "running" || status === "paused") ? health.status : "none";
}

/** A regular expression if it is one that may be tried, else a substring; with and without the leading slash. */
export function namePattern(value: string): (name: string) => boolean {
  const pattern = safePattern(value);
  return (name) => {
    if (name.includes(value)) return true;
    return pattern !== undefined && name.length <= LONGEST_NAME && (pattern.test(name) || pattern.test(`/${name}`));
  };
}

/** `label` and `label!` filters: all of the former, none of the latter. */
export function labelsMatch(labels: Record<string, string>, filters: Filters): boolean {
  const has = (wanted: string) => {
    const at = wanted.indexOf("=");
    if (at === -1) return Object.hasOwn(labels, wanted);
    const key = wanted.slice(0, at);
    return Object.hasOwn(labels, key) && labels[key] === wanted.slice(at + 1);
  };
  return (filters.get("label") ?? []).every(has) && !(filters.get("label!") ?? []).some(has);
}
