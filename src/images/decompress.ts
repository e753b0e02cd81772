import { spawn } from "node:child_process";
import { codeOf, invalid, unavailable } from "../base/errors.ts";
import { decompress, detectCompression } from "../layers/compression.ts";

/**
 * The plain bytes of an archive that is gzip, zstd, bzip2, xz or plain. The last but one need the machine's program
 * of that name (unavailable without). Corrupt data is invalid.
 */
export async function* decompressAny(source: AsyncIterable<Uint8Array>): AsyncGenerator<Uint8Array> {
  const { head, whole } = await peek(source);
  const compression = detectCompression(head);
  if (compression === "bzip2" || compression === "xz") yield* throughProgram(whole, compression);
  else yield* decompress(whole);
}

/** The first bytes of a stream (at least 6 unless it is shorter), and the stream with them. */
export async function peek(
  source: AsyncIterable<Uint8Array>,
): Promise<{ head: Buffer; whole: AsyncGenerator<Uint8Array> }> {
  const iterator = source[Symbol.asyncIterator]();
  let head = Buffer.alloc(0);
  let done = false;
  while (head.length < 6 && !done) {
    const next = await iterator.next();
    done = next.done === true;
    if (!next.done) head = Buffer.concat([head, next.value]);
  }
  const whole = (async function* () {
    try {
      if (head.length > 0) yield head;
      while (!done) {
        const next = await iterator.next();
        if (next.done) done = true;
        else yield next.value;
      }
    } finally {
      if (!done) await iterator.return?.();
    }
  })();
  return { head, whole };
}

async function* throughProgram(source: AsyncIterable<Uint8Array>, program: "bzip2" | "xz"): AsyncGenerator<Uint8Array> {
  const child = spawn(program, ["-dc"], { stdio: ["pipe", "pipe", "ignore"] });
  const ended = new Promise<number | Error>((resolve) => {
    child.once("error", resolve);
    child.once("close", (code) => resolve(code ?? 1));
  });
  let sourceError: unknown;
  const feeding = (async () => {
    try {
      for await (const chunk of source) {
        if (!child.stdin.writable) return;
        if (child.stdin.write(chunk)) continue;
        await new Promise<void>((resolve) => {
          child.stdin.once("drain", resolve);
          child.stdin.once("close", resolve);
        });
      }
    } catch (error) {
      sourceError = error;
    } finally {
      child.stdin.end();
    }
  })();
  child.stdin.on("error", () => {});
  try {
    for await (const chunk of child.stdout) yield chunk;
    const end = await ended;
    await feeding;
    if (sourceError !== undefined) throw sourceError;
    if (end instanceof Error) {
      const hint = codeOf(end) === "ENOENT" ? ` (is ${program} installed?)` : "";
      throw unavailable(`decompress ${program}: cannot start ${program}${hint}`, end);
    }
    if (end !== 0) throw invalid(`decompress ${program}: the archive is corrupt`);
  } finally {
    child.kill("SIGKILL");
    await ended;
  }
}
