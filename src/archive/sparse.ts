import { sys } from "../linux/call.ts";
import { writeAll } from "../linux/file.ts";

/** Blocks of zeros of this size are not written: what was sparse stays so. */
const HOLE = 4096;
const SEEK_CUR = 1;

/**
 * Writes a piece of a new file at its offset, blocks of zeros as holes. Whether it ends in one: then the file is not yet as
 * long as it has to be.
 */
export function writeSparse(fd: number, piece: Uint8Array): boolean {
  let hole = false;
  for (let at = 0; at < piece.length; ) {
    hole = isZero(piece, at);
    let end = at;
    do end = Math.min(end + HOLE, piece.length);
    while (end < piece.length && isZero(piece, end) === hole);
    if (hole) sys("lseek", `fd ${fd}`, fd, end - at, SEEK_CUR);
    else writeAll(fd, piece.subarray(at, end));
    at = end;
  }
  return hole;
}

/** The next block, as far as there are bytes. */
function isZero(bytes: Uint8Array, at: number): boolean {
  const end = Math.min(at + HOLE, bytes.length);
  for (let i = at; i < end; i++) if (bytes[i] !== 0) return false;
  return true;
}
