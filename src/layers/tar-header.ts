import * as k from "../linux/constants.ts";

/** The metadata of one tar member: POSIX ustar and pax (IEEE 1003.1 pax), GNU extensions. Shared by reader and writer. */

export type TarType = "file" | "hardlink" | "symlink" | "char" | "block" | "directory" | "fifo";

export interface TarHeader {
  /** As the archive has it, not cleaned: hostile when read. Bytes where it is not UTF-8. */
  name: string | Uint8Array;
  type: TarType;
  /** Permission bits with setuid, setgid and sticky: 0..07777. */
  mode: number;
  uid: number;
  gid: number;
  /** Bytes of the body; 0 for all but files. */
  size: number;
  /** Nanoseconds since the epoch. */
  mtime: bigint;
  /** Target of a hard link or symlink. */
  linkname?: string | Uint8Array;
  devMajor?: number;
  devMinor?: number;
  /** From `SCHILY.xattr.*` records. */
  xattrs?: ReadonlyMap<string, Uint8Array>;
}

export const BLOCK = 512;

/** Typeflags by kind (ustar; "7" is a contiguous file, a file to everyone today). */
export const TYPE_OF_FLAG: Readonly<Record<string, TarType>> = {
  "\0": "file",
  "0": "file",
  "7": "file",
  "1": "hardlink",
  "2": "symlink",
  "3": "char",
  "4": "block",
  "5": "directory",
  "6": "fifo",
};

export const FLAG_OF_TYPE: Readonly<Record<TarType, string>> = {
  file: "0",
  hardlink: "1",
  symlink: "2",
  char: "3",
  block: "4",
  directory: "5",
  fifo: "6",
};

/** The kind of a file by its mode (inode(7)); undefined for a socket, which an archive has none of. */
export const tarTypeOf = (mode: number): TarType | undefined => TYPE_OF_FORMAT.get(mode & k.S_IFMT);

const TYPE_OF_FORMAT = new Map<number, TarType>([
  [k.S_IFREG, "file"],
  [k.S_IFLNK, "symlink"],
  [k.S_IFCHR, "char"],
  [k.S_IFBLK, "block"],
  [k.S_IFDIR, "directory"],
  [k.S_IFIFO, "fifo"],
]);

/** A time in nanoseconds, down to the whole second. */
export const wholeSeconds = (time: bigint): bigint =>
  time - (((time % 1_000_000_000n) + 1_000_000_000n) % 1_000_000_000n);

/** Bytes of padding after a body. */
export const padding = (size: number) => (BLOCK - (size % BLOCK)) % BLOCK;

/** Where the fields of a header block are: offset and length (ustar; `prefix` is 131 long where star signed the block). */
export const FIELD = {
  name: [0, 100],
  mode: [100, 8],
  uid: [108, 8],
  gid: [116, 8],
  size: [124, 12],
  mtime: [136, 12],
  checksum: [148, 8],
  typeflag: [156, 1],
  linkname: [157, 100],
  magic: [257, 8],
  devMajor: [329, 8],
  devMinor: [337, 8],
  prefix: [345, 155],
} as const;

/** Sum of the block's bytes with the checksum field as spaces. */
export function checksum(block: Uint8Array): number {
  let sum = 8 * 32;
  for (let i = 0; i < 148; i++) sum += block[i]!;
  for (let i = 156; i < BLOCK; i++) sum += block[i]!;
  return sum;
}
