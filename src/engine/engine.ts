import type { Images } from "../images/images.ts";
import type { Containers } from "./containers.ts";
import type { Events } from "./events.ts";
import type { Execs } from "./execs.ts";
import type { Finding } from "./requests.ts";
import type { Volumes } from "./volumes.ts";

export type * from "./requests.ts";

export interface EngineOptions {
  /** What survives a reboot: database, content, layers, containers, volumes. Made 0700 if missing. */
  dataRoot: string;
  /** What does not: run directories of containers. Made 0700 if missing. */
  execRoot: string;
  /** Base URL asked instead of docker.io. */
  registryMirror?: string;
  /** One line for the operator's log, no line end. */
  log(line: string): void;
}

/**
 * The engine: everything a Docker-compatible API does, without HTTP. Errors are `InroError` with the kind that the API
 * maps to a status. Nothing is true in memory only: after `kill -9` the next {@link Engine.open} on the same
 * directories finds every container, exit code and log line again.
 */
export abstract class Engine {
  abstract readonly containers: Containers;
  abstract readonly execs: Execs;
  abstract readonly images: Images;
  abstract readonly volumes: Volumes;
  abstract readonly events: Events;

  /**
   * Opens the directories, takes their lock and reconciles what happened meanwhile. A second engine on the same data
   * root is a conflict that names the pid of the first.
   */
  static async open(_options: EngineOptions): Promise<Engine> {
    throw new Error("stub");
  }

  /** GET /info. */
  abstract info(): Promise<Record<string, unknown>>;
  /** GET /version. */
  abstract version(): Record<string, unknown>;
  /** Compares the machine with the records and, with `repair`, mends what differs. Empty: all is well. */
  abstract check(options: { repair: boolean }): Promise<Finding[]>;
  /** Nothing runs, no client is attached or waits, nothing is being pulled or written: the process may leave. */
  abstract readonly idle: boolean;
  /** Lets go of everything, and leaves the containers running. */
  abstract close(): Promise<void>;
}
