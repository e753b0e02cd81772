import type { ImageFile } from "../../spec/image-files.ts";

export interface FileDifference {
  path: string;
  change: "added" | "removed" | "changed";
  /** Of what is changed: property, then as it was and as it is; content is told by its digest. */
  properties?: Record<string, [before: string, after: string]>;
}

/** Differences of two trees, by path. */
export function compareFiles(
  before: ReadonlyMap<string, ImageFile>,
  after: ReadonlyMap<string, ImageFile>,
): FileDifference[] {
  const paths = [...new Set([...before.keys(), ...after.keys()])].toSorted();
  return paths.flatMap((path): FileDifference[] => {
    const [old, now] = [before.get(path), after.get(path)];
    if (!old) return [{ path, change: "added" }];
    if (!now) return [{ path, change: "removed" }];
    const properties = compareProperties(old, now);
    return Object.keys(properties).length === 0 ? [] : [{ path, change: "changed", properties }];
  });
}

const PROPERTIES: Record<string, (file: ImageFile) => string> = {
  type: ({ type }) => type,
  mode: ({ mode }) => mode.toString(8).padStart(4, "0"),
  owner: ({ uid, gid }) => `${uid}:${gid}`,
  size: ({ size }) => String(size),
  content: ({ digest = "" }) => digest,
  target: ({ link = "", type }) => (type === "symlink" ? link : ""),
  device: ({ device = "" }) => device,
  mtime: ({ mtime }) => new Date(mtime * 1000).toISOString().replace(".000Z", "Z"),
  xattrs: ({ xattrs = {} }) =>
    Object.entries(xattrs)
      .map(([name, value]) => `${name}=${value}`)
      .join(" "),
};

function compareProperties(before: ImageFile, after: ImageFile): Record<string, [string, string]> {
  return Object.fromEntries(
    Object.entries(PROPERTIES).flatMap(([name, of]) => {
      const pair: [string, string] = [of(before), of(after)];
      return pair[0] === pair[1] ? [] : [[name, pair] as const];
    }),
  );
}

/** Differences of two JSON values, by the way to them (`Config.Env`). */
export function compareValues(
  before: unknown,
  after: unknown,
  at = "",
): [path: string, before: unknown, after: unknown][] {
  if (JSON.stringify(before) === JSON.stringify(after)) return [];
  const objects = [before, after].every((one) => typeof one === "object" && one !== null && !Array.isArray(one));
  if (!objects) return [[at, before, after]];
  const [old, now] = [before as Record<string, unknown>, after as Record<string, unknown>];
  const keys = [...new Set([...Object.keys(old), ...Object.keys(now)])].toSorted();
  return keys.flatMap((key) => compareValues(old[key], now[key], at === "" ? key : `${at}.${key}`));
}
