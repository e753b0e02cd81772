import { invalid } from "../base/errors.ts";

/**
 * The bits of a list such as `0-3,7` (cpuset(7), "List format"), lowest first, in whole 64-bit words. One that is
 * malformed, empty or names a number of `limit` or more is an invalid-argument error about `name`.
 */
export function parseBitList(name: string, list: string, limit: number): Uint8Array {
  const mask = new Uint8Array(limit / 8);
  let highest = -1;
  for (const part of list.split(",")) {
    const match = /^\s*(\d{1,5})(?:-(\d{1,5}))?\s*$/.exec(part);
    if (!match) throw invalid(`${name}: ${JSON.stringify(list)} is no list such as 0-3,7`);
    const from = Number(match[1]);
    const to = Number(match[2] ?? match[1]);
    if (from > to) throw invalid(`${name}: the range ${part.trim()} goes backwards`);
    if (to >= limit) throw invalid(`${name}: ${to} is over ${limit - 1}`);
    for (let n = from; n <= to; n++) mask[n >> 3]! |= 1 << (n & 7);
    highest = Math.max(highest, to);
  }
  return mask.slice(0, ((highest >> 6) + 1) * 8);
}
