import { posix } from "node:path";
import * as k from "../linux/constants.ts";
import { type CallOptions, type Data, Offset, type Operand, Program, Slot } from "../program/ir.ts";
import { isBelow } from "./tree.ts";

/** The spawned process finds its descriptors here (launch.ts puts them there). Everything from FREE on is the program's. */
export const FD = {
  stdin: 0,
  stdout: 1,
  stderr: 2,
  report: 3,
  exit: 4,
  status: 5,
  console: 6,
  consoleFar: 7,
  keepStdin: 8,
  keepStdout: 9,
  keepStderr: 10,
  exitFar: 11,
  target: 12,
  free: 13,
  trace: 14,
  userns: 15,
  network: 16,
  /** From here on: what the keeper holds for the engine, and nobody else uses. At most {@link MAX_KEPT}. */
  kept: 17,
  shm: 33,
} as const;

/** As many as are between those two. */
export const MAX_KEPT = 16;

/** Rows that many parts of a launch share. */
export class Builder extends Program {
  /** O_PATH of the container's root; set by rootfs.ts. */
  root: Slot | undefined;
  /** O_PATH of the host's /proc, where rows write to it from inside; set by labels.ts. */
  proc: Slot | undefined;
  readonly #hows = new Map<string, Data>();
  readonly #made = new Set<string>();

  constructor() {
    super(FD.report);
  }

  /** struct open_how. */
  how(flags: number, resolve: number, mode = 0): Data {
    const key = `${flags} ${resolve} ${mode}`;
    let data = this.#hows.get(key);
    if (!data) {
      const bytes = new BigUint64Array([BigInt(flags | k.O_CLOEXEC), BigInt(mode), BigInt(resolve)]);
      data = this.bytes(new Uint8Array(bytes.buffer), "how");
      this.#hows.set(key, data);
    }
    return data;
  }

  /**
   * Opens a path of the container. Every one is hostile: symlinks resolve inside the root, and magic links of a /proc
   * that is already mounted lead nowhere (CVE-2019-19921, CVE-2023-27561: races with symlinks in the mount target).
   */
  inRoot(why: string, path: string, flags: number = k.O_PATH, options: CallOptions = {}): Slot {
    const into = this.temporary(posix.basename(path) || "root");
    const how = this.how(flags, k.RESOLVE_IN_ROOT | k.RESOLVE_NO_MAGICLINKS);
    this.call(why, "openat2", [this.root!, this.text(path), how, 24], { ...options, into });
    return into;
  }

  /**
   * Opens where something will be mounted. Its symlinks were resolved when the launch was planned, so one that is there
   * now has come since, and is refused (CVE-2021-30465: a volume whose other user turns a directory into a symlink).
   */
  mountPoint(why: string, path: string, flags: number = k.O_PATH, options: CallOptions = {}): Slot {
    const into = this.temporary(posix.basename(path) || "root");
    const how = this.how(flags, k.RESOLVE_IN_ROOT | k.RESOLVE_NO_SYMLINKS);
    this.call(why, "openat2", [this.root!, this.text(path), how, 24], { ...options, into });
    return into;
  }

