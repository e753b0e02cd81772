import { createReadStream, openSync } from "node:fs";
import { mkdtemp, open, rm } from "node:fs/promises";
import { join } from "node:path";
import { readTar } from "../../archive/tar.ts";
import { invalid } from "../../base/errors.ts";
import { close } from "../../linux/file.ts";
import { GO_DIRECTORY, GO_SYMLINK, goMode, PACKET } from "./file-mode.ts";
import { type GrpcStream, openCall } from "./grpc.ts";
import { MessageReader, MessageWriter } from "./protobuf.ts";
import type { Session } from "./sessions.ts";

/** Outputs of a build that are the client's: `moby.filesync.v1.FileSend/DiffCopy`, in its two meanings. */
const METHOD = "/moby.filesync.v1.FileSend/DiffCopy";
/** As BuildKit's own buffer. */
const CHUNK = 32 << 10;

/** One file: messages of bytes. `metadata` is what an exporter says of it. Resolves when the client has all of it. */
export async function sendFile(
  session: Session,
  bytes: AsyncIterable<Uint8Array>,
  metadata: Readonly<Record<string, string>>,
  signal: AbortSignal,
): Promise<void> {
  mustReceive(session);
  const headers = Object.fromEntries(Object.entries(metadata).map(([key, value]) => [`exporter-md-${key}`, value]));
  const stream = openCall(session.http2, METHOD, headers, AbortSignal.any([signal, session.gone]));
  try {
    for await (const chunk of bytes) {
      for (let at = 0; at < chunk.length; at += CHUNK) {
        await stream.send(new MessageWriter().bytes(1, chunk.subarray(at, at + CHUNK)).finish());
      }
      if (stream.ended) break;
    }
    stream.end();
    // Its status says whether it was written.
    for await (const _ of stream.messages());
  } finally {
    stream.cancel();
  }
}

interface Entry {
  readonly path: string;
  readonly mode: number;
  readonly size: number;
  readonly mtime: bigint;
  readonly linkname: string;
  /** Of its content, in the spool. */
  readonly offset: number;
}

/**
 * A directory, given as a tar: what every file is, in fsutil's order, and then the contents of those that the client asks
 * for, as it does for all. `directory` is for the contents meanwhile. Devices, which only root could make, are left out.
 */
export async function sendDirectory(
  session: Session,
  tar: AsyncIterable<Uint8Array>,
  directory: string,
  signal: AbortSignal,
): Promise<void> {
  mustReceive(session);
  const own = await mkdtemp(join(directory, "send-"));
  try {
    const spool = join(own, "contents");
    const entries = await spooled(tar, spool, signal);
    const stream = openCall(session.http2, METHOD, {}, AbortSignal.any([signal, session.gone]));
    const fd = openSync(spool, "r");
    try {
      await Promise.all([list(stream, entries), serve(stream, entries, fd)]);
    } finally {
      close(fd);
      stream.cancel();
    }
  } finally {
    await rm(own, { recursive: true, force: true });
  }
}

function mustReceive(session: Session): void {
  if (session.methods.has(METHOD.toLowerCase())) return;
  throw invalid("the client of the build takes no files: it names no place for the output");
}

async function spooled(tar: AsyncIterable<Uint8Array>, path: string, signal: AbortSignal): Promise<Entry[]> {
  const entries = new Map<string, Entry>();
  const file = await open(path, "wx", 0o600);
  try {
    let offset = 0;
    for await (const { name, type, mode, size, mtime, linkname, body } of readTar(tar)) {
      signal.throwIfAborted();
      const inside = clean(name);
      if (inside === "") continue;
      const common = { path: inside, mtime, linkname: "", size: 0, offset };
      if (type === "directory") entries.set(inside, { ...common, mode: goMode(mode) + GO_DIRECTORY });
      else if (type === "symlink") entries.set(inside, { ...common, mode: 0o777 + GO_SYMLINK, linkname });
      else if (type === "hardlink") {
        // A file of its own: the order of names need not be that of the links.
        const target = entries.get(clean(linkname));
        if (target) entries.set(inside, { ...target, path: inside });
      } else if (type === "file") {
        for await (const chunk of body) await file.writeFile(chunk);
        entries.set(inside, { ...common, mode: goMode(mode), size });
        offset += size;
      }
    }
  } finally {
    await file.close();
  }
  return [...entries.values()].sort((a, b) => compare(a.path, b.path));
}

const clean = (name: string) => name.replace(/^(?:\.?\/)+/, "").replace(/\/+$/, "");

/** Of fsutil: a directory's files come right behind it. */
function compare(a: string, b: string): number {
  const [one, two] = [a, b].map((path) => Buffer.from(path.replaceAll("/", "\0")));
  return Buffer.compare(one!, two!);
}

async function list(stream: GrpcStream, entries: readonly Entry[]): Promise<void> {
  for (const { path, mode, size, mtime, linkname } of entries) {
    const stat = new MessageWriter().text(1, path).uint(2, mode).uint(5, size).uint(6, mtime).text(7, linkname);
    await stream.send(new MessageWriter().message(2, stat.finish()).finish());
  }
  await stream.send(new MessageWriter().finish());
}

async function serve(stream: GrpcStream, entries: readonly Entry[], fd: number): Promise<void> {
  for await (const message of stream.messages()) {
    const packet = new MessageReader(message);
    const type = packet.uint(1);
    if (type === PACKET.error) throw invalid(`the client cannot take the files: ${packet.text(4).slice(0, 1000)}`);
    if (type === PACKET.end) {
      await stream.send(new MessageWriter().uint(1, PACKET.end).finish());
      stream.end();
      continue;
    }
    const number = packet.uint(3);
    const entry = entries[number];
    if (type !== PACKET.request || !entry) throw invalid("the client asked for a file that is not there");
    const { offset, size } = entry;
    const data = (bytes: Uint8Array) =>
      stream.send(new MessageWriter().uint(1, PACKET.data).uint(3, number).bytes(4, bytes).finish());
    if (size > 0) {
      const range = { fd, autoClose: false, start: offset, end: offset + size - 1, highWaterMark: CHUNK };
      for await (const chunk of createReadStream("", range)) await data(chunk as Buffer);
    }
    await data(new Uint8Array());
  }
}
