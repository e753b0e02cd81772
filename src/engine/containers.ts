import type { Change, ContainerInspect, ContainerSummary, CreateResponse } from "../spec/docker-api.ts";
import type {
  Attachment,
  AttachOptions,
  Filters,
  ListOptions,
  LogOptions,
  LogStream,
  RemoveOptions,
  StopOptions,
  WaitCondition,
  Waiting,
} from "./requests.ts";

/**
 * The containers. `ref` is a full id, a unique prefix of one, or a name (with or without `/`); "No such container" is
 * notFound. Operations on one container run one after the other, except for attach, logs, wait, list and inspect.
 */
export interface Containers {
  /** `body` is the untrusted CreateRequest. A name in use is a conflict, an absent image notFound, all else invalid. */
  create(body: unknown, name?: string, platform?: string): Promise<CreateResponse>;
  /** notModified if it runs; a launch that fails is recorded in State (126, 127, 128) and thrown. */
  start(ref: string, options?: { detachKeys?: string }): Promise<void>;
  /** Works before the start too: then output begins with it. */
  attach(ref: string, options: AttachOptions): Promise<Attachment>;
  /** Throws notFound or invalid (condition) at once. */
  wait(ref: string, condition?: WaitCondition): Waiting;
  logs(ref: string, options: LogOptions): Promise<LogStream>;
  /** `signal`: a name with or without SIG, or a number; default SIGKILL. Not running is a conflict. */
  kill(ref: string, signal?: string): Promise<void>;
  /** notModified if it does not run. Resolves when it has ended. */
  stop(ref: string, options?: StopOptions): Promise<void>;
  /** Starts a stopped one too. */
  restart(ref: string, options?: StopOptions): Promise<void>;
  /** Running without `force`: conflict. */
  remove(ref: string, options?: RemoveOptions): Promise<void>;
  /** Newest first. */
  list(options?: ListOptions): Promise<ContainerSummary[]>;
  inspect(ref: string, options?: { size?: boolean }): Promise<ContainerInspect>;
  /** Characters. Not running is a conflict; without a terminal nothing happens. */
  resize(ref: string, height: number, width: number): Promise<void>;
  pause(ref: string): Promise<void>;
  unpause(ref: string): Promise<void>;
  rename(ref: string, name: string): Promise<void>;
  changes(ref: string): Promise<Change[]>;
  /** `psArgs` default `-ef`; Titles and Processes as ps(1) prints them. */
  top(ref: string, psArgs?: string): Promise<{ Titles: string[]; Processes: string[][] }>;
  /** Body of POST /containers/{id}/update (resources, RestartPolicy). */
  update(ref: string, body: unknown): Promise<{ Warnings: string[] }>;
  /** Removes the stopped ones (filters `until`, `label`, `label!`). */
  prune(filters?: Filters): Promise<{ ContainersDeleted: string[]; SpaceReclaimed: number }>;
  /** The full id behind a reference. */
  resolve(ref: string): string;
}
