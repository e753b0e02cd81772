import type { Dockerfile } from "../../dockerfile/ast.ts";

/**
 * What reads and copies files for a build is a process of its own: long runs of system calls.
 *
 *     engine  --stdin: work, as JSON-->                this process
 *     engine  <--stdout: a tar, or a digest--          this process
 */
export type BuildWork = CopyWork | DigestWork | ParseWork;

/** A Dockerfile's text into its tree, as JSON: {@link ParseAnswer}. */
export interface ParseWork {
  kind: "parse";
  text: string;
}

export type ParseAnswer =
  | { file: Dockerfile }
  | { failed: { detail: string; line: number; column: number; hint?: string | undefined } };

/** A root as the process finds it: directories for one overlay, top first, or a single one; none is an empty root. */
export type Root = readonly string[];

export type CopyItem =
  | { kind: "files"; root: Root; paths: readonly string[]; owners: "kept" | "root" }
  | { kind: "file"; name: string /** base64 */; content: string; mode: number }
  | { kind: "download"; name: string; path: string /** Seconds. */; mtime: number; unpack: boolean };

export interface CopyWork {
  kind: "copy";
  items: readonly CopyItem[];
  base: Root;
  destination: string;
  /** WORKDIR: it is made, and that is all. */
  directoryOnly?: boolean;
  chown?: string | undefined;
  chmod?: string | undefined;
  parents: boolean;
  excludes: readonly string[];
  /** Archives among the files are unpacked. */
  unpack: boolean;
  /** Seconds since 1970: no member is younger. */
  epoch?: number | undefined;
  /** The step's own directory, on disk. */
  directory: string;
}

export interface DigestWork {
  kind: "digest";
  root: Root;
  paths: readonly string[];
  parents: boolean;
  excludes: readonly string[];
  owners: "kept" | "root";
}
