import { main } from "../cli.ts";
import { RESIDENT } from "./door.ts";

/** A call that found no resident: it is done here, and those after it will find one. Exit status as {@link main}'s. */
export async function mainAndBegin(argv: string[]): Promise<number> {
  const code = await main(argv);
  if (process.geteuid?.() === 0 && process.env.INRO_RESIDENT !== "0") beginResident();
  return code;
}

/** It outlives the call, and keeps nothing of it. */
function beginResident(): void {
  const { PATH = "" } = process.env;
  Bun.spawn([process.execPath], {
    argv0: RESIDENT,
    cwd: "/",
    env: { PATH },
    stdio: ["ignore", "ignore", "ignore"],
    detached: true,
  }).unref();
}
