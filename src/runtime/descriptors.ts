import * as k from "../linux/constants.ts";
import type { Operand } from "../program/ir.ts";
import type { Builder } from "./builder.ts";

/** What was opened on the host keeps a number from here on until it is attached in the container. */
const FIRST_NUMBER = 400;

const numbers = new WeakMap<Builder, number>();

/** The numbers begin at `first`: what is below is the launcher's. */
export function startNumbers(p: Builder, first: number): void {
  numbers.set(p, Math.max(first, FIRST_NUMBER));
}

/** A descriptor number that stays the same from here to the container. */
export function takeNumber(p: Builder): number {
  const next = numbers.get(p) ?? FIRST_NUMBER;
  numbers.set(p, next + 1);
  return next;
}

/** Attaches the detached mount that has this number to an open place. */
export function attachNumber(p: Builder, why: string, number: number, place: Operand): void {
  const flags = k.MOVE_MOUNT_F_EMPTY_PATH | k.MOVE_MOUNT_T_EMPTY_PATH;
  p.call(why, "move_mount", [number, p.text(""), place, p.text(""), flags]);
}
