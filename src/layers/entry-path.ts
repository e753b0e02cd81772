/**
 * Names of tar members as paths below a layer's root. Inside layers/, a path is a list of components, each a "binary"
 * string (one character a byte, Buffer's latin1): names are bytes to the kernel, and this keeps them so as map keys.
 */

export type Component = string;

/** What system calls take. */
export function toName(component: Component): string | Buffer {
  return /^[\x00-\x7f]*$/.test(component) ? component : Buffer.from(component, "latin1");
}

/** For messages and the API. */
export function toText(component: Component): string {
  return Buffer.from(component, "latin1").toString();
}

/** Clean components; [] is the root itself, an absolute name begins there. Throws an Error for one that leaves it. */
export function entryPath(name: Uint8Array): Component[] {
  const path = cleanPath(name);
  if (path === undefined) throw new Error("its name leads out of the layer");
  return path;
}

/** A hard link's target: archives name it from the root, with or without a slash in front. */
export function linkPath(name: Uint8Array): Component[] {
  const path = cleanPath(name);
  if (path === undefined) throw new Error(`its target ${JSON.stringify(String(name))} leads out of the layer`);
  if (path.length === 0) throw new Error("its target is the layer's root");
  return path;
}

function cleanPath(name: Uint8Array): Component[] | undefined {
  const path: Component[] = [];
  for (const part of Buffer.from(name).toString("latin1").split("/")) {
    if (part === "" || part === ".") continue;
    if (part !== "..") path.push(part);
    else if (path.pop() === undefined) return undefined;
  }
  return path;
}

/** What an entry's name stands for (image-spec layer.md, "Whiteouts"). */
export type Meaning =
  | { kind: "entry" }
  | { kind: "whiteout"; name: Component }
  | { kind: "opaque" }
  /** AUFS's own bookkeeping, which old Docker layers have. */
  | { kind: "skip" };

/** Throws an Error for a marker that names nothing, or that is used as a directory. */
export function meaningOf(path: readonly Component[]): Meaning {
  for (const [i, part] of path.entries()) {
    if (!part.startsWith(".wh.")) continue;
    const last = i === path.length - 1;
    if (part === ".wh..wh..opq" && last) return { kind: "opaque" };
    if (part.startsWith(".wh..wh.")) return { kind: "skip" };
    const name = part.slice(4);
    if (name === "" || name === "." || name === "..") throw new Error("a whiteout that names nothing");
    if (!last) throw new Error("a whiteout is used as a directory");
    return { kind: "whiteout", name };
  }
  return { kind: "entry" };
}
