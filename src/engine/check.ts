import { existsSync, readdirSync, readFileSync, statSync } from "node:fs";
import { basename, dirname, join } from "node:path";
import { messageOf } from "../base/errors.ts";
import { listCgroups } from "../cgroups/cgroup.ts";
import { ownerOf } from "../cgroups/owner.ts";
import { sys } from "../linux/call.ts";
import * as k from "../linux/constants.ts";
import { scratch, str } from "../linux/ffi.ts";
import { readText } from "../linux/file.ts";
import { findKeepers } from "../runtime/running.ts";
import { type Context, openCgroup, openCgroupAt } from "./context.ts";
import { networkProbe } from "./networks/check.ts";
import { cgroupPath } from "./paths.ts";
import { containerOf, endKeeper, isRunning, removeBelow } from "./reconcile.ts";
import type { Finding } from "./requests.ts";

/** What an operation in progress may have lying about is not old yet. */
const OLD_MS = 60 * 60 * 1000;
const OLD_INGEST_MS = 7 * 24 * OLD_MS;

type Found = Omit<Finding, "repaired"> & { repair(): unknown };

/**
 * Compares the machine with the records, and mends it if asked. Only what is below this engine's own directories, named
 * by an id that its records or its run directories know, or marked as its own, is looked at: other engines on the machine
 * are not its business. `images` reads every blob and layer as well.
 */
export async function check(ctx: Context, options: { repair: boolean; images?: boolean }): Promise<Finding[]> {
  // What is under way is no leak.
  for (const container of ctx.table.all()) {
    await container.mutex.run(async () => {
      if (!container.isRunning) await container.finished;
    });
  }
  await ctx.trash.empty();
  await ctx.endpoints.settled();
  const findings: Finding[] = [];
  for (const probe of [
    lostContainers,
    keepers,
    runDirectories,
    cgroups,
    lostCgroups,
    mounts,
    containerDirectories,
    volumes,
    networkProbe,
    old,
  ]) {
    for (const { repair, ...found } of probe(ctx)) {
      let repaired = false;
      if (options.repair) {
        try {
          await repair();
          repaired = true;
        } catch (error) {
          found.problem += ` (repair failed: ${messageOf(error)})`;
        }
      }
      findings.push({ ...found, repaired });
    }
  }
  if (options.images) {
    const isUsed = (image: string) => ctx.table.usersOf(image).length > 0;
    findings.push(...(await ctx.images.verify({ repair: options.repair, isUsed })));
  }
  return findings;
}

/** Recorded as running, but nobody watches it. */
function* lostContainers(ctx: Context): Iterable<Found> {
  for (const container of ctx.table.all()) {
    if (!container.isRunning || container.running) continue;
    const repair = () => {
      throw new Error("restart the engine");
    };
    yield { kind: "container", object: container.id, problem: "recorded as running, has no process", repair };
  }
}

/** Processes that no running container accounts for. */

/** Whether SIGKILL is on its way to a process: it is as good as gone. */
function isKilled(pid: number): boolean {
  const pending = /^ShdPnd:\s*([0-9a-f]+)/m.exec(readText(`/proc/${pid}/status`) ?? "")?.[1];
  return pending !== undefined && (BigInt(`0x${pending}`) & SIGKILL_BIT) !== 0n;
}
const SIGKILL_BIT = 1n << 8n;

function* keepers(ctx: Context): Iterable<Found> {
  const found = findKeepers();
  for (const [runDir, pid] of found) {
    if (!runDir.startsWith(`${ctx.paths.runDirs}/`)) continue;
    if (isRunning(ctx, containerOf(ctx, runDir))) continue;
    const repair = () => endKeeper(runDir, pid);
    if (isKilled(pid)) continue;
    yield { kind: "keeper", object: String(pid), problem: `keeper of ${runDir}, which does not run`, repair };
  }
}

function* runDirectories(ctx: Context): Iterable<Found> {
  for (const id of readdirSync(ctx.paths.runDirs)) {
    if (isRunning(ctx, id)) continue;
    const object = ctx.paths.runDir(id);
    const known = ctx.table.has(id);
    const repair = async () => {
      // Its cgroup is as much ours as the directory is.
      if (!known && /^[0-9a-f]{64}$/.test(id)) await openCgroupAt(ctx, cgroupPath(id, undefined))?.remove();
      removeBelow(ctx.paths.runDirs, id);
    };
    yield { kind: "run-directory", object, problem: known ? "its container does not run" : "of no container", repair };
  }
}

