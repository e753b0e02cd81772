import { createHash } from "node:crypto";
import { posix } from "node:path";
import { readXattrs } from "../../../layers/attributes.ts";
import { isDirectory } from "../../../layers/merged.ts";
import * as k from "../../../linux/constants.ts";
import { close, openHeld, read, readlinkat, type Stat } from "../../../linux/file.ts";
import { OpenRoot } from "./roots.ts";
import { excludesFile, rulesOf, select, walk } from "./select.ts";
import type { DigestWork } from "./work.ts";

const CHUNK = 1 << 20;

/**
 * sha256 over all that a COPY of these files would take: names, types, modes, owners, xattrs, targets and contents, but
 * which are one file, but no times, and not where they are. Files that are missing are as in {@link select}.
 */
export function digestOfFiles({ root: paths, paths: sources, parents, excludes, owners }: DigestWork): string {
  const root = new OpenRoot(paths);
  const rules = rulesOf(excludes);
  const hash = createHash("sha256");
  const buffer = Buffer.allocUnsafe(CHUNK);
  /** Of files with several names, by inode: the first that came. */
  const linked = new Map<string, string>();
  const add = (name: string, path: string, stat: Stat) => {
    const fd = root.open(path, k.O_PATH);
    try {
      const { mode, uid, gid, size, rdevMajor, rdevMinor } = stat;
      const format = mode & k.S_IFMT;
      const link = format === k.S_IFLNK ? readlinkat(fd, "").toString("latin1") : "";
      const xattrs =
        format === k.S_IFLNK ? [] : [...readXattrs(fd)].map(([key, value]) => [key, value.toString("latin1")]);
      const owner = owners === "kept" ? [uid, gid] : [];
      const device = format === k.S_IFCHR || format === k.S_IFBLK ? [rdevMajor, rdevMinor] : [];
      const length = format === k.S_IFREG ? size : 0;
      const inode = `${stat.devMajor}:${stat.devMinor}:${stat.ino}`;
      const first = format === k.S_IFREG && stat.nlink > 1 ? linked.get(inode) : undefined;
      const same = first === undefined ? [] : [first];
      hash.update(`${JSON.stringify([name, mode, owner, link, device, xattrs, length, ...same])}\n`);
      if (format !== k.S_IFREG || first !== undefined) return;
      if (stat.nlink > 1) linked.set(inode, name);
      if (size === 0) return;
      const open = openHeld(fd);
      try {
        for (let n = read(open, buffer); n > 0; n = read(open, buffer)) hash.update(buffer.subarray(0, n));
      } finally {
        close(open);
      }
    } finally {
      close(fd);
    }
  };
  try {
    for (const { named, path, stat, parents: above } of select(root, sources, parents)) {
      const names = [...above.map(({ name }) => name), posix.basename(named)];
      for (const parent of above) {
        const found = root.find(parent.path)!;
        add(parent.name, found.path, found.stat);
      }
      if (!isDirectory(stat)) {
        if (rules.empty || !excludesFile(rules, named)) add(names.join("/"), path, stat);
        continue;
      }
      // The top of a context is the engine's own directory.
      if (path !== "/" || owners === "kept") add(parents ? names.join("/") : ".", path, stat);
      for (const file of walk(root, path, rules)) add(`./${file.inside}`, file.path, file.stat);
    }
    return `sha256:${hash.digest("hex")}`;
  } finally {
    root.close();
  }
}
