/**
 * Gives the memory of `chunk` back at once, where it is all of its buffer: nobody may use it any more. The collector sees
 * but a small object, and would let tens of megabytes lie before it looks.
 */
export function release({ buffer, byteLength }: Uint8Array): void {
  if (buffer instanceof ArrayBuffer && buffer.byteLength === byteLength) buffer.transfer(0);
}

/** The same for the last part of a buffer whose other parts have been used before: as decompressors give them. */
export function releaseFilled({ buffer, byteOffset, byteLength }: Uint8Array): void {
  if (buffer instanceof ArrayBuffer && byteOffset + byteLength === buffer.byteLength) buffer.transfer(0);
}
