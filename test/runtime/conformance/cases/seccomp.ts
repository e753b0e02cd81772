import { expect } from "bun:test";
import { closeSync } from "node:fs";
import { join } from "node:path";
import { ConsoleSocket } from "../../console-socket.ts";
import { section } from "../case.ts";

const { shows, refuses, does } = section("config-linux.md#seccomp");

const RULES = {
  defaultAction: "SCMP_ACT_ALLOW",
  architectures: [{ x64: "SCMP_ARCH_X86_64", arm64: "SCMP_ARCH_AARCH64" }[process.arch as "x64"]],
};
/** All calls are allowed but for these rules. */
const seccomp = (given: object, ...syscalls: object[]) => ({ linux: { seccomp: { ...RULES, ...given, syscalls } } });
const mkdir = (action: string, more: object = {}) => ({ names: ["mkdir", "mkdirat"], action, ...more });
const MKDIR = "mkdir /dev/shm/x 2>&1 || true";
/** In a child, so that its end does not end the shell. */
const CHILD = "sh -c 'mkdir /dev/shm/x'; echo $?";
const personality = (op: string, value: number, valueTwo?: number) => ({
  names: ["kill"],
  action: "SCMP_ACT_ERRNO",
  errnoRet: 28,
  args: [{ index: 1, op, value, ...(valueTwo !== undefined && { valueTwo }) }],
});
/** kill(2) of itself with signals 0, 18 (CONT), 23 (URG) and 28 (WINCH), which do nothing. */
const SIGNALS = "for s in 0 18 23 28; do kill -$s $$ 2>/dev/null && echo $s; done | tr '\\n' ' '";

const COMPARE: readonly [op: string, value: number, valueTwo: number | undefined, left: string][] = [
  ["SCMP_CMP_EQ", 18, undefined, "0 23 28"],
  ["SCMP_CMP_NE", 18, undefined, "18"],
  ["SCMP_CMP_LT", 18, undefined, "18 23 28"],
  ["SCMP_CMP_LE", 18, undefined, "23 28"],
  ["SCMP_CMP_GT", 18, undefined, "0 18"],
  ["SCMP_CMP_GE", 18, undefined, "0"],
  // 18 is 10010, 23 is 10111, 28 is 11100.
  ["SCMP_CMP_MASKED_EQ", 16, 16, "0"],
];

/** What runs between the filter and the container's own program must not wait for an agent. */
const notify = (path: string, more: object = {}) =>
  seccomp({ listenerPath: path, listenerMetadata: "about", ...more }, mkdir("SCMP_ACT_NOTIFY"));

