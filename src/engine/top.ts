import { execFile } from "node:child_process";
import { promisify } from "node:util";
import { invalid, messageOf, unavailable } from "../base/errors.ts";

const run = promisify(execFile);
const MAX_ARGS = 32;

/** ps(1)'s table of the processes with these host pids. `args` are the client's; they must make a PID column. */
export async function processTable(
  pids: readonly number[],
  args = "-ef",
): Promise<{ Titles: string[]; Processes: string[][] }> {
  const words = args.split(/\s+/).filter((word) => word !== "");
  if (words.length > MAX_ARGS || args.includes("\0")) throw invalid("too many arguments for ps");
  let text: string;
  try {
    ({ stdout: text } = await run("ps", words, { maxBuffer: 64 * 1024 * 1024, timeout: 10_000 }));
  } catch (error) {
    const code = (error as NodeJS.ErrnoException).code;
    if (code === "ENOENT") throw unavailable("ps is not installed");
    throw invalid(`error running ps: ${messageOf(error).slice(0, 500)}`, error);
  }
  const [head = "", ...lines] = text.split("\n");
  const titles = head.trim().split(/\s+/);
  const column = titles.indexOf("PID");
  if (column === -1) throw invalid("couldn't find PID field in ps output");
  const wanted = new Set(pids.map(String));
  const rows = lines.flatMap((line) => {
    const cells = line.trim().split(/\s+/);
    if (!wanted.has(cells[column] ?? "")) return [];
    // The last column is the command line, spaces and all.
    return [[...cells.slice(0, titles.length - 1), cells.slice(titles.length - 1).join(" ")]];
  });
  return { Titles: titles, Processes: rows };
}
