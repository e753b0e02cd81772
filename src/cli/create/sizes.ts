const BINARY = { k: 2 ** 10, m: 2 ** 20, g: 2 ** 30, t: 2 ** 40, p: 2 ** 50 } as const;

/** Bytes of `512m`, `1.5GB`, `64kib`, `1024`: factors of 1024, as docker's flags have them. */
export function parseBytes(text: string): number {
  const match = /^(\d+\.?\d*|\.\d+) ?([a-zA-Z]*)$/.exec(text);
  if (!match) throw new Error(`invalid size: '${text}'`);
  const suffix = match[2]!.toLowerCase();
  if (suffix !== "" && !/^([kmgtp](b|ib)?|b)$/.test(suffix)) throw new Error(`invalid suffix: '${suffix}'`);
  const factor = suffix === "" || suffix === "b" ? 1 : BINARY[suffix[0] as keyof typeof BINARY];
  const bytes = Math.trunc(Number(match[1]) * factor);
  if (!Number.isSafeInteger(bytes)) throw new Error(`invalid size: '${text}'`);
  return bytes;
}

/** The same, with -1 for unlimited. */
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