export const seccompCases = [
  shows(
    "linux.seccomp: a filter is on",
    seccomp({}, mkdir("SCMP_ACT_ERRNO")),
    "grep ^Seccomp: /proc/self/status",
    "Seccomp:\t2",
  ),
  shows("linux.seccomp: absent is none", {}, "grep ^Seccomp: /proc/self/status", /Seccomp:\t\d/),
  shows(
    "linux.seccomp SCMP_ACT_ERRNO: EPERM by default",
    seccomp({}, mkdir("SCMP_ACT_ERRNO")),
    MKDIR,
    /Operation not permitted/,
  ),
  shows(
    "linux.seccomp SCMP_ACT_ERRNO errnoRet",
    seccomp({}, mkdir("SCMP_ACT_ERRNO", { errnoRet: 28 })),
    MKDIR,
    /No space left/,
  ),
  shows("linux.seccomp SCMP_ACT_KILL_PROCESS", seccomp({}, mkdir("SCMP_ACT_KILL_PROCESS")), CHILD, "159"),
  shows("linux.seccomp SCMP_ACT_KILL_THREAD", seccomp({}, mkdir("SCMP_ACT_KILL_THREAD")), CHILD, "159"),
  shows("linux.seccomp SCMP_ACT_KILL", seccomp({}, mkdir("SCMP_ACT_KILL")), CHILD, "159"),
  shows("linux.seccomp SCMP_ACT_TRAP", seccomp({}, mkdir("SCMP_ACT_TRAP")), CHILD, "159"),
  shows(
    "linux.seccomp SCMP_ACT_TRACE: ENOSYS without a tracer",
    seccomp({}, mkdir("SCMP_ACT_TRACE")),
    MKDIR,
    /Function not implemented/,
  ),
  shows("linux.seccomp SCMP_ACT_LOG", seccomp({}, mkdir("SCMP_ACT_LOG")), `${MKDIR}; ls -d /dev/shm/x`, "/dev/shm/x"),
  shows(
    "linux.seccomp SCMP_ACT_ALLOW",
    seccomp({}, mkdir("SCMP_ACT_ALLOW")),
    `${MKDIR}; ls -d /dev/shm/x`,
    "/dev/shm/x",
  ),
  shows(
    "linux.seccomp defaultAction SCMP_ACT_LOG",
    seccomp({ defaultAction: "SCMP_ACT_LOG" }, mkdir("SCMP_ACT_ERRNO")),
    MKDIR,
    /Operation not permitted/,
  ),
  shows(
    "linux.seccomp: an unknown call is passed over",
    seccomp({}, { names: ["nope_call", "mkdir", "mkdirat"], action: "SCMP_ACT_ERRNO" }),
    MKDIR,
    /Operation not permitted/,
  ),
  ...COMPARE.map(([op, value, valueTwo, left]) =>
    shows(`linux.seccomp args ${op}`, seccomp({}, personality(op, value, valueTwo)), SIGNALS, left),
  ),
  shows(
    "linux.seccomp: rules of one call are alternatives",
    seccomp({}, personality("SCMP_CMP_EQ", 18), personality("SCMP_CMP_EQ", 23)),
    SIGNALS,
    "0 28",
  ),
  shows(
    "linux.seccomp: arguments of one rule are all asked",
    seccomp(
      {},
      {
        names: ["kill"],
        action: "SCMP_ACT_ERRNO",
        args: [
          { index: 0, op: "SCMP_CMP_GT", value: 0 },
          { index: 1, op: "SCMP_CMP_EQ", value: 18 },
        ],
      },
    ),
    SIGNALS,
    "0 23 28",
  ),
  shows(
    "linux.seccomp: without no_new_privs",
    { ...seccomp({}, mkdir("SCMP_ACT_ERRNO")), process: { noNewPrivileges: false } },
    MKDIR,
    /Operation not permitted/,
  ),
  ...["SECCOMP_FILTER_FLAG_LOG", "SECCOMP_FILTER_FLAG_SPEC_ALLOW", "SECCOMP_FILTER_FLAG_TSYNC"].map((flag) =>
    shows(
      `linux.seccomp flags ${flag}`,
      seccomp({ flags: [flag] }, mkdir("SCMP_ACT_ERRNO")),
      MKDIR,
      /Operation not permitted/,
      { differs: { runc: "1.1.5 knows no flags" } },
    ),
  ),
  does(
    "linux.seccomp: exec has the filter too",
    async (c) => {
      const container = await c.up(seccomp({}, mkdir("SCMP_ACT_ERRNO")));
      expect(await container.sh(MKDIR)).toMatch(/Operation not permitted/);
    },
    { spec: "runc" },
  ),
  does("linux.seccomp SCMP_ACT_NOTIFY: state and descriptor to the listener", async (c) => {
    const container = c.container("");
    const path = join(container.bundle, "agent");
    const socket = new ConsoleSocket(path);
    const target = c.container(`${MKDIR}; sleep 1000`, notify(path));
    await target.ok("run", ["--detach"]);
    const { data, fd } = socket.receiveAll();
    closeSync(fd);
    const state = JSON.parse(data);
    expect(state).toMatchObject({ fds: ["seccompFd"], metadata: "about", state: { id: target.id } });
    expect(state.pid).toBe((await target.state()).pid);
  }),
  refuses("linux.seccomp SCMP_ACT_NOTIFY: nobody listens", notify("/nowhere/agent"), /\/nowhere\/agent|listenerPath/),
  refuses(
    "linux.seccomp listenerMetadata: without listenerPath",
    seccomp({ listenerMetadata: "x" }, mkdir("SCMP_ACT_ERRNO")),
    /listener/,
    { differs: { crun: "1.8.1 takes it", runc: "1.1.5 takes it" } },
  ),
  refuses(
    "linux.seccomp SCMP_ACT_NOTIFY as defaultAction",
    { linux: { seccomp: { ...RULES, defaultAction: "SCMP_ACT_NOTIFY", listenerPath: "/nowhere/agent" } } },
    /NOTIFY/,
    { spec: "runc" },
  ),
  refuses("linux.seccomp: unknown action", seccomp({}, mkdir("SCMP_ACT_NOPE")), /SCMP_ACT_NOPE/),
  refuses("linux.seccomp: unknown operator", seccomp({}, personality("SCMP_CMP_NOPE", 1)), /SCMP_CMP_NOPE/),
  refuses(
    "linux.seccomp: unknown architecture",
    { linux: { seccomp: { ...RULES, architectures: ["SCMP_ARCH_NOPE"] } } },
    /SCMP_ARCH_NOPE/,
  ),
  refuses(
    "linux.seccomp: unknown flag",
    seccomp({ flags: ["SECCOMP_FILTER_FLAG_NOPE"] }, mkdir("SCMP_ACT_ERRNO")),
    /SECCOMP_FILTER_FLAG_NOPE/,
    { differs: { crun: "1.8.1 passes over it" } },
  ),
  refuses(
    "linux.seccomp: errnoRet with an action that has none",
    seccomp({}, mkdir("SCMP_ACT_KILL", { errnoRet: 1 })),
    /errnoRet/,
    { differs: { runc: "1.1.5 passes over it" } },
  ),
  refuses(
    "linux.seccomp: defaultErrnoRet with an action that has none",
    seccomp({ defaultErrnoRet: 1 }, mkdir("SCMP_ACT_ERRNO")),
    /defaultErrnoRet/,
    { differs: { runc: "1.1.5 passes over it" } },
  ),
  refuses(
    "linux.seccomp: an argument over 5",
    seccomp({}, { names: ["kill"], action: "SCMP_ACT_ERRNO", args: [{ index: 6, op: "SCMP_CMP_EQ", value: 1 }] }),
    /args\[0\]\.index|index/,
  ),
  refuses("linux.seccomp: names empty", seccomp({}, { names: [], action: "SCMP_ACT_ERRNO" }), /names/, {
    differs: { crun: "1.8.1 takes it", runc: "1.1.5 takes it" },
  }),
  refuses("linux.seccomp: defaultAction missing", { linux: { seccomp: { syscalls: [] } } }, /defaultAction/, {
    differs: { runc: "takes it for no filter" },
  }),
];
