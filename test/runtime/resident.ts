import { existsSync, writeFileSync } from "node:fs";
import { join } from "node:path";
import { compile } from "../../build/compile.ts";
import { front } from "../../src/program/front.ts";
import { MACHINE } from "../../src/program/machine.ts";
import { ABSENT, RESIDENT } from "../../src/runtime/resident/door.ts";
import { eventually } from "./bundle.ts";

/** This checkout as it is installed: the binary, and the runtime's front beside it, with a socket of its own. */
export interface Installed {
  binary: string;
  front: string;
  socket: string;
}

/** `compiled`: the binary is in `directory` already; else it is made. */
export async function install(
  directory: string,
  compiled = false,
  socket = join(directory, "resident/sock"),
): Promise<Installed> {
  const installed = { binary: join(directory, "inro"), front: join(directory, "inro-runtime"), socket };
  if (!compiled) await compile(installed.binary);
  const names = { socket: installed.socket, absent: ABSENT, refused: "inro-runtime" };
  writeFileSync(installed.front, front(MACHINE, names), { mode: 0o755 });
  return installed;
}

/** Starts the resident, and waits until it listens. The caller ends it. */
export async function startResident({ binary, socket }: Installed): Promise<Bun.Subprocess> {
  const child = Bun.spawn([binary, socket], { argv0: RESIDENT, stdio: ["ignore", "ignore", "inherit"], cwd: "/" });
  await eventually("the resident listens", () => child.exitCode !== null || existsSync(socket));
  if (child.exitCode !== null) throw new Error(`the resident left with status ${child.exitCode}`);
  return child;
}
