import { expect } from "bun:test";
import { section } from "../case.ts";
import { CGROUP } from "../context.ts";
import { allowRealtime } from "../machine.ts";

const { shows, refuses, does } = section("config.md#process");
const OLD_RUNC = "1.1.5 does not know it";

export const processCases = [
  shows("process.cwd", { process: { cwd: "/bin" } }, "pwd", "/bin"),
  shows("process.cwd: made when missing", { root: { readonly: false }, process: { cwd: "/a/b" } }, "pwd", "/a/b"),
  refuses("process.cwd: relative", { process: { cwd: "bin" } }, /process\.cwd: must be an absolute path/, {
    differs: { crun: "takes it as below /" },
  }),
  shows("process.env", { process: { env: ["PATH=/bin", "A=b=c", "EMPTY="] } }, "env | sort", /^A=b=c\nEMPTY=$/m),
  shows("process.env: the last of a name wins", { process: { env: ["PATH=/bin", "A=1", "A=2"] } }, "env", /^A=2$/m),
  shows(
    "process.env: nothing of the runtime's",
    { process: { env: ["PATH=/bin"] } },
    "env | cut -d= -f1 | sort | tr '\\n' ' '",
    /^(HOME )?PATH PWD SHLVL $/m,
  ),
  refuses("process.env: no =", { process: { env: ["PATH=/bin", "A"] } }, /process\.env: "A" is not NAME=VALUE/, {
    differs: { crun: "passes it on" },
  }),
  shows(
    "process.env HOME: of the user in /etc/passwd",
    { root: { readonly: false }, process: { user: { uid: 77 } } },
    "echo $HOME",
    "/",
  ),
  does("process.args: looked up in the container's PATH", (c) =>
    c.shows("", "found", { process: { args: ["echo", "found"], env: ["PATH=/nowhere:/bin"] } }),
  ),
  does("process.args: a path relative to cwd", (c) =>
    c.shows("", "found", { process: { args: ["./echo", "found"], cwd: "/bin" } }),
  ),
  refuses("process.args: empty", { process: { args: [] } }, /process\.args: must not be empty/),
  refuses(
    "process.args: no such program",
    { process: { args: ["nope"] } },
    /exec: "nope": executable file not found in \$PATH/,
  ),
  refuses("process.args: not executable", { process: { args: ["/proc/version"] } }, /permission denied/),
  shows("process.user.uid, gid", { process: { user: { uid: 7, gid: 8 } } }, "id -u; id -g", "7\n8"),
  shows(
    "process.user.additionalGids",
    { process: { user: { uid: 7, gid: 8, additionalGids: [9, 10] } } },
    "id -G",
    "8 9 10",
  ),
  shows("process.user: no groups of the runtime's", {}, "grep Groups /proc/self/status", /^Groups:\s*0?\s*$/m),
  shows("process.user.umask", { process: { user: { umask: 0o77 } } }, "umask", "0077"),
  shows("process.user.umask: 0022 by default", {}, "umask", "0022"),
  refuses("process.user.uid: negative", { process: { user: { uid: -1 } } }, /process\.user\.uid: -1 is not an integer/),
  shows("process.oomScoreAdj", { process: { oomScoreAdj: 500 } }, "cat /proc/self/oom_score_adj", "500"),
  does("process.oomScoreAdj: absent is unchanged", async (c) => {
    const { out } = await c.run("cat /proc/self/oom_score_adj");
    expect(Number(out)).toBe(Number(await Bun.file("/proc/self/oom_score_adj").text()));
  }),
  refuses("process.oomScoreAdj: over 1000", { process: { oomScoreAdj: 1001 } }, /oomScoreAdj: 1001 is not an integer/),
  shows(
    "process.noNewPrivileges",
    { process: { noNewPrivileges: true } },
    "grep NoNewPrivs /proc/self/status",
    /\t1$/m,
  ),
  shows(
    "process.noNewPrivileges: false",
    { process: { noNewPrivileges: false } },
    "grep NoNewPrivs /proc/self/status",
    /\t0$/m,
  ),
  shows("no descriptors of the runtime's", {}, "ls /proc/$$/fd; true", "0\n1\n2"),
  shows("no signals blocked", {}, "grep SigBlk /proc/self/status", /\t0{16}$/m),
  does("no signals ignored that the caller does not ignore", async (c) => {
    const own = BigInt(`0x${/SigIgn:\s*(\w+)/.exec(await Bun.file("/proc/self/status").text())![1]}`);
    const { out } = await c.run("grep SigIgn /proc/self/status | cut -f2");
    // SIGPIPE and SIGXFSZ are ignored by this test's own process, and not passed on by its spawn.
    expect(BigInt(`0x${out.trim()}`) & ~(own & ~0x1001000n)).toBe(0n);
  }),
  does("stdin is the caller's", async (c) => {
    expect(await c.run("cat", {}, [], { stdin: "given" })).toMatchObject({ code: 0, out: "given" });
  }),
  does("stdout and stderr are apart", async (c) => {
    expect(await c.run("echo out; echo err >&2")).toMatchObject({ out: "out\n", err: "err\n" });
  }),
];

