import { invalid } from "../../base/errors.ts";
import { openCgroup } from "./cgroup.ts";
import { StateDirectory } from "./state.ts";

/** The container's processes: their host numbers as JSON, or the lines of ps(1) that are theirs. */
export async function ps(
  root: string,
  id: string,
  format: "table" | "json",
  options: readonly string[],
): Promise<string> {
  const state = new StateDirectory(root, id).read();
  const pids = state.cgroup
    ? (openCgroup(state.cgroup)?.pids() ?? [])
    : (await import("./rootless-cgroup.ts")).namespaceProcesses("list the processes of", state);
  if (format === "json") return `${JSON.stringify(pids)}\n`;
  const { stdout, stderr, success } = Bun.spawnSync(["ps", ...(options.length > 0 ? options : ["-ef"])]);
  if (!success) throw invalid(`ps: ${stderr.toString().trim()}`);
  const [header = "", ...lines] = stdout.toString().trimEnd().split("\n");
  const column = header.trim().split(/\s+/).indexOf("PID");
  if (column < 0) throw invalid("ps: its output has no column PID");
  const theirs = lines.filter((line) => pids.includes(Number(line.trim().split(/\s+/)[column])));
  return `${[header, ...theirs].join("\n")}\n`;
}
