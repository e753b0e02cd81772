import { Readable, type Transform } from "node:stream";
import { pipeline } from "node:stream/promises";

/** `source` through a transform, with back-pressure; leaving the result early ends the source too. */
export async function* compressed(source: AsyncIterable<Uint8Array>, transform: Transform): AsyncGenerator<Uint8Array> {
  const input = Readable.from(source, { objectMode: false });
  const piping = pipeline(input, transform);
  piping.catch(() => {});
  try {
    for await (const chunk of transform) yield chunk as Uint8Array;
    await piping;
  } finally {
    input.destroy();
    transform.destroy();
  }
}
