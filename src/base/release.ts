/**
 * Gives the memory of `chunk` back at once, where it is all of its buffer: nobody may use it any more. The collector sees
 * but a small object, and would let tens of megabytes lie before it looks.
 */
export function release({ buffer, byteLength }: Uint8Array): void {
  if (buffer instanceof ArrayBuffer && buffer.byteLength === byteLength) buffer.transfer(0);
}
