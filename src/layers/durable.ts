import { readFileSync, renameSync, writeFileSync } from "node:fs";
import { sys } from "../linux/call.ts";
import * as k from "../linux/constants.ts";
import { close, openat } from "../linux/file.ts";

/** syncfs(2) of the file system that holds `directory`: one call for any number of files, but it may take seconds. */
export function syncFileSystem(directory: string): void {
  const fd = openat(k.AT_FDCWD, directory, k.O_RDONLY | k.O_DIRECTORY);
  try {
    sys("syncfs", directory, fd);
  } finally {
    close(fd);
  }
}

/** Replaces a small file so that a crash leaves the old or the new one. */
export function replaceFile(path: string, text: string): void {
  writeFileSync(`${path}.new`, text, { flush: true });
  renameSync(`${path}.new`, path);
}

/** Another one after every boot: what was not synced under an older one may be lost (random(4), "boot_id"). */
export const bootId = () => readFileSync("/proc/sys/kernel/random/boot_id", "utf8").trim();
