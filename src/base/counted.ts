/** The same chunks; `hear` is told of their bytes so far. */
export async function* counted(
  chunks: AsyncIterable<Uint8Array>,
  hear: (total: number) => void,
): AsyncGenerator<Uint8Array> {
  let total = 0;
  for await (const chunk of chunks) {
    total += chunk.length;
    hear(total);
    yield chunk;
  }
}
