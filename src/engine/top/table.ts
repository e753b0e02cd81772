import { readText } from "../../linux/file.ts";
import { psColumns } from "./format.ts";
import { readProcess } from "./process.ts";

/** Processes that are read before others get their turn. */
const TURN = 32;

/** ps(1)'s table of the processes with these host pids, read from /proc; no ps need be there. Invalid for bad arguments. */
export async function processTable(
  pids: readonly number[],
  args = "-ef",
): Promise<{ Titles: string[]; Processes: string[][] }> {
  const columns = psColumns(args);
  const machine = {
    now: Date.now() / 1000,
    uptime: Number((readText("/proc/uptime") ?? "0").split(" ")[0]),
    users: names("/etc/passwd"),
    groups: names("/etc/group"),
  };
  const Processes: string[][] = [];
  for (const [i, pid] of [...pids].sort((a, b) => a - b).entries()) {
    if (i % TURN === TURN - 1) await new Promise(setImmediate);
    const process = readProcess(pid);
    if (process) Processes.push(columns.map((column) => column.cell(process, machine)));
  }
  return { Titles: columns.map(({ title }) => title), Processes };
}

/** Of passwd(5) or group(5). */
function names(path: string): Map<number, string> {
  const found = new Map<number, string>();
  for (const line of (readText(path) ?? "").split("\n")) {
    const [name = "", , id = ""] = line.split(":");
    if (/^\d+$/.test(id) && !found.has(Number(id))) found.set(Number(id), name);
  }
  return found;
}
