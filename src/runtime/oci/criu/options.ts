import { existsSync, mkdirSync, readFileSync, statSync } from "node:fs";
import { posix } from "node:path";
import { codeOf, invalid, messageOf } from "../../../base/errors.ts";
import * as k from "../../../linux/constants.ts";
import type { Parsed } from "../options.ts";
import { type Directories, OPTION } from "./fields.ts";
import { encodeMessage, type Field } from "./message.ts";
import { CriuError, errorLines } from "./rpc.ts";

/** enum criu_cg_mode. */
const CGROUP_MODES: Readonly<Record<string, number>> = { ignore: 0, soft: 3, full: 4, strict: 5 };
/** The directories of a checkpoint; what is missing is made, mode 0700, but for the images of a restore. */
export function directoriesOf({ texts }: Parsed, logFile: string, make: boolean): Directories {
  const images = posix.resolve(texts.get("image-path") || "checkpoint");
  const given = texts.get("work-path");
  const work = given === undefined ? undefined : posix.resolve(given);
  for (const path of [...(make ? [images] : []), ...(work ? [work] : [])]) {
    try {
      mkdirSync(path, { mode: 0o700 });
    } catch (error) {
      if (codeOf(error) !== "EEXIST") throw error;
    }
  }
  return { images, work, log: posix.join(work ?? images, logFile) };
}

/** The flags that both commands have, as fields. A value that runc does not know is an invalid-argument error. */
export function commonFields({ bools, texts, lists }: Parsed, annotations: Record<string, string>): Field[] {
  const mode = texts.get("manage-cgroups-mode") ?? "soft";
  if (!Object.hasOwn(CGROUP_MODES, mode)) {
    throw invalid(`--manage-cgroups-mode: ${JSON.stringify(mode)} is not soft, full, strict or ignore`);
  }
  let empty = 0;
  for (const namespace of lists.get("empty-ns") ?? []) {
    if (namespace !== "network") throw invalid(`--empty-ns: namespace ${JSON.stringify(namespace)} is not supported`);
    empty |= k.CLONE_NEWNET;
  }
  return [
    [OPTION.tcpEstablished, bools.has("tcp-established")],
    [OPTION.extUnixSk, bools.has("ext-unix-sk")],
    [OPTION.shellJob, bools.has("shell-job")],
    [OPTION.fileLocks, bools.has("file-locks")],
    [OPTION.lazyPages, bools.has("lazy-pages")],
    [OPTION.autoDedup, bools.has("auto-dedup")],
    [OPTION.emptyNs, empty],
    [OPTION.manageCgroups, true],
    [OPTION.manageCgroupsMode, CGROUP_MODES[mode]],
    [OPTION.notifyScripts, true],
    [OPTION.orphanPtsMaster, true],
    [OPTION.configFile, configFile(annotations)],
  ];
}

const CONFIG_ANNOTATION = "org.criu.config";
/** runc's, so that a machine set up for it is set up for us. */
const CONFIG_FILE = "/etc/criu/runc.conf";

/** CRIU's own settings, that go over ours: by annotation, which if empty means none, else the machine's file. */
function configFile(annotations: Record<string, string>): string | undefined {
  const named = annotations[CONFIG_ANNOTATION];
  if (named !== undefined) return named || undefined;
  return existsSync(CONFIG_FILE) ? CONFIG_FILE : undefined;
}

/** `--page-server ADDRESS:PORT`. */
export function pageServer(text: string | undefined): Field[] {
  if (text === undefined) return [];
  const match = /^(.+):(\d{1,5})$/.exec(text);
  if (!match) throw invalid(`--page-server ${JSON.stringify(text)}: must be ADDRESS:PORT`);
  const address = match[1]!.replace(/^\[(.*)\]$/, "$1");
  return [
    [
      OPTION.pageServer,
      encodeMessage([
        [1, address],
        [2, Number(match[2])],
      ]),
    ],
  ];
}

/** `--parent-path`, relative to the images: an earlier checkpoint, of which this one has only the changes. */
export function parentImage(path: string | undefined, images: string): Field[] {
  if (path === undefined) return [];
  if (path.startsWith("/")) throw invalid(`--parent-path ${path}: must be relative to --image-path`);
  if (!statSync(posix.join(images, path), { throwIfNoEntry: false })?.isDirectory()) {
    throw invalid(`--parent-path ${path}: ${posix.join(images, path)} is no directory`);
  }
  return [
    [OPTION.parentImg, path],
    [OPTION.trackMem, true],
  ];
}

/** An error of CRIU with what its log says. */
export function withLog(error: unknown, log: string): unknown {
  if (!(error instanceof CriuError)) return error;
  let lines: string[];
  try {
    lines = errorLines(readFileSync(log, "utf8"));
  } catch {
    // It did not get so far.
    return error;
  }
  return new CriuError([`${messageOf(error)} (log file: ${log})`, ...lines].join(": ").slice(0, MAX_TEXT));
}

const MAX_TEXT = 2000;
