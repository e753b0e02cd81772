export function interpreter(_rowsAddress: number): Uint8Array {
  throw new RangeError("not yet");
}
