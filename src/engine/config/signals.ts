import { constants } from "node:os";
import { invalid } from "../../base/errors.ts";
import { didYouMean } from "../../base/nearest.ts";

/** signal(7), x86-64 and arm64. Real-time signals as glibc counts them, from 34 to 64. */
const SIGRTMIN = 34;
const SIGRTMAX = 64;

/** The number of `TERM`, `SIGTERM`, `sigterm`, `15`, `RTMIN+3`. Throws invalid. */
export function parseSignal(text: string): number {
  const fail = () => invalid(`invalid signal: ${text.slice(0, 64)}${didYouMean(text, Object.keys(constants.signals))}`);
  if (/^[0-9]{1,3}$/.test(text)) {
    const number = Number(text);
    if (number < 1 || number > SIGRTMAX) throw fail();
    return number;
  }
  const name = text.toUpperCase().replace(/^SIG/, "");
  const [, end, sign, offset] = /^RT(MIN|MAX)(?:([+-])([0-9]{1,2}))?$/.exec(name) ?? [];
  if (end !== undefined) {
    const number = (end === "MIN" ? SIGRTMIN : SIGRTMAX) + (sign === "-" ? -1 : 1) * Number(offset ?? 0);
    if (number < SIGRTMIN || number > SIGRTMAX) throw fail();
    return number;
  }
  const signals = constants.signals as Record<string, number>;
  const number = Object.hasOwn(signals, `SIG${name}`) ? signals[`SIG${name}`] : undefined;
  if (number === undefined) throw fail();
  return number;
}
