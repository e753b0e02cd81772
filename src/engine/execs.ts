import type { ExecInspect } from "../spec/docker-api.ts";
import type { Attachment, ExecStartOptions } from "./requests.ts";

/** Further processes in running containers. An unknown id is notFound ("No such exec instance"). */
export interface Execs {
  /** `body` is the untrusted ExecCreateRequest. A container that does not run, or is paused, is a conflict. */
  create(containerRef: string, body: unknown): Promise<{ Id: string }>;
  /** Throws what start would throw before any process exists; for answering before the connection is hijacked. */
  check(id: string): void;
  /**
   * Starts it once (again is a conflict). With Detach resolves undefined when it runs. A command that cannot run
   * rejects, and inspect says 126 or 127.
   */
  start(id: string, options: ExecStartOptions & { Detach: true }): Promise<undefined>;
  start(id: string, options: ExecStartOptions): Promise<Attachment | undefined>;
  resize(id: string, height: number, width: number): Promise<void>;
  inspect(id: string): ExecInspect;
}
