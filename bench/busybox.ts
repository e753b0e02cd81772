import { chmodSync, mkdirSync, readFileSync, symlinkSync, writeFileSync } from "node:fs";
import { join } from "node:path";
import type { TarHeader } from "../src/layers/tar-header.ts";
import { type TarMember, writeTar } from "../src/layers/tar-write.ts";
import { installed } from "./command.ts";

/** The image that every subject runs: a static busybox, four names for it, and the directories that are mounted on. */

export const IMAGE = "bench-busybox";
const NAMES = ["sh", "true", "sleep", "cat"];
const DIRECTORIES = ["bin", "dev", "etc", "proc", "root", "sys", "tmp"];
const FILES: Record<string, string> = {
  "etc/passwd": "root:x:0:0:root:/root:/bin/sh\n",
  "etc/group": "root:x:0:\n",
  "etc/hostname": "",
  "etc/hosts": "",
  "etc/resolv.conf": "",
};

function busybox(): Uint8Array {
  const binary = readFileSync(installed("busybox"));
  // A dynamic one (it names its loader) would not run in a root of its own.
  if (binary.includes("/ld-linux")) throw new Error("the busybox in PATH is not static (Debian: busybox-static)");
  return binary;
}

/** The image as a root file system's tar, for import. */
export async function rootTar(): Promise<Uint8Array> {
  const entry = (name: string, type: TarHeader["type"], mode: number, more: Partial<TarHeader> = {}): TarHeader => {
    return { name, type, mode, uid: 0, gid: 0, size: 0, mtime: 0n, ...more };
  };
  const file = (name: string, mode: number, body: Uint8Array): TarMember => {
    return { header: entry(name, "file", mode, { size: body.length }), body: [body] };
  };
  const members: TarMember[] = [
    ...DIRECTORIES.map((name) => ({ header: entry(`${name}/`, "directory", 0o755) })),
    file("bin/busybox", 0o755, busybox()),
    ...NAMES.map((name) => ({ header: entry(`bin/${name}`, "symlink", 0o777, { linkname: "busybox" }) })),
    ...Object.entries(FILES).map(([name, text]) => file(name, 0o644, Buffer.from(text))),
  ];
  const chunks: Uint8Array[] = [];
  for await (const chunk of writeTar(members)) chunks.push(chunk);
  return Buffer.concat(chunks);
}

/** The same as a directory, for those that take no image. */
export function rootDirectory(dir: string): void {
  for (const name of DIRECTORIES) mkdirSync(join(dir, name), { recursive: true });
  writeFileSync(join(dir, "bin/busybox"), busybox());
  chmodSync(join(dir, "bin/busybox"), 0o755);
  for (const name of NAMES) symlinkSync("busybox", join(dir, "bin", name));
  for (const [name, text] of Object.entries(FILES)) writeFileSync(join(dir, name), text);
}
