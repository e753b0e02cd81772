import { readFileSync, readlinkSync, writeFileSync } from "node:fs";
import { posix } from "node:path";
import { conflict, invalid, messageOf, unavailable } from "../../../base/errors.ts";
import { detectHierarchy } from "../../../cgroups/hierarchy.ts";
import { trySys } from "../../../linux/call.ts";
import * as k from "../../../linux/constants.ts";
import { close, writeAll } from "../../../linux/file.ts";
import type { Spec } from "../../../spec/oci-runtime.ts";
import { openCgroup } from "../cgroup.ts";
import type { Globals } from "../commands.ts";
import { destroy } from "../delete.ts";
import type { Parsed } from "../options.ts";
import { type State, StateDirectory } from "../state.ts";
import { externalMounts, MASK, maskedFiles } from "./external.ts";
import { OPTION } from "./fields.ts";
import type { Field } from "./message.ts";
import { commonFields, directoriesOf, pageServer, parentImage, withLog } from "./options.ts";
import { criuProgram } from "./program.ts";
import { callCriu, REQUEST } from "./rpc.ts";

/** Where stdio of the first process led, for a restore: a JSON array, in runc's file of this name. */
export const DESCRIPTORS_FILE = "descriptors.json";
const LOG_FILE = "dump.log";

/**
 * Writes the container to `--image-path`, and ends it unless it is to stay. An error of CRIU leaves it running; its
 * message has the lines of the log.
 */
export async function checkpointContainer(globals: Globals, parsed: Parsed): Promise<void> {
  const { bools, texts } = parsed;
  const directory = new StateDirectory(globals.root, parsed.rest[0]!);
  const state = directory.read();
  const status = directory.status(state);
  if (status !== "running") throw conflict(`container cannot be checkpointed in ${status} state`);
  const spec = directory.readConfig();
  const preDump = bools.has("pre-dump");
  const statusFd = bools.has("lazy-pages") ? statusDescriptor(texts.get("status-fd")) : undefined;
  if (bools.has("lazy-pages") && !texts.has("page-server")) {
    throw invalid("--lazy-pages: the pages come from a --page-server ADDRESS:PORT");
  }
  const common = commonFields(parsed, state.annotations);
  const server = pageServer(texts.get("page-server"));
  if (preDump) await checkFeature(1, "mem_track", "--pre-dump");
  if (bools.has("lazy-pages")) await checkFeature(2, "lazy_pages", "--lazy-pages");
  const directories = directoriesOf(parsed, LOG_FILE, true);
  const cgroup = openCgroup(state.cgroup);
  try {
    const options: Field[] = [
      ...common,
      ...server,
      ...parentImage(texts.get("parent-path"), directories.images),
      [OPTION.pid, state.pid],
      [OPTION.root, state.rootfs],
      [OPTION.leaveRunning, bools.has("leave-running")],
      [OPTION.linkRemap, bools.has("link-remap")],
      [OPTION.tcpSkipInFlight, bools.has("tcp-skip-in-flight")],
      [OPTION.freezeCgroup, freezer(cgroup?.paths() ?? [])],
      ...externalNamespaces(spec, state),
    ];
    if (preDump) options.push([OPTION.trackMem, true]);
    else {
      const external = (name: string, key: string): Field => [OPTION.external, `mnt[${name}]:${key}`];
      for (const { destination } of externalMounts(spec, state.rootfs, cgroup?.paths() ?? [])) {
        options.push(external(destination, destination));
      }
      const mountinfo = readFileSync(`/proc/${state.pid}/mountinfo`, "utf8");
      for (const path of maskedFiles(mountinfo, spec.linux?.maskedPaths ?? [])) options.push(external(path, MASK));
      writeFileSync(posix.join(directories.images, DESCRIPTORS_FILE), JSON.stringify(stdioOf(state.pid)), {
        mode: 0o600,
      });
    }
    await callCriu({
      type: preDump ? REQUEST.preDump : REQUEST.dump,
      options,
      directories,
      program: criuProgram(),
      onNotify(script) {
        if (script !== "status-ready" || statusFd === undefined) return;
        writeAll(statusFd, Buffer.alloc(1));
        close(statusFd);
      },
    });
  } catch (error) {
    throw withLog(error, directories.log);
  }
  if (!preDump && !bools.has("leave-running")) await destroy(directory, state, cgroup, spec, globals.warn);
}

async function checkFeature(number: number, name: string, flag: string): Promise<void> {
  const answer = await callCriu({ type: REQUEST.featureCheck, features: [[number, true]], program: criuProgram() });
  if (!answer.message(8)?.integer(number)) throw unavailable(`${flag}: this kernel and criu do not have ${name}`);
}

/** `--status-fd`: one of the caller's, open for writing. */
function statusDescriptor(text: string | undefined): number | undefined {
  if (text === undefined) return undefined;
  const fd = Number(text);
  const flags = trySys("fcntl", fd, k.F_GETFL, 0);
  if (flags < 0) throw invalid(`--status-fd ${text}: it is not open`);
  if ((flags & O_ACCMODE) === k.O_RDONLY) throw invalid(`--status-fd ${text}: it is not open for writing`);
  return fd;
}
const O_ACCMODE = 3;

/** What CRIU stops the processes with; by ptrace alone where there is none. */
function freezer(paths: readonly string[]): string | undefined {
  const { mode, unified, controllers } = detectHierarchy();
  const mountpoint = mode === "v2" ? unified : controllers.get("freezer");
  return mountpoint && paths.find((path) => path.startsWith(`${mountpoint}/`));
}

/** Network and pid namespaces that the config names by path are there at the restore too, and not dumped. */
function externalNamespaces(spec: Spec, state: State): Field[] {
  return (spec.linux?.namespaces ?? []).flatMap(({ type, path }): Field[] => {
    if (!path || (type !== "network" && type !== "pid")) return [];
    const name = type === "network" ? "net" : "pid";
    try {
      const inode = /\[(\d+)\]/.exec(readlinkSync(`/proc/${state.pid}/ns/${name}`))?.[1];
      return [[OPTION.external, `${name}[${inode}]:${NAMESPACE_KEYS[type]}`]];
    } catch (error) {
      throw conflict(`container ${state.id}: ${messageOf(error)}`, error);
    }
  });
}

/** runc's names, so that each restores what the other dumped. */
export const NAMESPACE_KEYS = { network: "extRootNetNS", pid: "extRootPidNS" } as const;

function stdioOf(pid: number): string[] {
  return [0, 1, 2].map((fd) => {
    try {
      return readlinkSync(`/proc/${pid}/fd/${fd}`);
    } catch {
      return "";
    }
  });
}
