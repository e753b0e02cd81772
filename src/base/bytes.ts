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
