import { sys } from "../linux/call.ts";
import * as k from "../linux/constants.ts";
import { close, fsync, openat } from "../linux/file.ts";

/** syncfs(2) of the file system that holds `directory`: one call for any number of files. */
export function syncDirectoryFs(directory: string): void {
  const fd = openat(k.AT_FDCWD, directory, k.O_RDONLY | k.O_DIRECTORY);
  try {
    sys("syncfs", directory, fd);
  } finally {
    close(fd);
  }
}

/** Makes the names in `directory` durable. */
export function syncDirectory(directory: string): void {
  const fd = openat(k.AT_FDCWD, directory, k.O_RDONLY | k.O_DIRECTORY);
  try {
    fsync(fd);
  } finally {
    close(fd);
  }
}
