import type { DeviceMapping, ThrottlePath, Ulimit } from "../../spec/docker-api.ts";
import { ExitError } from "../command.ts";
import { parseInteger } from "../flags.ts";
import { parseBytes } from "./sizes.ts";

/** `HOST[:CONTAINER][:rwm]`. */
export function parseDevice(text: string): DeviceMapping {
  const parts = text.split(":");
  const [host, second, third] = parts;
  const isMode = (word: string) => /^(?!.*(.).*\1)[rwm]{1,3}$/.test(word);
  if (parts.length > 3 || parts.some((part) => part === "")) {
    throw new ExitError(125, `bad format for path: ${text}`);
  }
  let path = host!;
  let mode = "rwm";
  if (third !== undefined) {
    path = second!;
    mode = third;
  } else if (second !== undefined) {
    if (isMode(second)) mode = second;
    else path = second;
  }
  if (!isMode(mode)) throw new ExitError(125, `bad mode specified: ${mode}`);
  for (const one of [path, host!]) {
    if (!one.startsWith("/")) throw new ExitError(125, `${one} is not an absolute path`);
  }
  return { PathOnHost: host!, PathInContainer: path, CgroupPermissions: mode };
}

/** `a|b|c MAJOR:MINOR rwm` of --device-cgroup-rule. */
export function parseDeviceRule(text: string): string {
  if (!/^[acb] (\d+|\*):(\d+|\*) [rwm]{1,3}$/.test(text)) throw new Error(`invalid device cgroup format '${text}'`);
  return text;
}

/** `PATH:RATE` in bytes per second, with a unit. */
export function parseThrottleBytes(text: string): ThrottlePath {
  return throttle(
    text,
    "[<unit>]. Number must be a positive integer. Unit is optional and can be kb, mb, or gb",
    parseBytes,
  );
}

/** `PATH:RATE` in operations per second. */
export function parseThrottleOperations(text: string): ThrottlePath {
  return throttle(text, ". Number must be a positive integer", (rate) => parseInteger(rate, true));
}

/** `PATH:WEIGHT` of --blkio-weight-device; 10 to 1000, or 0. */
export function parseWeightDevice(text: string): { Path: string; Weight: number } {
  const colon = text.indexOf(":");
  if (colon <= 0) throw new Error(`bad format: ${text}`);
  const path = text.slice(0, colon);
  if (!path.startsWith("/dev/")) throw new Error(`bad format for device path: ${text}`);
  const weight = /^\d{1,4}$/.test(text.slice(colon + 1)) ? Number(text.slice(colon + 1)) : Number.NaN;
  if (!(weight === 0 || (weight >= 10 && weight <= 1000))) throw new Error(`invalid weight for device: ${text}`);
  return { Path: path, Weight: weight };
}

function throttle(text: string, format: string, parse: (rate: string) => number): ThrottlePath {
  const colon = text.indexOf(":");
  if (colon <= 0) throw new Error(`bad format: ${text}`);
  const path = text.slice(0, colon);
  if (!path.startsWith("/dev/")) throw new Error(`bad format for device path: ${text}`);
  try {
    return { Path: path, Rate: parse(text.slice(colon + 1)) };
  } catch {
    throw new Error(`invalid rate for device: ${text}. The correct format is <device-path>:<number>${format}`);
  }
}

const LIMITS = new Set(
  "core cpu data fsize locks memlock msgqueue nice nofile nproc rss rtprio rttime sigpending stack".split(" "),
);

/** `TYPE=SOFT[:HARD]`; -1 is unlimited. */
export function parseUlimit(text: string): Ulimit {
  const equals = text.indexOf("=");
  if (equals < 0) throw new Error(`invalid ulimit argument: ${text}`);
  const name = text.slice(0, equals);
  const values = text.slice(equals + 1).split(":");
  if (!LIMITS.has(name)) throw new Error(`invalid ulimit type: ${name}`);
  if (values.length > 2) {
    throw new Error(
      `too many limit value arguments - ${text.slice(equals + 1)}, can only have up to two, \`soft[:hard]\``,
    );
  }
  const [soft, hard] = values.map((value) => parseInteger(value));
  const upper = hard ?? soft!;
  if (upper !== -1 && (soft === -1 || soft! > upper)) {
    throw new Error(`ulimit soft limit must be less than or equal to hard limit: ${soft} > ${upper}`);
  }
  return { Name: name, Soft: soft!, Hard: upper };
}