  /** Something was mounted on `path`: what was made below it before is out of sight. */
  covered(path: string): void {
    for (const made of this.#made) if (isBelow(made, path)) this.#made.delete(made);
  }

  /**
   * `mkdir -p` in the container. `strict`: the path has no symlink, and one that came since is refused, so nothing is
   * made where it leads (CVE-2024-45310).
   */
  makeDirectory(why: string, path: string, { strict = false }: { strict?: boolean } = {}): void {
    const mode = 0o755;
    let prefix = "";
    for (const name of posix.normalize(path).split("/").filter(Boolean)) {
      const parent = prefix || "/";
      prefix = `${prefix}/${name}`;
      if (this.#made.has(prefix)) continue;
      this.#made.add(prefix);
      const directory = parent === "/" ? this.root! : this.#directory(why, parent, strict);
      this.call(why, "mkdirat", [directory, this.text(name), mode], { ignore: ["EEXIST", "EROFS"] });
    }
  }

  #directory(why: string, path: string, strict: boolean): Slot {
    const flags = k.O_PATH | k.O_DIRECTORY;
    return strict ? this.mountPoint(why, path, flags) : this.inRoot(why, path, flags);
  }

  /** An empty file in the container to mount on, with its parents. */
  makeFile(why: string, path: string, { strict = false }: { strict?: boolean } = {}): void {
    const { dir, base } = posix.parse(posix.normalize(path));
    this.makeDirectory(why, dir, { strict });
    const directory = dir === "/" ? this.root! : this.#directory(why, dir, strict);
    this.call(why, "mknodat", [directory, this.text(base), k.S_IFREG | 0o644, 0], { ignore: ["EEXIST", "EROFS"] });
  }

  /** A new file system, mounted nowhere yet: its O_PATH descriptor. */
  newMount(
    why: string,
    type: string,
    source: string | undefined,
    data: readonly (readonly [key: string, value: string | undefined])[],
    attributes: number,
    options: CallOptions = {},
  ): Slot {
    const fs = this.temporary(`${type} context`);
    this.call(why, "fsopen", [this.text(type), k.FSOPEN_CLOEXEC], { ...options, into: fs });
    if (source) this.setString(why, fs, "source", source);
    for (const [key, value] of data) {
      if (value === undefined) this.call(why, "fsconfig", [fs, k.FSCONFIG_SET_FLAG, this.text(key), 0, 0]);
      else this.setString(why, fs, key, value);
    }
    this.call(why, "fsconfig", [fs, k.FSCONFIG_CMD_CREATE, 0, 0, 0], options);
    const mount = this.temporary(type);
    this.call(why, "fsmount", [fs, k.FSMOUNT_CLOEXEC, attributes], { ...options, into: mount });
    return mount;
  }

  setString(why: string, fs: Slot, key: string, value: string): void {
    this.call(why, "fsconfig", [fs, k.FSCONFIG_SET_STRING, this.text(key), this.text(value), 0]);
  }

  /** Attaches a detached mount to an open place. */
  attach(why: string, mount: Operand, place: Operand, options: CallOptions = {}): void {
    this.call(
      why,
      "move_mount",
      [mount, this.text(""), place, this.text(""), k.MOVE_MOUNT_F_EMPTY_PATH | k.MOVE_MOUNT_T_EMPTY_PATH],
      options,
    );
  }

  /** A detached copy of what is at `path` below `directory`. */
  copyMount(why: string, directory: Operand, path: string, flags: number, options: CallOptions = {}): Slot {
    const into = this.temporary(posix.basename(path) || "tree");
    const empty = path === "" ? k.AT_EMPTY_PATH : 0;
    this.call(why, "open_tree", [directory, this.text(path), k.OPEN_TREE_CLONE | k.OPEN_TREE_CLOEXEC | flags | empty], {
      ...options,
      into,
    });
    return into;
  }

  /** mount_setattr(2) on an open mount. */
  setAttributes(
    why: string,
    mount: Operand,
    change: { set?: number; clear?: number; propagation?: number; recursive?: boolean; userns?: Slot | number },
    options: CallOptions = {},
  ): void {
    const attr = new BigUint64Array([
      BigInt((change.set ?? 0) | (change.userns !== undefined ? k.MOUNT_ATTR_IDMAP : 0)),
      BigInt(change.clear ?? 0),
      BigInt(change.propagation ?? 0),
      BigInt(typeof change.userns === "number" ? change.userns : 0),
    ]);
    const data = this.bytes(new Uint8Array(attr.buffer), "mount_attr");
    if (change.userns instanceof Slot) this.store(why, change.userns, new Offset(data, 24));
    const flags = k.AT_EMPTY_PATH | (change.recursive ? k.AT_RECURSIVE : 0);
    this.call(why, "mount_setattr", [mount, this.text(""), flags, data, 32], options);
  }

  /** Writes text to a file named by descriptor and path, whole or not at all. */
  writeFile(why: string, directory: Operand, path: string, content: string, options: CallOptions = {}): void {
    const fd = this.temporary(posix.basename(path));
    this.call(why, "openat", [directory, this.text(path), k.O_WRONLY | k.O_CLOEXEC, 0], { ...options, into: fd });
    const bytes = Buffer.from(content);
    this.call(why, "write", [fd, this.text(content), bytes.length], { ...options, expect: bytes.length });
    this.call(why, "close", [fd], options.ignore ? { ignore: "all" } : {});
  }
}
