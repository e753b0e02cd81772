/** The numbers of config.json that are unsigned 64-bit and mean nothing if rounded: rlimits, seccomp arguments. */
const EXACT = new Set(["soft", "hard", "value", "valueTwo"]);

/** JSON.parse, in which the numbers of {@link EXACT} beyond 2^53 are bigint. Errors are JSON.parse's. */
export function parseJson(text: string): unknown {
  // Reading number by number takes ten times as long, and hardly a file has such long ones.
  if (!/\d{16}/.test(text)) return JSON.parse(text);
  return JSON.parse(text, ((key: string, value: unknown, { source }: { source?: string }) => {
    if (typeof value !== "number" || Number.isSafeInteger(value) || !EXACT.has(key)) return value;
    return source !== undefined && /^\d+$/.test(source) ? BigInt(source) : value;
  }) as never);
}

/** What {@link parseJson} reads back as it was. */
export function stringifyJson(value: unknown): string {
  try {
    return JSON.stringify(value);
  } catch (error) {
    if (!(error instanceof TypeError)) throw error;
    const { rawJSON } = JSON as unknown as { rawJSON(text: string): unknown };
    return JSON.stringify(value, (_, v: unknown) => (typeof v === "bigint" ? rawJSON(String(v)) : v));
  }
}
