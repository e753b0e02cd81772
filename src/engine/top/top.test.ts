import { describe, expect, test } from "bun:test";
import { COLUMNS, type Machine } from "./columns.ts";
import { psColumns } from "./format.ts";
import { type Process, readProcess } from "./process.ts";
import { processTable } from "./table.ts";

const titles = (args: string) =>
  psColumns(args)
    .map(({ title }) => title)
    .join(" ");

describe("arguments of ps", () => {
  test.each([
    ["-ef", "UID PID PPID C STIME TTY TIME CMD"],
    ["-e -f", "UID PID PPID C STIME TTY TIME CMD"],
    ["aux", "USER PID %CPU %MEM VSZ RSS TTY STAT START TIME COMMAND"],
    ["auxww", "USER PID %CPU %MEM VSZ RSS TTY STAT START TIME COMMAND"],
    ["-e", "PID TTY TIME CMD"],
    ["", "PID TTY TIME CMD"],
    ["-o pid,ppid,comm", "PID PPID COMMAND"],
    ["-eo pid,user=OWNER,args", "PID OWNER COMMAND"],
    ["-o pid -o rss", "PID RSS"],
    ["-axo pid", "PID"],
    ["-aux", "USER PID %CPU %MEM VSZ RSS TTY STAT START TIME COMMAND"],
    ["axo pid,etime", "PID ELAPSED"],
    ["-opid,cmd", "PID CMD"],
  ] as const)("%p", (args, wanted) => expect(titles(args)).toBe(wanted));

  test.each([
    ["-Z", "option -Z is not supported"],
    ["-o", "needs a list of columns"],
    ["-o pids", "did you mean pid?"],
    ["-o __proto__", "no column"],
    ["--forest", "not supported"],
    [`-o ${"pid,".repeat(100)}pid`, "more than 64 columns"],
    ["a ".repeat(40), "too many arguments"],
  ])("%p is refused", (args, message) => expect(() => psColumns(args)).toThrow(message));
});

test("cells", () => {
  const process: Process = {
    ...{ pid: 7, command: "sleep", state: "S", parent: 1, group: 7, session: 7, terminal: (136 << 8) | 3 },
    ...{ foregroundGroup: 7, ticks: 6100, priority: 20, nice: 0, threads: 2, started: 0, virtual: 2048 },
    ...{ resident: 4096, processor: 1, uids: [1, 0, 0, 0], gids: [0, 5, 0, 0], args: "sleep 1" },
  };
  const machine: Machine = {
    now: 1_700_000_000,
    uptime: 90_061,
    users: new Map([
      [0, "root"],
      [1, "a-long-name"],
    ]),
    groups: new Map([[5, "tty"]]),
  };
  const cell = (name: string) => COLUMNS[name]!.cell(process, machine);
  expect(["user", "ruser", "group", "tty", "stat", "time", "bsdtime", "etime", "vsz", "pri"].map(cell)).toEqual([
    ...["root", "a-long-+", "tty", "pts/3", "Ssl+", "00:01:01", "1:01", "01-01:01:01", "2", "19"],
  ]);
});

test("a real process, with the figures that ps finds; one that has ended is left out", async () => {
  const child = Bun.spawn(["cat", "-"], { stdin: "pipe", stdout: "pipe" });
  try {
    // In the middle of its execve(2) a process has no arguments.
    child.stdin.write("x");
    child.stdin.flush();
    await child.stdout.getReader().read();
    const { Titles, Processes } = await processTable([child.pid, 2 ** 22], "-o pid,ppid,ni,nlwp,args");
    expect(Titles).toEqual(["PID", "PPID", "NI", "NLWP", "COMMAND"]);
    expect(Processes).toEqual([[String(child.pid), String(process.pid), "0", "1", "cat -"]]);
    const ps = Bun.which("ps");
    if (ps) {
      const out = Bun.spawnSync([ps, "-o", "pid=,ppid=,ni=,nlwp=,args=", "-p", String(child.pid)]).stdout.toString();
      expect(out.trim().split(/\s+/).join(" ")).toBe(Processes[0]!.join(" "));
    }
  } finally {
    child.kill("SIGKILL");
    await child.exited;
  }
});

test("what a process calls itself is no terminal's business", async () => {
  const child = Bun.spawn(["sh", "-c", "echo; read x", "\x1b[31m)"], { stdin: "pipe", stdout: "pipe" });
  try {
    await child.stdout.getReader().read();
    expect(readProcess(child.pid)!.args).toBe("sh -c echo; read x ?[31m)");
  } finally {
    child.kill("SIGKILL");
    await child.exited;
  }
});
