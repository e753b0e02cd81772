import {
  existsSync,
  lstatSync,
  mkdirSync,
  readdirSync,
  readFileSync,
  renameSync,
  rmSync,
  statSync,
  writeFileSync,
} from "node:fs";
import { join } from "node:path";
import { codeOf, conflict, invalid, messageOf, notFound } from "../../base/errors.ts";
import type { RdtGroup } from "../../cgroups/resctrl.ts";
import type { Spec } from "../../spec/oci-runtime.ts";
import { parseJson, stringifyJson } from "./json.ts";
import type { SystemdUnit } from "./systemd/driver.ts";

/** `<root>/<id>/`: what create leaves for the commands after it. */
export const STATE_FILE = "state.json";
/** Its own copy: what happens to the bundle after create has no effect (runtime.md, "Lifecycle"). */
export const CONFIG_FILE = "config.json";
/** Here the container waits for `start`; gone once it was started. */
export const EXEC_FIFO = "exec.fifo";
/** On which `start` learns whether the execve worked. */
export const REPORT_FIFO = "exec.report";

export type Status = "creating" | "created" | "running" | "paused" | "stopped";

export interface State {
  ociVersion: string;
  id: string;
  /** Host number of the container's first process; 0 until it exists. */
  pid: number;
  /** Clock ticks since boot: with the pid, this names the process for good. */
  startTime: string;
  bundle: string;
  rootfs: string;
  /** RFC 3339. */
  created: string;
  annotations: Record<string, string>;
  cgroup: string;
  /** With --systemd-cgroup. */
  systemd?: SystemdUnit;
  /** With linux.intelRdt. */
  rdt?: RdtGroup;
  /** Bytes that `start` writes into the FIFO. */
  go: number;
  /** `process.args[0]`, for the error of its execve. */
  command: string;
  /** Name of its session keyring, which `exec` joins too; undefined with `--no-new-keyring`. */
  keyring?: string;
}

/** The state as JSON for hooks and agents (runtime.md, "State"); `pid` as its reader sees it. */
export function ociState(state: State, status: Status, pid = state.pid) {
  return {
    ociVersion: state.ociVersion,
    id: state.id,
    status,
    ...(pid > 0 && { pid }),
    bundle: state.bundle,
    ...(Object.keys(state.annotations).length > 0 && { annotations: state.annotations }),
  };
}

export function checkId(id: string): void {
  if (!/^[\w+.-]{1,255}$/.test(id) || id === "." || id === "..") throw invalid(`invalid container ID format: ${id}`);
}

/** One container's directory. Its methods throw notFound when the container does not exist. */
export class StateDirectory {
  readonly path: string;

  constructor(
    readonly root: string,
    readonly id: string,
  ) {
    checkId(id);
    this.path = join(root, id);
  }

  /** Takes the id: of two creates, one fails. */
  make(): void {
    // Sticky: nobody clears it away (XDG Base Directory Specification, XDG_RUNTIME_DIR).
    mkdirSync(this.root, { recursive: true, mode: 0o1700 });
    try {
      mkdirSync(this.path, { mode: 0o711 });
    } catch (error) {
      if (codeOf(error) === "EEXIST") throw conflict("container with given ID already exists");
      throw error;
    }
  }

  file(name: string): string {
    return join(this.path, name);
  }

  read(): State {
    let value: unknown;
    try {
      value = JSON.parse(readFileSync(this.file(STATE_FILE), "utf8"));
    } catch (error) {
      if (codeOf(error) === "ENOENT") throw notFound("container does not exist");
      throw this.#damaged(STATE_FILE, messageOf(error));
    }
    const wrong = wrongField(value);
    if (wrong) throw this.#damaged(STATE_FILE, wrong);
    return value as State;
  }

  #damaged(file: string, why: string): Error {
    return invalid(`container ${this.id}: ${this.file(file)} is damaged: ${why}; delete --force removes the container`);
  }

  /** Whole or not at all. */
  write(state: State): void {
    this.#replace(STATE_FILE, state);
  }

  writeConfig(spec: Spec): void {
    this.#replace(CONFIG_FILE, spec);
  }

  #replace(name: string, value: unknown): void {
    const temporary = this.file(`${name}.new`);
    writeFileSync(temporary, stringifyJson(value), { mode: 0o600 });
    renameSync(temporary, this.file(name));
  }

  readConfig(): Spec {
    let value: unknown;
    try {
      value = parseJson(readFileSync(this.file(CONFIG_FILE), "utf8"));
    } catch (error) {
      throw this.#damaged(CONFIG_FILE, messageOf(error));
    }
    if (typeof value !== "object" || value === null || !("process" in value))
      throw this.#damaged(CONFIG_FILE, "no process");
    return value as Spec;
  }

  /** One that may not be seen is an error. */
  get exists(): boolean {
    return lstatSync(this.path, { throwIfNoEntry: false }) !== undefined;
  }

  remove(): void {
    rmSync(this.path, { recursive: true, force: true });
  }

  /** Of one that is neither paused nor without state. */
  status(state: State): Exclude<Status, "paused"> {
    if (state.pid === 0) return "creating";
    if (!isAlive(state)) return "stopped";
    return existsSync(this.file(EXEC_FIFO)) ? "created" : "running";
  }
}

/** Of a state that another wrote, or that a disk lost: what is wrong with it. */
function wrongField(value: unknown): string | undefined {
  if (typeof value !== "object" || value === null || Array.isArray(value)) return "no object";
  const state = value as Record<keyof State, unknown>;
  for (const name of ["ociVersion", "id", "startTime", "bundle", "rootfs", "created", "cgroup", "command"] as const) {
    if (typeof state[name] !== "string") return `${name} is no string`;
  }
  for (const name of ["pid", "go"] as const) {
    const number = state[name];
    if (!Number.isInteger(number) || (number as number) < 0 || (number as number) > 2 ** 22)
      return `${name} is no ${name}`;
  }
  const { annotations } = state;
  return typeof annotations === "object" && annotations !== null ? undefined : "annotations is no object";
}

/** Fields 3 and 22 of proc_pid_stat(5). */
export function processStat(pid: number): { state: string; startTime: string } | undefined {
  try {
    const stat = readFileSync(`/proc/${pid}/stat`, "latin1");
    const fields = stat.slice(stat.lastIndexOf(")") + 2).split(" ");
    return { state: fields[0] ?? "", startTime: fields[19] ?? "" };
  } catch {
    return undefined;
  }
}

/** The number of process `pid` in its own pid namespace; 0 when it has ended. */
export function ownPid(pid: number): number {
  try {
    const numbers = /^NSpid:\s*(.*)$/m.exec(readFileSync(`/proc/${pid}/status`, "latin1"))?.[1];
    return Number(numbers?.split(/\s+/).at(-1) ?? 0);
  } catch {
    return 0;
  }
}

/** The very process that create started, and no zombie. */
export function isAlive(state: Pick<State, "pid" | "startTime">): boolean {
  const found = processStat(state.pid);
  return found !== undefined && found.startTime === state.startTime && found.state !== "Z" && found.state !== "X";
}

/** Ids below `root`; none where there is no such directory, which is an error only if the user named it. */
export function listIds(root: string, named: boolean): string[] {
  try {
    return readdirSync(root)
      .filter((id) => statSync(join(root, id, STATE_FILE), { throwIfNoEntry: false }))
      .sort();
  } catch (error) {
    if (codeOf(error) === "ENOENT" && !named) return [];
    throw error;
  }
}
