import { sys, trySys } from "./call.ts";
import * as k from "./constants.ts";
import { addressOf } from "./ffi.ts";

/** A name in a directory, and what statx(2) says of it that changes when it does. */
export interface Scanned {
  /** Undefined: it is no UTF-8. */
  readonly name: string | undefined;
  /** Type and permission bits. */
  readonly mode: number;
  /** Bytes. */
  readonly size: number;
  /** Inode, size, mode, times of change and of modification: equal for what nobody has touched. Base64. */
  readonly stamp: string;
  /** Seconds since 1970 of the last change, of whatever kind. */
  readonly ctime: number;
}

/**
 * Outside of the arena of ffi.ts, whose every use has its price: directories have thousands of names. One piece, since
 * small buffers are moved when somebody asks for their memory.
 */
const memory = Buffer.alloc(1 << 17);
const memoryAt = addressOf(memory);
const ENTRIES = 0;
const PATH = 1 << 16;
const STAT = PATH + 4096;
const STAMP = STAT + 4096;
const entries = memory.subarray(ENTRIES, PATH);
const path = memory.subarray(PATH, STAT);
const stat = memory.subarray(STAT, STAMP);
const digest = memory.subarray(STAMP, STAMP + 48);
const entriesAt = memoryAt + ENTRIES;
const pathAt = memoryAt + PATH;
const statAt = memoryAt + STAT;
/** STATX_BASIC_STATS. */
const BASIC = 0x7ff;
const ENOENT = -2;

/** All names in an open directory, without `.` and `..`, in no order. One that goes meanwhile is left out. */
export function scan(fd: number): Scanned[] {
  const found: Scanned[] = [];
  for (;;) {
    const n = sys("getdents64", `fd ${fd}`, fd, entriesAt, entries.length);
    if (n === 0) return found;
    for (let at = 0; at < n; ) {
      const length = entries.readUInt16LE(at + 16);
      const begin = at + 19;
      const end = entries.indexOf(0, begin);
      at += length;
      const size = end - begin;
      if (entries[begin] === 46 && (size === 1 || (size === 2 && entries[begin + 1] === 46))) continue;
      entries.copy(path, 0, begin, end + 1);
      const result = trySys("statx", fd, pathAt, k.AT_SYMLINK_NOFOLLOW, BASIC, statAt);
      if (result === ENOENT) continue;
      if (result < 0)
        sys("statx", entries.toString("utf8", begin, end), fd, pathAt, k.AT_SYMLINK_NOFOLLOW, BASIC, statAt);
      const name = entries.toString("utf8", begin, end);
      // Mode, inode, size; then the two times, of 12 bytes each.
      stat.copy(digest, 0, 28, 48);
      stat.copy(digest, 20, 96, 108);
      stat.copy(digest, 32, 112, 124);
      found.push({
        name: name.includes("\ufffd") ? undefined : name,
        mode: stat.readUInt16LE(28),
        size: stat.readUInt32LE(40) + stat.readUInt32LE(44) * 2 ** 32,
        stamp: digest.toString("base64", 0, 44),
        ctime: stat.readUInt32LE(96) + stat.readInt32LE(100) * 2 ** 32 + stat.readUInt32LE(104) / 1e9,
      });
    }
  }
}
