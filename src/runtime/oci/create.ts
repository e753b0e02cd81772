import { renameSync, unlinkSync, writeFileSync } from "node:fs";
import { posix } from "node:path";
import { codeOf, invalid, messageOf } from "../../base/errors.ts";
import type { Cgroup } from "../../cgroups/cgroup.ts";
import * as k from "../../linux/constants.ts";
import { close, mknodat, openat } from "../../linux/file.ts";
import { raise } from "../../linux/process.ts";
import { CAP, hasCapability, inUserNamespace } from "../../linux/rights.ts";
import { lastCapability } from "../../security/capabilities.ts";
import { readRootFile } from "../../security/root-file.ts";
import type { NamespaceType, Spec } from "../../spec/oci-runtime.ts";
import { cgroupMounts } from "../cgroup-mounts.ts";
import type { Given } from "../mount-plan.ts";
import { setUp } from "../setup.ts";
import { begin } from "./behalf.ts";
import { cgroupPath, createCgroup } from "./cgroup.ts";
import { type Config, loadConfig } from "./config.ts";
import { processFilter } from "./filter.ts";
import { withGrantable } from "./grantable.ts";
import { stringifyJson } from "./json.ts";
import { goNumber, OCI_FD, ociLauncher } from "./launcher.ts";
import type { ListenFds } from "./listen-fds.ts";
import type { NetDevices } from "./net-devices.ts";
import type { Notifications } from "./notify.ts";
import { type Launched, nullStdio, ownStdio, RowFailure, spawnProgram } from "./spawn.ts";
import { CONFIG_FILE, EXEC_FIFO, ociState, processStat, REPORT_FIFO, type State, StateDirectory } from "./state.ts";
import type { Started } from "./systemd/driver.ts";

export interface CreateOptions {
  root: string;
  id: string;
  bundle: string;
  consoleSocket: string | undefined;
  pidFile: string | undefined;
  noPivot: boolean;
  noNewKeyring: boolean;
  pidfdSocket: string | undefined;
  /** How many descriptors the container keeps, after those of `listen`. */
  preserve: number;
  listen: ListenFds | undefined;
  /** Where a service manager wants to hear that it is ready. */
  notifySocket: string | undefined;
  /** Cgroup errors that only a plain user gets are no errors, as long as nothing is asked of cgroups. */
  rootless: boolean | undefined;
  /** `--systemd-cgroup`. */
  systemd: boolean;
  warn(message: string): void;
}

export interface Created extends Launched {
  directory: StateDirectory;
  state: State;
  spec: Spec;
  /** With `notifySocket`, when the container does not wait for `start`. */
  notifications?: Notifications | undefined;
  cgroup: Cgroup | undefined;
}

/**
 * Makes the container. `how` says whether it waits for `start`, and whether the process that started it stays to wait
 * for its end. An error leaves nothing behind.
 */
