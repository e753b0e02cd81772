import { existsSync } from "node:fs";
import { posix } from "node:path";
import { InroError, unavailable } from "../../../base/errors.ts";
import { sys } from "../../../linux/call.ts";
import * as k from "../../../linux/constants.ts";
import { bytes, room, scratch } from "../../../linux/ffi.ts";
import { close, openat, read } from "../../../linux/file.ts";
import {
  children,
  memoryFile,
  pipe,
  raise,
  reap,
  sealedExecutable,
  socketpair,
  spawn,
} from "../../../linux/process.ts";
import { encode } from "../../../program/elf.ts";
import type { Program } from "../../../program/ir.ts";
import { MACHINE } from "../../../program/machine.ts";
import { FD } from "../../builder.ts";
import { DEFAULT_PATH } from "../../execve.ts";
import { programError } from "../failure.ts";
import { RowFailure } from "../spawn.ts";
import { type Directories, OPTION } from "./fields.ts";
import { decodeMessage, encodeMessage, type Field, type Message } from "./message.ts";

/** Where a program that becomes CRIU finds its descriptors: the report of its rows, the exit status, and these. */
export const CRIU_FD = { socket: 5, first: 20 } as const;

/** enum criu_req_type (CRIU's images/rpc.proto). */
export const REQUEST = { dump: 1, restore: 2, preDump: 4, notify: 6, featureCheck: 9, version: 10 } as const;
const NAMES = ["EMPTY", "DUMP", "RESTORE", "CHECK", "PRE_DUMP", "PAGE_SERVER", "NOTIFY", "", "", "FEATURE_CHECK"];

export interface Call {
  type: number;
  /** Of message criu_opts, but for the directories and the log. */
  options?: readonly Field[];
  directories?: Directories;
  /** Of message criu_features. */
  features?: readonly Field[];
  /** What becomes CRIU. */
  program: Program;
  /** Descriptors that it gets besides stdio. Not closed here. */
  fds?: readonly (readonly [ours: number, theirs: number])[];
  /** Its stdio is ours, which the restored processes get; else what it writes is kept for an error. */
  stdio?: boolean;
  /** After a success what was spawned goes on; else it is waited for. */
  stays?: boolean;
  /** CRIU waits meanwhile. `fd` came with it, and is closed afterwards. What this throws ends the whole. */
  onNotify?(script: string, pid: number, fd: number | undefined): void | Promise<void>;
}

/** CRIU refused or could not; the log, if it got so far, has the reason. */
export class CriuError extends InroError {
  constructor(message: string) {
    super("unavailable", message);
  }
}

/** `criu` by PATH; an unavailable error where there is none. */
export function findCriu(): string {
  for (const directory of (process.env.PATH || DEFAULT_PATH).split(":")) {
    if (directory.startsWith("/") && existsSync(`${directory}/criu`)) return `${directory}/criu`;
  }
  throw unavailable("criu is not installed, or not in PATH; Debian: apt-get install criu");
}

/**
 * One request to a CRIU of its own (`criu swrk`, rpc.proto), to its answer. A refusal is a {@link CriuError}; after an
 * error nothing of it is left.
 */
export async function callCriu(call: Call): Promise<Message> {
  const theirs: number[] = [];
  const ours: number[] = [];
  let pid: number | undefined;
  const give = (fd: number) => {
    const high = raise(fd);
    theirs.push(high);
    return high;
  };
  try {
    const executable = give(sealedExecutable("inro-runtime", encode(call.program, MACHINE)));
    const [near, far] = socketpair(k.SOCK_SEQPACKET);
    ours.push(near);
    const [report, reportFar] = pipe();
    ours.push(report);
    const fds: [number, number][] = [
      [give(reportFar), FD.report],
      [give(far), CRIU_FD.socket],
      ...(call.fds ?? []).map(([from, to]): [number, number] => [from, to]),
    ];
    let said: number | undefined;
    if (!call.stdio) {
      said = give(memoryFile("criu", new Uint8Array()));
      fds.push([said, 1], [said, 2]);
      theirs.splice(theirs.indexOf(said), 1);
      ours.push(said);
    }
    pid = spawn({ path: `/proc/self/fd/${executable}`, argv: ["inro-runtime", "criu"], fds });
    for (const fd of theirs.splice(0)) close(fd);
    const record = Buffer.alloc(8);
    if (read(report, record) === 8) {
      throw programError(call.program, new RowFailure(record.readUInt32LE(0), record.readUInt32LE(4)), "criu");
    }
    const options = [...(call.options ?? []), ...(call.directories ? open(call.directories, pid, ours) : [])];
    send(near, [
      [1, call.type],
      [2, options.length > 0 ? encodeMessage(options) : undefined],
      [5, call.features && encodeMessage(call.features)],
    ]);
    for (;;) {
      const { message, fd } = receive(near);
      try {
        if (!message) throw new CriuError(`criu ended before it answered${saidBy(said)}`);
        const type = message.integer(1) ?? 0;
        if (!message.integer(2)) throw refusal(message);
        if (type !== REQUEST.notify) {
          if (call.stays) pid = undefined;
          return message;
        }
        const notice = message.message(5);
        await call.onNotify?.(notice?.text(1) ?? "", notice?.integer(2) ?? 0, fd);
      } finally {
        if (fd !== undefined) close(fd);
      }
      send(near, [
        [1, REQUEST.notify],
        [3, true],
      ]);
    }
  } finally {
    for (const fd of [...theirs, ...ours]) close(fd);
    // Without its socket it ends.
    if (pid !== undefined) reap(pid, 0);
  }
}

