/** One member of a tar as its writer wants it, allowed or not (POSIX pax, "ustar Interchange Format"). */
export interface Member {
  name: string;
  /** `0` file, `1` hard link, `2` symlink, `3` character device, `5` directory, `x` pax header. */
  type?: string;
  link?: string;
  body?: string | Uint8Array;
  mode?: number;
  /** What the header says, where that is not the body's length. */
  size?: number;
  badChecksum?: boolean;
}

export function rawTar(members: readonly Member[], options: { end?: boolean } = {}): Buffer {
  const blocks: Buffer[] = [];
  for (const { name, type = "0", link = "", body = "", mode = 0o644, size, badChecksum } of members) {
    const data = Buffer.from(body as string);
    const header = Buffer.alloc(512);
    const octal = (value: number, at: number, length: number) =>
      header.write(`${value.toString(8).padStart(length - 1, "0")}\0`, at, "latin1");
    header.write(name, 0, 100);
    octal(mode, 100, 8);
    octal(0, 108, 8);
    octal(0, 116, 8);
    octal(size ?? data.length, 124, 12);
    octal(0, 136, 12);
    header.fill(" ", 148, 156);
    header.write(type, 156);
    header.write(link, 157, 100);
    header.write("ustar\x0000", 257, "latin1");
    const sum = header.reduce((total, byte) => total + byte, 0) + (badChecksum ? 1 : 0);
    header.write(`${sum.toString(8).padStart(6, "0")}\0 `, 148, "latin1");
    blocks.push(header, data, Buffer.alloc((512 - (data.length % 512)) % 512));
  }
  if (options.end !== false) blocks.push(Buffer.alloc(1024));
  return Buffer.concat(blocks);
}