export async function createContainer(options: CreateOptions, how: { fifo: boolean; wait: boolean }): Promise<Created> {
  const bundle = posix.resolve(options.bundle);
  const directory = new StateDirectory(options.root, options.id);
  const config = loadConfig(bundle, options.warn);
  const { spec } = config;
  spec.process = withGrantable(spec.process!, spec, options.warn);
  const command = spec.process!.args![0]!;
  if (options.consoleSocket !== undefined && !spec.process!.terminal) {
    throw invalid("--console-socket: the container's process has no terminal");
  }
  if (spec.process!.terminal && options.consoleSocket === undefined && !how.wait) {
    throw invalid("cannot allocate tty if inro-runtime will detach without setting console socket");
  }
  const nested = inUserNamespace();
  const root = hasCapability(CAP.sysAdmin);
  const rootless = options.rootless ?? (nested || process.geteuid?.() !== 0);
  const plain = root && !nested ? {} : (await import("./rootless.ts")).planPlain(spec, root);
  const preserve = (options.listen?.count ?? 0) + options.preserve;
  const place = options.systemd ? "" : cgroupPath(spec, options.id);
  const state: State = {
    ociVersion: spec.ociVersion,
    id: options.id,
    pid: 0,
    startTime: "",
    bundle,
    rootfs: config.rootfs,
    created: new Date().toISOString(),
    annotations: spec.annotations ?? {},
    // With systemd, known when the unit is there; of a plain user's, when it is clear which is his.
    cgroup: rootless ? "" : place,
    go: goNumber({ preserve }),
    command,
    ...(!options.noNewKeyring && { keyring: `_ses.${options.id}` }),
  };
  const rdt = spec.linux?.intelRdt && (await import("./rdt.ts")).planRdt(spec.linux.intelRdt);
  begin(
    !spec.hooks &&
      !rdt &&
      !spec.linux?.netDevices &&
      !spec.linux?.seccomp?.listenerPath &&
      !(spec.process!.terminal && options.consoleSocket === undefined) &&
      preserve === 0 &&
      options.notifySocket === undefined &&
      !options.systemd &&
      !options.noPivot &&
      // A relative one begins at the caller's own.
      !/^[^/]/.test(spec.linux?.cgroupsPath ?? ""),
  );
  directory.make();
  let cgroup: Cgroup | undefined;
  let unit: Started | undefined;
  let hooked = false;
  let devices: NetDevices | undefined;
  let notifications: Notifications | undefined;
  let fds: number[] = [];
  try {
    directory.write(state);
    const { filter, onListener } = await processFilter(spec, options.root, () => ociState(state, "creating"));
    if (options.systemd) {
      const { startUnit } = await import("./systemd/driver.ts");
      unit = startUnit(spec, options.id, rootless);
      state.systemd = { unit: unit.unit, user: unit.user };
      state.cgroup = unit.path;
      directory.write(state);
      cgroup = createCgroup(spec, state.cgroup, options.warn, root && !nested && !rootless, true);
    } else if (rootless) {
      const { createRootlessCgroup } = await import("./rootless-cgroup.ts");
      cgroup = createRootlessCgroup(spec, {
        path: place,
        id: options.id,
        root: root && !nested,
        warn: options.warn,
        attempt(path) {
          state.cgroup = path;
          directory.write(state);
        },
      });
    } else cgroup = createCgroup(spec, state.cgroup, options.warn, root && !nested);
    // In this order: where the copy is, the cgroup is this container's, and nobody is in it before (delete.ts).
    writeFileSync(directory.file(CONFIG_FILE), stringifyJson(spec), { mode: 0o600 });
    const hooks = Boolean(
      spec.hooks?.prestart?.length || spec.hooks?.createRuntime?.length || spec.hooks?.createContainer?.length,
    );
    const netDevices = spec.linux?.netDevices;
    const hasNetDevices = netDevices !== undefined && Object.keys(netDevices).length > 0;
    const shape = {
      wait: how.wait,
      fifo: how.fifo || Boolean(spec.hooks?.startContainer?.length),
      hooks: hooks || rdt !== undefined || hasNetDevices,
      listener: onListener !== undefined,
      preserve,
      nulls: spec.process!.terminal ? [] : nullStdio(),
      ...(plain.traceable && { traceable: true }),
      keyring: state.keyring,
      newKeyring: true,
    };
    const extra: [number, number][] = [];
    const give = (fd: number, as: number) => {
      const high = raise(fd);
      fds.push(high);
      extra.push([high, as]);
      return high;
    };
    const userns = await userNamespace(spec);
    if (userns !== undefined) give(userns, OCI_FD.userns);
    const given = await giveMounts(spec, config.rootfs, OCI_FD.preserved + preserve, give);
    const joined = new Map<NamespaceType, number>();
    if (spec.linux?.namespaces?.some((n) => n.path)) {
      const { openNamespaces } = await import("./joined.ts");
      for (const [type, fd] of openNamespaces(spec)) {
        joined.set(type, OCI_FD.joined + joined.size);
        give(fd, joined.get(type)!);
      }
    }
    if (shape.fifo) {
      for (const name of [EXEC_FIFO, REPORT_FIFO]) mknodat(k.AT_FDCWD, directory.file(name), k.S_IFIFO | 0o600, 0);
      give(openat(k.AT_FDCWD, directory.file(EXEC_FIFO), k.O_RDWR), OCI_FD.fifo);
      // Open for both, so that opening the write end, which waits for a reader, does not.
      const both = openat(k.AT_FDCWD, directory.file(REPORT_FIFO), k.O_RDWR);
      give(openat(k.AT_FDCWD, directory.file(REPORT_FIFO), k.O_WRONLY), OCI_FD.startReport);
      close(both);
    }
    const notify = options.notifySocket === undefined ? undefined : await import("./notify.ts");
    // Not of what `exec` starts later, perhaps as another user.
    let inside = withHome({ spec, rootfs: config.rootfs });
    if (notify) inside = notify.withNotify(inside, directory.path);
    if (options.listen) inside = withEnvironment(inside, options.listen.env);
    // A container that waits for `start` has its socket from that.
    if (notify && !how.fifo) notifications = new notify.Notifications(directory.path, options.notifySocket!);
    const program = setUp({
      spec: inside,
      rootfs: { kind: "directory", path: config.rootfs },
      target: config.rootfs,
      cgroup: {
        unified: cgroup?.unifiedDir,
        joinFiles: cgroup?.joinFiles ?? [],
        mounts: cgroupMounts(cgroup?.paths() ?? []),
        ...(!cgroup && { fresh: (await import("../cgroup-mounts.ts")).freshHierarchies(spec) }),
      },
      filter,
      lastCapability: lastCapability(),
      ownStdio: spec.process!.terminal ? [] : ownStdio(),
      init: undefined,
      ...(userns !== undefined && { userns: OCI_FD.userns }),
      joined,
      ...plain,
      given: given.mounts,
      ...(options.noPivot && { enterRoot: (await import("../no-pivot.ts")).planMove() }),
      firstNumber: given.next,
      launcher: ociLauncher(shape, inside.process!),
    });
    const { runCreateContainer, runHooks } = shape.hooks
      ? await import("./hooks.ts")
      : ({} as typeof import("./hooks.ts"));
    let launched: Launched;
    try {
      launched = await spawnProgram({
        program,
        wait: shape.wait,
        preserve: shape.preserve,
        terminal: spec.process!.terminal === true,
        consoleSocket: options.consoleSocket,
        pidfdSocket: options.pidfdSocket,
        extra,
        ...(shape.wait && { meanwhile: async () => (await import("./attend.ts")).holdSignals() }),
        onPid(pid) {
          state.pid = pid;
          state.startTime = processStat(pid)?.startTime ?? "";
          directory.write(state);
        },
        ...(onListener && { onListener }),
        ...(shape.hooks && {
          async onHooks() {
            if (rdt) {
              state.rdt = rdt.join(options.id, [state.pid]);
              directory.write(state);
            }
            if (hasNetDevices) {
              const { NetDevices } = await import("./net-devices.ts");
              devices = new NetDevices(state.pid);
              devices.move(netDevices);
            }
            hooked = hooks;
            await runHooks("prestart", spec.hooks?.prestart, state, "creating");
            await runHooks("createRuntime", spec.hooks?.createRuntime, state, "creating");
            await runCreateContainer(spec.hooks?.createContainer, state);
          },
        }),
      });
    } catch (error) {
      if (!(error instanceof RowFailure)) throw error;
      const { programError } = await import("./failure.ts");
      throw programError(program, error, command);
    } finally {
      unit?.release();
      for (const fd of fds) close(fd);
      fds = [];
    }
    if (options.pidFile !== undefined) writePidFile(options.pidFile, launched.pid);
    devices?.close();
    return { ...launched, directory, state, spec, notifications, cgroup };
  } catch (error) {
    unit?.release();
    notifications?.close();
    for (const fd of fds) close(fd);
    devices?.undo(options.warn);
    devices?.close();
    const { destroy } = await import("./delete.ts");
    await destroy(directory, state, cgroup, hooked ? spec : undefined, options.warn);
    throw error;
  }
}

