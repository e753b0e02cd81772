import { isAbsolute, resolve } from "node:path";
import { keepEnd } from "../../archive/path.ts";
import { ExitError } from "../command.ts";

/** One side of a copy: a file here, a file of a container, or a tar on a standard stream. */
export type Place = { kind: "here"; path: string } | { kind: "container"; id: string; path: string } | { kind: "tar" };

/** `CONTAINER:PATH`, `-`, or a path; one with a colon is written with `/` or `.` first. */
export function parsePlace(text: string): Place {
  if (text === "-") return { kind: "tar" };
  const colon = text.indexOf(":");
  if (isAbsolute(text) || colon < 0 || text.startsWith(".")) return { kind: "here", path: localPath(text) };
  return { kind: "container", id: text.slice(0, colon), path: text.slice(colon + 1) };
}

/** Absolute and clean, its end kept. */
export function localPath(path: string): string {
  return keepEnd(resolve(path), path);
}

export type Direction =
  | { from: Place & { kind: "container" }; to: Exclude<Place, { kind: "container" }> }
  | { from: Exclude<Place, { kind: "container" }>; to: Place & { kind: "container" } };

/** Which way a copy goes; the words are docker's. */
export function direction(source: string, destination: string): Direction {
  if (source === "") throw new ExitError(1, "source can not be empty");
  if (destination === "") throw new ExitError(1, "destination can not be empty");
  const [from, to] = [parsePlace(source), parsePlace(destination)];
  if (from.kind === "container" && to.kind === "container") {
    throw new ExitError(1, "copying between containers is not supported");
  }
  if (from.kind === "container" && to.kind !== "container") return { from, to };
  if (to.kind === "container" && from.kind !== "container") return { from, to };
  throw new ExitError(1, "must specify at least one container source");
}
