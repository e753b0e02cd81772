import { readFileSync } from "node:fs";
import { codeOf } from "../base/errors.ts";

/** layer.json. */
export interface LayerRecord {
  diffId: string;
  /** Bytes of the layer's files. */
  size: number;
  /** Absent: unpacked directories. */
  form?: "erofs";
  /** Of the boot in which it was made, while it is not synced. */
  boot?: string;
}

/** Undefined where there is none, or what a power cut left of one. */
export function readLayerRecord(path: string): LayerRecord | undefined {
  try {
    return JSON.parse(readFileSync(path, "utf8")) as LayerRecord;
  } catch (error) {
    // What a power cut leaves of it may not be JSON.
    if (codeOf(error) === "ENOENT" || error instanceof SyntaxError) return undefined;
    throw error;
  }
}
