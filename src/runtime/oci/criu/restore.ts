import { mkdirSync, readFileSync, rmdirSync, statSync, writeFileSync } from "node:fs";
import { posix } from "node:path";
import { invalid, messageOf } from "../../../base/errors.ts";
import type { Cgroup } from "../../../cgroups/cgroup.ts";
import { detectHierarchy } from "../../../cgroups/hierarchy.ts";
import { sys } from "../../../linux/call.ts";
import * as k from "../../../linux/constants.ts";
import { close, openat } from "../../../linux/file.ts";
import { FIRST_FREE_FD, pipe, raise } from "../../../linux/process.ts";
import { connectUnix, sendWithDescriptor } from "../../../linux/unix-socket.ts";
import type { Spec } from "../../../spec/oci-runtime.ts";
import { FD } from "../../builder.ts";
import { cgroupPath, createCgroup } from "../cgroup.ts";
import type { Globals } from "../commands.ts";
import { loadConfig } from "../config.ts";
import { type Created, writePidFile } from "../create.ts";
import { destroy } from "../delete.ts";
import { stringifyJson } from "../json.ts";
import { goNumber } from "../launcher.ts";
import type { Parsed } from "../options.ts";
import { CONFIG_FILE, processStat, type State, StateDirectory } from "../state.ts";
import type { Started } from "../systemd/driver.ts";
import { DESCRIPTORS_FILE, NAMESPACE_KEYS } from "./checkpoint.ts";
import { externalMounts, MASK } from "./external.ts";
import { OPTION } from "./fields.ts";
import { encodeMessage, type Field } from "./message.ts";
import { commonFields, directoriesOf, withLog } from "./options.ts";
import { criuProgram } from "./program.ts";
import { CRIU_FD, callCriu, REQUEST } from "./rpc.ts";

const LOG_FILE = "restore.log";
/** On which the root is mounted for CRIU, in a mount namespace of its own. */
const ROOT = "criu-root";

/**
 * Makes the container of `--image-path` go on, with the config of the bundle. In the foreground its exit status comes on
 * `exit`, as after create. An error leaves nothing behind; its message has the lines of CRIU's log.
 */
export async function restoreContainer(globals: Globals, parsed: Parsed): Promise<Created> {
  const { bools, texts } = parsed;
  const id = parsed.rest[0]!;
  const bundle = posix.resolve(texts.get("bundle") ?? ".");
  const directory = new StateDirectory(globals.root, id);
  const config = loadConfig(bundle, globals.warn);
  const { spec } = config;
  const terminal = spec.process!.terminal === true;
  const consoleSocket = texts.get("console-socket");
  const detach = bools.has("detach");
  if (terminal && detach && consoleSocket === undefined) {
    throw invalid("--detach with a terminal needs --console-socket");
  }
  if (consoleSocket !== undefined && !terminal) {
    throw invalid("--console-socket: the container's process has no terminal");
  }
  const common = commonFields(parsed, spec.annotations ?? {});
  const descriptors = readDescriptors(posix.resolve(texts.get("image-path") || "checkpoint"));
  // What this kernel lacks is told here: later its stderr is the container's.
  await callCriu({ type: REQUEST.version, program: criuProgram() });
  const state: State = {
    ociVersion: spec.ociVersion,
    id,
    pid: 0,
    startTime: "",
    bundle,
    rootfs: config.rootfs,
    created: new Date().toISOString(),
    annotations: spec.annotations ?? {},
    // With systemd, known when the unit is there.
    cgroup: globals.systemd ? "" : cgroupPath(spec, id),
    go: goNumber({ preserve: 0 }),
    command: spec.process!.args![0]!,
  };
  directory.make();
  let cgroup: Cgroup | undefined;
  let unit: Started | undefined;
  let hooked = false;
  const fds: [number, number][] = [];
  const opened: number[] = [];
  try {
    directory.write(state);
    if (globals.systemd) {
      const { startUnit } = await import("../systemd/driver.ts");
      unit = startUnit(spec, id, false);
      state.systemd = { unit: unit.unit, user: unit.user };
      state.cgroup = unit.path;
      directory.write(state);
    }
    cgroup = createCgroup(spec, state.cgroup, globals.warn, true, globals.systemd);
    writeFileSync(directory.file(CONFIG_FILE), stringifyJson(spec), { mode: 0o600 });
    const directories = directoriesOf(parsed, LOG_FILE, false);
    const target = directory.file(ROOT);
    mkdirSync(target, { mode: 0o755 });
    const external = externalMounts(spec, config.rootfs, cgroup.paths());
    const options: Field[] = [
      ...common,
      [OPTION.root, target],
      [OPTION.rstSibling, true],
      [OPTION.evasiveDevices, true],
      [OPTION.lsmProfile, texts.get("lsm-profile")],
      [OPTION.lsmMountContext, texts.get("lsm-mount-context")],
      ...external.map(({ destination, source }): Field => [OPTION.external, `mnt[${destination}]:${source}`]),
      ...(spec.linux?.maskedPaths?.length ? [[OPTION.external, `mnt[${MASK}]:${MASK}`] as const] : []),
      ...descriptors.map(([fd, key]): Field => [OPTION.inheritFd, inherit(key, fd)]),
      ...cgroupRoots(cgroup),
      ...joinNamespaces(spec, (path) => {
        const fd = raise(openat(k.AT_FDCWD, path, k.O_RDONLY));
        opened.push(fd);
        fds.push([fd, CRIU_FD.first + fds.length]);
        return fds.at(-1)![1];
      }),
    ];
    let exit: number | undefined;
    if (!detach) {
      const [near, far] = pipe();
      exit = near;
      const high = raise(far);
      opened.push(high);
      fds.push([high, FD.exit]);
    }
    let master: number | undefined;
    try {
      await callCriu({
        type: REQUEST.restore,
        options,
        directories,
        fds,
        stdio: true,
        stays: !detach,
        program: criuProgram({
          rootfs: config.rootfs,
          target,
          spec,
          joinFiles: [...cgroup.joinFiles, ...(cgroup.unifiedDir ? [`${cgroup.unifiedDir}/cgroup.procs`] : [])],
          files: new Set(external.filter(({ source }) => isFile(source)).map(({ destination }) => destination)),
          wait: !detach,
        }),
        async onNotify(script, pid, fd) {
          switch (script) {
            case "setup-namespaces":
              if (!spec.hooks) break;
              hooked = true;
              await runtimeHooks(spec, { ...state, pid });
              break;
            case "orphan-pts-master":
              if (fd === undefined) break;
              if (consoleSocket === undefined) master = sys("fcntl", "terminal", fd, k.F_DUPFD_CLOEXEC, FIRST_FREE_FD);
              else sendTerminal(consoleSocket, fd);
              break;
            case "post-restore":
              state.pid = pid;
              state.startTime = processStat(pid)?.startTime ?? "";
              directory.write(state);
              if (texts.has("pid-file")) writePidFile(texts.get("pid-file")!, pid);
          }
        },
      });
    } catch (error) {
      if (exit !== undefined) close(exit);
      if (master !== undefined) close(master);
      throw withLog(error, directories.log);
    }
    rmdirSync(target);
    // Of its start only what ends it is left to run.
    const { poststop } = spec.hooks ?? {};
    const rest: Spec = { ...spec, hooks: poststop ? { poststop } : {} };
    return { pid: state.pid, exit, master, directory, state, spec: rest, cgroup };
  } catch (error) {
    await destroy(directory, state, cgroup, hooked ? spec : undefined, globals.warn);
    throw error;
  } finally {
    unit?.release();
    for (const fd of opened) close(fd);
  }
}

