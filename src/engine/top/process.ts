import { readText } from "../../linux/file.ts";

/** A process as /proc shows it (proc_pid_stat(5)); times in clock ticks, sizes in bytes. */
export interface Process {
  pid: number;
  command: string;
  state: string;
  parent: number;
  group: number;
  session: number;
  terminal: number;
  foregroundGroup: number;
  ticks: number;
  priority: number;
  nice: number;
  threads: number;
  /** Since the machine's start. */
  started: number;
  virtual: number;
  resident: number;
  processor: number;
  /** Real, effective, saved and file system's ids. */
  uids: number[];
  gids: number[];
  /** Arguments in one line; the command in brackets where there are none. */
  args: string;
}

const PAGE = 4096;

/** Undefined for one that has ended. */
export function readProcess(pid: number): Process | undefined {
  const stat = readText(`/proc/${pid}/stat`);
  const status = readText(`/proc/${pid}/status`);
  if (stat === undefined || status === undefined) return undefined;
  // The command may hold blanks and brackets; nothing after it does.
  const end = stat.lastIndexOf(")");
  const command = printable(stat.slice(stat.indexOf("(") + 1, end));
  const fields = stat.slice(end + 2).split(" ");
  // Numbered as in the man page, where the state is the third.
  const at = (field: number) => Number(fields[field - 3] ?? 0);
  const ids = (name: string) => new RegExp(`^${name}:\\t(.*)$`, "m").exec(status)?.[1]?.split("\t").map(Number) ?? [];
  const words = (readText(`/proc/${pid}/cmdline`) ?? "").replace(/\0+$/, "");
  return {
    pid,
    command,
    state: fields[0] ?? "?",
    parent: at(4),
    group: at(5),
    session: at(6),
    terminal: at(7),
    foregroundGroup: at(8),
    ticks: at(14) + at(15),
    priority: at(18),
    nice: at(19),
    threads: at(20),
    started: at(22),
    virtual: at(23),
    resident: at(24) * PAGE,
    processor: at(39),
    uids: ids("Uid"),
    gids: ids("Gid"),
    args: words === "" ? `[${command}]` : printable(words.replaceAll("\0", " ")),
  };
}

/** A container's process names itself what it likes, also what a terminal would obey. */
function printable(text: string): string {
  return text.replace(/[\x00-\x1f\x7f-\x9f]/g, "?");
}
