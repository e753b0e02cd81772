import type { OutputChunk } from "../engine/requests.ts";

/** Docker's framing of stdout and stderr on one connection (Engine API, "Stream format"); a terminal has none. */
export async function* frames(output: AsyncIterable<OutputChunk>, raw: boolean): AsyncGenerator<Uint8Array> {
  for await (const { stream, data } of output) {
    if (!raw) {
      const header = Buffer.alloc(8);
      header[0] = stream;
      header.writeUInt32BE(data.length, 4);
      yield header;
    }
    yield data;
  }
}

export function streamType(tty: boolean, version: number): string {
  return tty || version < 1.42 ? "application/vnd.docker.raw-stream" : "application/vnd.docker.multiplexed-stream";
}