/** In each hierarchy, where what was in the old cgroup comes: into this one, or if it is not there, where we are. */
function cgroupRoots(cgroup: Cgroup): Field[] {
  const { controllers, unified } = detectHierarchy();
  return readFileSync("/proc/self/cgroup", "utf8")
    .split("\n")
    .flatMap((line) => {
      const [, names, own] = /^\d+:([^:]*):(\/.*)$/.exec(line) ?? [];
      return (names?.split(",") ?? []).map((name): Field => {
        const mountpoint = name === "" ? unified : controllers.get(name);
        const path = cgroup.paths().includes(`${mountpoint}${cgroup.path}`) ? cgroup.path : own;
        return [
          OPTION.cgroupRoot,
          encodeMessage([
            [1, name],
            [2, path],
          ]),
        ];
      });
    });
}

function isFile(path: string): boolean {
  return statSync(path, { throwIfNoEntry: false })?.isDirectory() === false;
}

async function runtimeHooks(spec: Spec, state: State): Promise<void> {
  const { runHooks } = await import("../hooks.ts");
  await runHooks("prestart", spec.hooks?.prestart, state, "creating");
  await runHooks("createRuntime", spec.hooks?.createRuntime, state, "creating");
}

/** The pipes among the stdio of the dumped process, which ours replace: runc's file, or that of our own checkpoint. */
function readDescriptors(images: string): [fd: number, key: string][] {
  const path = posix.join(images, DESCRIPTORS_FILE);
  let value: unknown;
  try {
    value = JSON.parse(readFileSync(path, "utf8"));
  } catch (error) {
    throw invalid(`no checkpoint in ${images}: ${messageOf(error)}`, error);
  }
  if (!Array.isArray(value)) throw invalid(`${path}: not an array`);
  return value.slice(0, 3).flatMap((link: unknown, fd): [number, string][] => {
    return typeof link === "string" && /^pipe:\[\d+\]$/.test(link) ? [[fd, link]] : [];
  });
}

const inherit = (key: string, fd: number) =>
  encodeMessage([
    [1, key],
    [2, fd],
  ]);

const JOINED: Readonly<Record<string, string>> = { ipc: "ipc", uts: "uts", user: "user", mount: "mnt", time: "time" };

/** Namespaces that the config names by path. `give` opens one for CRIU, and returns its number there. */
function joinNamespaces(spec: Spec, give: (path: string) => number): Field[] {
  return (spec.linux?.namespaces ?? []).flatMap(({ type, path }): Field[] => {
    if (!path) return [];
    if (type === "network" || type === "pid") return [[OPTION.inheritFd, inherit(NAMESPACE_KEYS[type], give(path))]];
    const name = JOINED[type];
    if (name === undefined)
      throw invalid(`config.json: linux.namespaces: criu cannot join the ${type} namespace ${path}`);
    return [
      [
        OPTION.joinNs,
        encodeMessage([
          [1, name],
          [2, path],
        ]),
      ],
    ];
  });
}

function sendTerminal(path: string, master: number): void {
  const socket = connectUnix(path);
  try {
    sendWithDescriptor(socket, Buffer.from("orphan-pts-master"), master);
  } finally {
    close(socket);
  }
}
