import { totalmem } from "node:os";
import type { Process } from "./process.ts";

/** What columns need besides the process. */
export interface Machine {
  /** Seconds since the epoch. */
  now: number;
  /** Seconds since the machine's start. */
  uptime: number;
  /** Names by id, as the machine has them. */
  users: ReadonlyMap<number, string>;
  groups: ReadonlyMap<number, string>;
}

export interface Column {
  title: string;
  cell(process: Process, machine: Machine): string;
}

const TICKS = 100;
const DAY = 86_400;
const MONTHS = ["Jan", "Feb", "Mar", "Apr", "May", "Jun", "Jul", "Aug", "Sep", "Oct", "Nov", "Dec"];
const two = (value: number) => String(value).padStart(2, "0");
const kib = (bytes: number) => String(Math.round(bytes / 1024));

const elapsed = (process: Process, { uptime }: Machine) => Math.max(0, uptime - process.started / TICKS);
const startedAt = (process: Process, machine: Machine) => new Date((machine.now - elapsed(process, machine)) * 1000);
const share = (process: Process, machine: Machine) =>
  elapsed(process, machine) > 0 ? (process.ticks / TICKS / elapsed(process, machine)) * 100 : 0;

/** `[DD-]hh:mm:ss` */
function clock(seconds: number): string {
  const days = Math.floor(seconds / DAY);
  const time = [(seconds % DAY) / 3600, (seconds % 3600) / 60, seconds % 60].map((n) => two(Math.floor(n))).join(":");
  return days > 0 ? `${two(days)}-${time}` : time;
}

/** `[[DD-]hh:]mm:ss` */
const shortClock = (seconds: number) => clock(seconds).replace(/^00:(?=\d\d:\d\d$)/, "");

/** The time of today, the day of this year, else the year. */
function start(process: Process, machine: Machine): string {
  const date = startedAt(process, machine);
  if (machine.now - date.getTime() / 1000 < DAY) return `${two(date.getHours())}:${two(date.getMinutes())}`;
  const thisYear = date.getFullYear() === new Date(machine.now * 1000).getFullYear();
  return thisYear ? `${MONTHS[date.getMonth()]}${two(date.getDate())}` : String(date.getFullYear());
}

/** Terminals of devices.txt: 136 to 143 are pseudo terminals, 4 consoles and serial lines. */
function terminal({ terminal: device }: Process): string {
  const major = (device >> 8) & 0xfff;
  const minor = (device & 0xff) | ((device >> 12) & 0xfff00);
  if (major >= 136 && major <= 143) return `pts/${(major - 136) * 256 + minor}`;
  if (major === 4) return minor < 64 ? `tty${minor}` : `ttyS${minor - 64}`;
  return "?";
}

function flags({ state, nice, session, pid, threads, foregroundGroup, group }: Process): string {
  const priority = nice < 0 ? "<" : nice > 0 ? "N" : "";
  const leader = session === pid ? "s" : "";
  return `${state}${priority}${leader}${threads > 1 ? "l" : ""}${foregroundGroup === group ? "+" : ""}`;
}

const NAME_WIDTH = 8;
/** A name that is too long is cut, as ps does. */
function name(names: ReadonlyMap<number, string>, id: number): string {
  const known = names.get(id) ?? String(id);
  return known.length > NAME_WIDTH ? `${known.slice(0, NAME_WIDTH - 1)}+` : known;
}

const column = (title: string, cell: Column["cell"]): Column => ({ title, cell });

const user = (title: string, which: number) =>
  column(title, ({ uids }, machine) => name(machine.users, uids[which] ?? 0));
const group = (title: string, which: number) =>
  column(title, ({ gids }, machine) => name(machine.groups, gids[which] ?? 0));
const uid = (title: string, which: number) => column(title, ({ uids }) => String(uids[which] ?? 0));
const gid = (title: string, which: number) => column(title, ({ gids }) => String(gids[which] ?? 0));
const state = column("S", (process) => process.state);
const args = (title: string) => column(title, (process) => process.args);
const command = column("COMMAND", (process) => process.command);
const pgid = column("PGID", (process) => String(process.group));
const cpu = column("%CPU", (process, machine) => share(process, machine).toFixed(1));
const memory = column("%MEM", ({ resident }) => ((resident / totalmem()) * 100).toFixed(1));
const stime = column("STIME", start);
const tty = column("TT", terminal);
const threads = column("NLWP", (process) => String(process.threads));
const virtual = column("VSZ", (process) => kib(process.virtual));
const resident = column("RSS", (process) => kib(process.resident));
const time = column("TIME", ({ ticks }) => clock(ticks / TICKS));

/** By the names that `ps -o` takes (ps(1), "STANDARD FORMAT SPECIFIERS"). */
export const COLUMNS: Readonly<Record<string, Column>> = {
  pid: column("PID", ({ pid }) => String(pid)),
  tgid: column("TGID", ({ pid }) => String(pid)),
  ppid: column("PPID", ({ parent }) => String(parent)),
  ...{ pgid, pgrp: { ...pgid, title: "PGRP" } },
  sid: column("SID", ({ session }) => String(session)),
  sess: column("SESS", ({ session }) => String(session)),
  tpgid: column("TPGID", ({ foregroundGroup }) => String(foregroundGroup)),
  ...{ user: user("USER", 1), euser: user("EUSER", 1), ruser: user("RUSER", 0), suser: user("SUSER", 2) },
  ...{ uname: user("USER", 1), uid: uid("UID", 1), euid: uid("EUID", 1), ruid: uid("RUID", 0), suid: uid("SUID", 2) },
  ...{ group: group("GROUP", 1), egroup: group("EGROUP", 1), rgroup: group("RGROUP", 0) },
  ...{ gid: gid("GID", 1), egid: gid("EGID", 1), rgid: gid("RGID", 0) },
  ...{ comm: command, ucmd: { ...command, title: "CMD" }, ucomm: command },
  ...{ args: args("COMMAND"), command: args("COMMAND"), cmd: args("CMD") },
  ...{ s: state, state, stat: column("STAT", flags) },
  ...{ pcpu: cpu, "%cpu": cpu, pmem: memory, "%mem": memory },
  c: column("C", (process, machine) => String(Math.min(99, Math.floor(share(process, machine))))),
  ...{ vsz: virtual, vsize: virtual, rss: resident, rssize: resident, rsz: { ...resident, title: "RSZ" } },
  ...{ tty, tt: tty, tname: { ...tty, title: "TTY" } },
  ...{ time, cputime: time, bsdtime: column("TIME", bsdTime) },
  ...{
    stime,
    start_time: { ...stime, title: "START" },
    bsdstart: { ...stime, title: "START" },
    start: { ...stime, title: "STARTED" },
  },
  lstart: column("STARTED", (process, machine) => startedAt(process, machine).toString().slice(0, 24)),
  etime: column("ELAPSED", (process, machine) => shortClock(elapsed(process, machine))),
  etimes: column("ELAPSED", (process, machine) => String(Math.floor(elapsed(process, machine)))),
  ...{ nlwp: threads, thcount: { ...threads, title: "THCNT" } },
  ...{ ni: column("NI", ({ nice }) => String(nice)), nice: column("NI", ({ nice }) => String(nice)) },
  pri: column("PRI", ({ priority }) => String(39 - priority)),
  psr: column("PSR", ({ processor }) => String(processor)),
};

/** `m:ss` */
function bsdTime({ ticks }: Process): string {
  const seconds = Math.floor(ticks / TICKS);
  return `${Math.floor(seconds / 60)}:${two(seconds % 60)}`;
}
