import { describe, expect, test } from "bun:test";
import { X32_BIT } from "../../linux/syscall-numbers.ts";

const child = new URL("./install.child.ts", import.meta.url).pathname;
type Call = [string | number, ...number[]];

/** Results of calls made below a filter in a process of its own. */
function under(profile: object | "default", calls: Call[]) {
  const text = profile === "default" ? profile : JSON.stringify(profile);
  const { stdout, signalCode, stderr } = Bun.spawnSync([process.execPath, child, text, JSON.stringify(calls)]);
  return { output: stdout.toString(), signal: signalCode, errors: stderr.toString() };
}

function results(profile: object | "default", calls: Call[]): number[] {
  const { output, errors } = under(profile, calls);
  if (!output) throw new Error(`the child printed nothing: ${errors}`);
  const answer = JSON.parse(output);
  expect(answer.installed).toBe(0);
  return answer.results;
}

const EPERM = -1;
const EBADF = -9;
const ENOSYS = -38;

describe("the kernel below the default profile", () => {
  test("refuses what is not in it", () => {
    const calls: Call[] = [
      ["io_uring_setup", 0, 0],
      ["add_key", 0, 0, 0, 0, 0],
      ["userfaultfd", 0],
      ["unshare", 0x1000_0000],
      ["mount", 0, 0, 0, 0, 0],
      ["socket", 38, 5, 0],
      ["socket", 40, 1, 0],
      ["socket", 2 ** 32 + 38, 5, 0],
      ["socket", 2 ** 32 + 40, 1, 0],
      ["personality", 0x4_0000],
      ["clone", 0x1000_0011, 0, 0, 0, 0],
      [400],
    ];
    expect(results("default", calls)).toEqual(calls.map(() => EPERM));
  });

  test("answers clone3 and what is newer with ENOSYS", () => {
    expect(results("default", [["clone3", 0, 0], [467, 0], ["file_getattr", -1, 0, 0, 0, 0], [1000]])).toEqual([
      ENOSYS,
      ENOSYS,
      ENOSYS,
      ENOSYS,
    ]);
  });

  test("lets through what is in it", () => {
    const [personality, closed, pid, traced] = results("default", [
      ["personality", 0xffff_ffff],
      ["close", 99999],
      ["getpid"],
      ["ptrace", 16, 0x7fff_ffff, 0, 0],
    ]);
    expect(personality).toBeGreaterThanOrEqual(0);
    expect(closed).toBe(EBADF);
    expect(pid).toBeGreaterThan(1);
    expect(traced).toBe(-3);
  });
});

test("a long program of argument rules, with the errno it names", () => {
  const syscalls = Array.from({ length: 250 }, (_, i) => ({
    names: ["personality"],
    action: "SCMP_ACT_ERRNO",
    errnoRet: 100 + i,
    args: [{ index: 1, op: "SCMP_CMP_EQ", value: i * (2 ** 32 + 1) }],
  }));
  const profile = { defaultAction: "SCMP_ACT_ALLOW", syscalls };
  const at = (i: number): Call => ["personality", 0xffff_ffff, i * (2 ** 32 + 1)];
  const answers = results(profile, [at(0), at(1), at(249), ["personality", 0xffff_ffff, 1]]);
  expect(answers.slice(0, 3)).toEqual([-100, -101, -349]);
  expect(answers[3]).toBeGreaterThanOrEqual(0);
});

test.skipIf(process.arch !== "x64")(
  "a call of an ABI that the profile leaves out ends the process (x86-64 only)",
  () => {
    const profile = { defaultAction: "SCMP_ACT_ALLOW", architectures: ["SCMP_ARCH_X86_64"] };
    expect(under(profile, [[X32_BIT + 39]])).toMatchObject({ output: "", signal: "SIGSYS" });
  },
);

test("KILL_PROCESS kills", () => {
  const syscalls = [{ names: ["acct"], action: "SCMP_ACT_KILL_PROCESS" }];
  expect(under({ defaultAction: "SCMP_ACT_ALLOW", syscalls }, [["acct", 0]]).signal).toBe("SIGSYS");
});
