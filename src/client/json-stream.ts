const MAX_OBJECT = 16 << 20;

/**
 * Objects of a progress or event stream: JSON texts one after another, with or without line breaks between them, cut
 * anywhere. Throws on what is not JSON and at an end inside an object.
 */
export async function* jsonStream<T>(body: AsyncIterable<Uint8Array>): AsyncGenerator<T> {
  const decoder = new TextDecoder();
  let text = "";
  // Where the scan of `text` stopped, and its state there: an object ends at the brace that closes depth 1.
  let at = 0;
  let depth = 0;
  let inString = false;
  let escaped = false;
  for await (const chunk of body) {
    text += decoder.decode(chunk, { stream: true });
    let start = 0;
    for (; at < text.length; at++) {
      const char = text.charCodeAt(at);
      if (inString) {
        if (escaped) escaped = false;
        else if (char === 0x5c) escaped = true;
        else if (char === 0x22) inString = false;
        continue;
      }
      if (char === 0x22 && depth > 0) inString = true;
      else if (char === 0x7b || char === 0x5b) {
        if (depth === 0) start = at;
        depth++;
      } else if (char === 0x7d || char === 0x5d) {
        depth--;
        if (depth < 0) throw new Error("invalid JSON stream");
        if (depth === 0) {
          yield JSON.parse(text.slice(start, at + 1)) as T;
          start = at + 1;
        }
      } else if (depth === 0 && char > 0x20 && char !== 0x1e) throw new Error("invalid JSON stream");
    }
    // Outside an object nothing is kept: what was there has been checked.
    if (depth === 0) start = at;
    text = text.slice(start);
    at -= start;
    if (text.length > MAX_OBJECT) throw new Error("JSON stream object too large");
  }
  if (text !== "") throw new Error("the stream ended inside a JSON object");
}
