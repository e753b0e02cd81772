/** Bytes between two collections. */
const EVERY = 16 << 20;
let since = 0;

/**
 * Tells that so many bytes have gone by, each part in a buffer of its own. The collector has but a small object in its books
 * for a buffer, and lets tens of megabytes of them lie before it looks: so it is asked to. Not for the engine, where others
 * would wait for it.
 */
export function streamed(bytes: number): void {
  since += bytes;
  if (since < EVERY) return;
  since = 0;
  Bun.gc(true);
}