/**
 * The fields of the directories: CRIU takes them from our descriptors. It mounts in them, so each is the one of its own
 * mount namespace. `parent` is CRIU, or its parent.
 */
function open({ images, work, log }: Directories, parent: number, opened: number[]): Field[] {
  const root = `/proc/${children(parent)[0] ?? parent}/root`;
  const directory = (path: string) => {
    const fd = openat(k.AT_FDCWD, root + path, k.O_RDONLY | k.O_DIRECTORY);
    opened.push(fd);
    return fd;
  };
  return [
    [OPTION.imagesDirFd, directory(images)],
    [OPTION.workDirFd, work && directory(work)],
    [OPTION.logFile, posix.basename(log)],
    [OPTION.logLevel, LOG_LEVEL],
  ];
}
const LOG_LEVEL = 4;

function refusal(message: Message): CriuError {
  const type = NAMES[message.integer(1) ?? 0] || String(message.integer(1));
  const text = message.text(9);
  return new CriuError(`criu failed: type ${type} errno ${message.integer(7) ?? 0}${text ? `: ${text}` : ""}`);
}

/** The errors that it wrote where it had no log yet. */
function saidBy(fd: number | undefined): string {
  if (fd === undefined) return "";
  const buffer = Buffer.alloc(8192);
  const length = scratch(() => {
    const { address, view } = room(buffer.length);
    const n = sys("pread64", "criu's output", fd, address, buffer.length, 0);
    view.copy(buffer);
    return n;
  });
  const lines = errorLines(buffer.toString("utf8", 0, length));
  return lines.length > 0 ? `: ${lines.join("; ")}` : "";
}

const MAX_LINES = 4;

/** The first lines with an error, without the time in front. */
export function errorLines(log: string): string[] {
  return log
    .split("\n")
    .filter((line) => /\bError\b/.test(line))
    .map((line) => line.replace(/^\([\d.]+\)\s*/, "").trim())
    .slice(0, MAX_LINES);
}

function send(socket: number, fields: readonly Field[]): void {
  const message = encodeMessage(fields);
  scratch(() => sys("sendto", "criu", socket, bytes(message), message.length, MSG_NOSIGNAL, 0, 0));
}

const MSG_NOSIGNAL = 0x4000;
const MSG_CMSG_CLOEXEC = 0x4000_0000;
const MAX_MESSAGE = 64 << 10;

/** The next message and the descriptor that came with it; neither at the end. Blocks. */
function receive(socket: number): { message: Message | undefined; fd: number | undefined } {
  return scratch(() => {
    const data = room(MAX_MESSAGE);
    const iov = room(16);
    iov.view.writeBigUInt64LE(BigInt(data.address), 0);
    iov.view.writeBigUInt64LE(BigInt(MAX_MESSAGE), 8);
    const control = room(24);
    const header = room(56);
    header.view.writeBigUInt64LE(BigInt(iov.address), 16);
    header.view.writeBigUInt64LE(1n, 24);
    header.view.writeBigUInt64LE(BigInt(control.address), 32);
    header.view.writeBigUInt64LE(24n, 40);
    const length = sys("recvmsg", "criu", socket, header.address, MSG_CMSG_CLOEXEC);
    const fd = control.view.readInt32LE(12) === k.SCM_RIGHTS ? control.view.readInt32LE(16) : undefined;
    // A copy: the arena is used again.
    return { message: length > 0 ? decodeMessage(Buffer.from(data.view.subarray(0, length))) : undefined, fd };
  });
}
