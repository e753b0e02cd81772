import { constants } from "node:os";
import { conflict, invalid } from "../../base/errors.ts";
import { close } from "../../linux/file.ts";
import { pidfdOpen, pidfdSendSignal } from "../../linux/process.ts";
import { begin } from "./behalf.ts";
import { openCgroup } from "./cgroup.ts";
import { openProcess } from "./delete.ts";
import { StateDirectory } from "./state.ts";

const SIGKILL = 9;
const MAX_SIGNAL = 64;

/** `9`, `KILL`, `SIGKILL`, `sigkill`. */
export function parseSignal(text: string): number {
  if (/^\d+$/.test(text)) {
    const number = Number(text);
    if (number <= MAX_SIGNAL) return number;
  }
  const upper = text.toUpperCase();
  const name = upper.startsWith("SIG") ? upper : `SIG${upper}`;
  const realtime = /^SIGRTM(IN|AX)([+-]\d+)?$/.exec(name);
  if (realtime) {
    const number = (realtime[1] === "IN" ? 34 : MAX_SIGNAL) + Number(realtime[2] ?? 0);
    if (number >= 34 && number <= MAX_SIGNAL) return number;
  }
  const number = (constants.signals as Record<string, number>)[name];
  if (number === undefined) throw invalid(`unknown signal ${JSON.stringify(text)}`);
  return number;
}

/** Sends a signal to the container's first process; with `all`, to every process in its cgroup. */
export async function killContainer(root: string, id: string, signal: string, all: boolean): Promise<void> {
  const number = parseSignal(signal);
  const directory = new StateDirectory(root, id);
  const state = directory.read();
  begin(true);
  const pidfd = openProcess(state);
  try {
    // Without a pid namespace of its own, the others do not end with the first.
    if (all && !state.cgroup) {
      const { namespaceProcesses } = await import("./rootless-cgroup.ts");
      for (const pid of namespaceProcesses("signal all of", state)) signalPid(pid, number);
      return;
    }
    if (all || (number === SIGKILL && sharesPids(directory))) {
      const cgroup = openCgroup(state.cgroup);
      if (number === SIGKILL) cgroup?.killAll();
      else for (const pid of cgroup?.pids() ?? []) signalPid(pid, number);
      if (all || pidfd === undefined) return;
    }
    if (pidfd === undefined || !pidfdSendSignal(pidfd, number)) throw conflict("container not running");
  } finally {
    if (pidfd !== undefined) close(pidfd);
  }
}

function sharesPids(directory: StateDirectory): boolean {
  return !directory.readConfig().linux?.namespaces?.some((n) => n.type === "pid" && !n.path);
}

function signalPid(pid: number, signal: number): void {
  let fd: number;
  try {
    fd = pidfdOpen(pid);
  } catch {
    return;
  }
  pidfdSendSignal(fd, signal);
  close(fd);
}
