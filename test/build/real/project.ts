import { cpSync, mkdirSync, writeFileSync } from "node:fs";
import { join } from "node:path";
import { C_SOURCES } from "./c-sources.ts";

export const PROJECTS = ["c", "node", "python"] as const;
export type Project = (typeof PROJECTS)[number];

/** Puts a project's context into `directory`, which is made. */
export function writeProject(name: Project, directory: string): void {
  cpSync(join(import.meta.dir, name), directory, { recursive: true });
  if (name !== "c") return;
  const src = join(directory, "src");
  mkdirSync(src);
  for (const [file, text] of Object.entries(C_SOURCES)) writeFileSync(join(src, file), text);
}