const sched = section("config.md#process scheduler");
/** /proc/PID/stat: nice is field 19, rt_priority 40, policy 41. */
const STAT = "cut -d' ' -f19,40,41 /proc/self/stat";
const policy = { crun: "1.8.1 does not know scheduler", runc: OLD_RUNC };

export const schedulerCases = [
  sched.shows(
    "process.scheduler SCHED_OTHER nice",
    { process: { scheduler: { policy: "SCHED_OTHER", nice: 7 } } },
    STAT,
    "7 0 0",
    { differs: policy },
  ),
  sched.shows(
    "process.scheduler SCHED_BATCH",
    { process: { scheduler: { policy: "SCHED_BATCH", nice: 3 } } },
    STAT,
    "3 0 3",
    { differs: policy },
  ),
  sched.shows("process.scheduler SCHED_IDLE", { process: { scheduler: { policy: "SCHED_IDLE" } } }, STAT, /^0 0 5$/m, {
    differs: policy,
  }),
  ...(
    [
      ["SCHED_FIFO priority", { policy: "SCHED_FIFO", priority: 5 }, STAT, "0 5 1"],
      ["SCHED_RR priority", { policy: "SCHED_RR", priority: 6 }, STAT, "0 6 2"],
      [
        "SCHED_FLAG_RESET_ON_FORK",
        { policy: "SCHED_FIFO", priority: 5, flags: ["SCHED_FLAG_RESET_ON_FORK"] },
        `x=$(${STAT}); echo $x; cut -d' ' -f40,41 /proc/$$/stat`,
        "0 0 0\n5 1",
      ],
    ] as const
  ).map(([name, scheduler, script, expected]) =>
    sched.does(
      `process.scheduler ${name}`,
      (c) => c.shows(script, expected, { process: { scheduler }, linux: { resources: allowRealtime(CGROUP) } }),
      { differs: policy },
    ),
  ),
  sched.refuses(
    "process.scheduler: unknown policy",
    { process: { scheduler: { policy: "SCHED_NOPE" } } },
    /scheduler\.policy/,
    { differs: policy },
  ),
  sched.refuses(
    "process.scheduler: unknown flag",
    { process: { scheduler: { policy: "SCHED_OTHER", flags: ["SCHED_FLAG_NOPE"] } } },
    /scheduler\.flags/,
    { differs: policy },
  ),
  sched.refuses(
    "process.scheduler: priority without a real-time policy",
    { process: { scheduler: { policy: "SCHED_OTHER", priority: 5 } } },
    /scheduler/,
    { differs: policy },
  ),
  sched.refuses(
    "process.scheduler: runtime without SCHED_DEADLINE",
    { process: { scheduler: { policy: "SCHED_FIFO", priority: 5, runtime: 1000000 } } },
    /scheduler/,
    { differs: policy },
  ),
  sched.refuses(
    "process.scheduler: policy missing",
    { process: { scheduler: { nice: 1 } } },
    /scheduler\.policy: required/,
    { differs: policy },
  ),
  sched.shows(
    "process.ioPriority IOPRIO_CLASS_BE",
    { process: { ioPriority: { class: "IOPRIO_CLASS_BE", priority: 3 } } },
    "ionice -p $$",
    "best-effort: prio 3",
    { differs: { crun: "1.8.1 does not know ioPriority", runc: OLD_RUNC } },
  ),
  sched.shows(
    "process.ioPriority IOPRIO_CLASS_IDLE",
    { process: { ioPriority: { class: "IOPRIO_CLASS_IDLE", priority: 0 } } },
    "ionice -p $$",
    /^idle/m,
    { differs: { crun: "1.8.1 does not know ioPriority", runc: OLD_RUNC } },
  ),
  sched.refuses(
    "process.ioPriority: unknown class",
    { process: { ioPriority: { class: "IOPRIO_CLASS_NOPE", priority: 0 } } },
    /ioPriority\.class/,
    { differs: { crun: "1.8.1 does not know ioPriority", runc: OLD_RUNC } },
  ),
  sched.refuses(
    "process.ioPriority: priority over 7",
    { process: { ioPriority: { class: "IOPRIO_CLASS_BE", priority: 8 } } },
    /ioPriority\.priority/,
    { differs: { crun: "1.8.1 does not know ioPriority", runc: OLD_RUNC } },
  ),
];
