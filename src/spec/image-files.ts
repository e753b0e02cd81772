/** A line of `GET /inro/images/{name}/files`: a layer (base first), then what its archive holds, in its order. */
export type ImageFilesLine =
  | { layer: number; diffId: string }
  | ImageFile
  /** Something below is gone: a name, or all that a directory had. */
  | { path: string; type: "whiteout" | "opaque" };

export interface ImageFile {
  /** From the root, without a slash in front; "" is the root. Bytes that are no UTF-8 show as U+FFFD. */
  path: string;
  type: "file" | "hardlink" | "symlink" | "char" | "block" | "directory" | "fifo";
  mode: number;
  uid: number;
  gid: number;
  /** Bytes. */
  size: number;
  /** Seconds since 1970. */
  mtime: number;
  link?: string;
  /** `major:minor` */
  device?: string;
  /** Values in base64. */
  xattrs?: Record<string, string>;
  /** sha256 of a file's content, where it was asked for. */
  digest?: string;
}
