import { NATIVE_ABI } from "../linux/call.ts";
import type { Machine } from "./layout.ts";

/** What this machine runs. */
export const MACHINE: Machine = NATIVE_ABI === "aarch64" ? "aarch64" : "x86_64";
