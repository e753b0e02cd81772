import { once } from "node:events";
import { open } from "node:fs/promises";
import { ProtocolError } from "./errors.ts";
import type { Exchange } from "./routes.ts";

const CHUNK = 256 * 1024;

/** Answers GET and HEAD with stored content, or with the one range that is asked for (RFC 9110 section 14). */
export async function sendBlob(
  { request, response, method, store }: Exchange,
  digest: string,
  type: string,
): Promise<void> {
  const file = await open(store.content.path(digest), "r");
  try {
    const { size } = await file.stat();
    const range = method === "GET" ? parseRange(request.headers.range, size) : undefined;
    const { start, end } = range ?? { start: 0, end: size };
    response.writeHead(range ? 206 : 200, {
      "Content-Type": type,
      "Content-Length": end - start,
      "Docker-Content-Digest": digest,
      "Accept-Ranges": "bytes",
      ETag: `"${digest}"`,
      // What somebody else made is no page of this server.
      "X-Content-Type-Options": "nosniff",
      ...(range ? { "Content-Range": `bytes ${start}-${end - 1}/${size}` } : {}),
    });
    if (method === "GET") {
      for (let at = start; at < end; ) {
        const { bytesRead, buffer } = await file.read(Buffer.allocUnsafe(CHUNK), 0, Math.min(CHUNK, end - at), at);
        if (bytesRead === 0) throw new Error(`blob ${digest} has become shorter`);
        at += bytesRead;
        if (!response.write(buffer.subarray(0, bytesRead))) await drained(response);
        if (response.destroyed) return;
      }
    }
    response.end();
  } finally {
    await file.close();
  }
}

function drained(response: Exchange["response"]): Promise<unknown> {
  if (response.destroyed || response.closed) return Promise.resolve();
  const ended = new AbortController();
  return Promise.race([once(response, "drain", ended), once(response, "close", ended)]).finally(() => ended.abort());
}

/** `end` is exclusive. Undefined for none, and for several at once, which may be answered with everything. */
function parseRange(text: string | undefined, size: number): { start: number; end: number } | undefined {
  const parts = /^bytes=(\d{0,15})-(\d{0,15})$/.exec(text ?? "");
  if (!parts || (parts[1] === "" && parts[2] === "")) return undefined;
  const [first, last] = [parts[1]!, parts[2]!];
  const start = first === "" ? Math.max(0, size - Number(last)) : Number(first);
  const end = first === "" || last === "" ? size : Math.min(size, Number(last) + 1);
  if (start >= size || end <= start) {
    throw new ProtocolError("RANGE_INVALID", "no such range", { headers: { "Content-Range": `bytes */${size}` } });
  }
  return { start, end };
}