function* cgroups(ctx: Context): Iterable<Found> {
  for (const container of ctx.table.all()) {
    if (isRunning(ctx, container.id)) continue;
    const cgroup = openCgroup(ctx, container);
    if (!cgroup) continue;
    for (const object of cgroup.paths()) {
      yield { kind: "cgroup", object, problem: "its container does not run", repair: () => cgroup.remove() };
    }
  }
}

/** Made by an engine on this data root, of a container that neither a record nor a run directory knows any more. */
function* lostCgroups(ctx: Context): Iterable<Found> {
  for (const path of listCgroups(ctx.hierarchy, dirname(cgroupPath("x", undefined)))) {
    const id = basename(path);
    if (ctx.table.has(id) || existsSync(ctx.paths.runDir(id))) continue;
    const cgroup = openCgroupAt(ctx, path);
    if (!cgroup?.paths().some((directory) => ownerOf(directory) === ctx.paths.dataRoot)) continue;
    for (const object of cgroup.paths()) {
      yield { kind: "cgroup", object, problem: "of no container", repair: () => cgroup.remove() };
    }
  }
}

/** Containers mount in their own namespaces only, so any mount below our directories is one too many. */
function* mounts(ctx: Context): Iterable<Found> {
  const points = readFileSync("/proc/self/mountinfo", "utf8")
    .split("\n")
    .map((line) => line.split(" ")[4] ?? "")
    .map((point) => point.replace(/\\([0-7]{3})/g, (_, octal) => String.fromCharCode(Number.parseInt(octal, 8))));
  for (const object of points.reverse()) {
    if (![ctx.paths.dataRoot, ctx.paths.execRoot].some((root) => object.startsWith(`${root}/`))) continue;
    // An engine may well have its directories on one another's file systems.
    if (object === ctx.paths.dataRoot || object === ctx.paths.execRoot) continue;
    const repair = () => scratch(() => sys("umount2", object, str(object), k.MNT_DETACH | k.UMOUNT_NOFOLLOW));
    yield { kind: "mount", object, problem: "mounted on the host", repair };
  }
}

function* containerDirectories(ctx: Context): Iterable<Found> {
  for (const id of readdirSync(ctx.paths.containers)) {
    if (ctx.table.has(id)) continue;
    const repair = () => removeBelow(ctx.paths.containers, id);
    yield { kind: "container-directory", object: ctx.paths.container(id), problem: "of no container", repair };
  }
}

function* volumes(ctx: Context): Iterable<Found> {
  const known = new Set(ctx.store.volumes().map(({ name }) => name));
  for (const name of readdirSync(ctx.paths.volumes)) {
    // Being made, or old enough to be found below.
    if (known.has(name) || name.startsWith(".")) continue;
    const repair = () => removeBelow(ctx.paths.volumes, name);
    yield { kind: "volume", object: join(ctx.paths.volumes, name), problem: "of no volume", repair };
  }
  for (const { record } of ctx.table.all()) {
    for (const { type, source } of record.mounts) {
      if (type !== "volume" || known.has(source)) continue;
      const repair = () => {
        throw new Error("create the volume, or remove the container");
      };
      yield { kind: "volume", object: source, problem: `container ${record.id} needs it, and it is not there`, repair };
    }
  }
}

/** Unfinished downloads, layers and archives that nobody is working on any more. */
function* old(ctx: Context): Iterable<Found> {
  for (const [kind, directory, prefix, age] of [
    ["temporary", ctx.paths.temporary, "", OLD_MS],
    ["layer", ctx.paths.layers, "tmp-", OLD_MS],
    ["volume", ctx.paths.volumes, ".", OLD_MS],
    ["ingest", join(ctx.paths.content, "ingest"), "", OLD_INGEST_MS],
  ] as const) {
    if (!existsSync(directory)) continue;
    for (const name of readdirSync(directory)) {
      const object = join(directory, name);
      if (!name.startsWith(prefix) || Date.now() - statSync(object).mtimeMs < age) continue;
      yield { kind, object, problem: "left over, and old", repair: () => removeBelow(directory, name) };
    }
  }
}