function withEnvironment(spec: Spec, env: readonly string[]): Spec {
  const process = spec.process!;
  return { ...spec, process: { ...process, env: [...(process.env ?? []), ...env] } };
}

/** Whole or not at all: its reader may poll for it. */
export function writePidFile(path: string, pid: number): void {
  const temporary = posix.join(posix.dirname(path), `.${posix.basename(path)}.${process.pid}`);
  try {
    // Exclusively: in a directory of others the name may be a link to somewhere else.
    writeFileSync(temporary, String(pid), { mode: 0o644, flag: "wx" });
    renameSync(temporary, path);
  } catch (error) {
    if (codeOf(error) !== "EEXIST") tryUnlink(temporary);
    throw invalid(`--pid-file: ${messageOf(error)}`, error);
  }
}

function tryUnlink(path: string): void {
  try {
    unlinkSync(path);
  } catch {
    // It was not made.
  }
}

async function userNamespace(spec: Spec): Promise<number | undefined> {
  if (!spec.linux?.namespaces?.some((n) => n.type === "user" && !n.path)) return undefined;
  const { createUserNamespace } = await import("../userns.ts");
  return createUserNamespace(spec.linux.uidMappings ?? [], spec.linux.gidMappings ?? []);
}

/** What single mounts need, at descriptor numbers from `next` on. */
async function giveMounts(
  spec: Spec,
  rootfs: string,
  next: number,
  give: (fd: number, as: number) => void,
): Promise<{ mounts: Map<number, Given>; next: number }> {
  const mounts = new Map<number, Given>();
  if (!spec.mounts?.some((m) => m.uidMappings?.length || m.options?.includes("tmpcopyup"))) return { mounts, next };
  const { prepareMounts } = await import("../prepared-mounts.ts");
  const numbers = new Map<number, number>();
  for (const { mount, kind, fd } of prepareMounts(spec, [rootfs])) {
    let number = numbers.get(fd);
    if (number === undefined) {
      number = next++;
      numbers.set(fd, number);
      give(fd, number);
    }
    mounts.set(mount, { ...mounts.get(mount), [kind]: number });
  }
  return { mounts, next };
}

/** HOME, when the config does not say: that of the user in the root file system's passwd, else `/`. */
export function withHome(config: Pick<Config, "spec" | "rootfs">): Spec {
  const { spec, rootfs } = config;
  const process = spec.process!;
  if (process.env?.some((entry) => entry.startsWith("HOME=") && entry !== "HOME=")) return spec;
  const home = homeOf(process.user.uid, rootfs);
  const env = [...(process.env ?? []).filter((entry) => entry !== "HOME="), `HOME=${home}`];
  return { ...spec, process: { ...process, env } };
}

/** PATH_MAX. */
const MAX_HOME = 4096;

/** The home of `uid` in the hostile passwd below `rootfs`; `/` where it has none. */
export function homeOf(uid: number, rootfs: string): string {
  const root = openat(k.AT_FDCWD, rootfs, k.O_PATH | k.O_DIRECTORY);
  try {
    for (const line of readRootFile(root, "/etc/passwd")?.split("\n") ?? []) {
      const [, , id, , , home] = line.split(":");
      if (id === String(uid) && home?.startsWith("/") && home.length <= MAX_HOME && !home.includes("\0")) return home;
    }
    return "/";
  } finally {
    close(root);
  }
}
