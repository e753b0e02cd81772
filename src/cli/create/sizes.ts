import { parseBytes } from "../../base/bytes.ts";

export { parseBytes };

/** As {@link parseBytes}, with -1 for unlimited. */
export function parseSwapBytes(text: string): number {
  return text === "-1" ? -1 : parseBytes(text);
}

/** Billionths of a processor of a decimal number, exactly: `1.5` is 1500000000. */
export function parseCpus(text: string): number {
  const match = /^([+-]?)(\d*)(?:\.(\d*))?$/.exec(text);
  const digits = `${match?.[2] ?? ""}${match?.[3] ?? ""}`;
  if (!match || digits === "") throw new Error(`failed to parse ${text} as a rational number`);
  const fraction = (match[3] ?? "").replace(/0+$/, "");
  if (fraction.length > 9) throw new Error("value is too precise");
  const nano = Number(`${match[2]}${fraction.padEnd(9, "0")}`);
  if (!Number.isSafeInteger(nano)) throw new Error("value is too large");
  return match[1] === "-" ? -nano : nano;
}
