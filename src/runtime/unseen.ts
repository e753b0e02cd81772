import { NATIVE_ABI, nativeNumber } from "../linux/call.ts";
import * as k from "../linux/constants.ts";
import type { Label, Slot } from "../program/ir.ts";
import { runFilter } from "../security/seccomp/bpf-interpreter.ts";
import type { Filter } from "../security/seccomp/compile.ts";
import type { Process, Spec } from "../spec/oci-runtime.ts";
import type { Builder } from "./builder.ts";
import { clone3 } from "./keeper.ts";
import { cloneArgs } from "./namespaces.ts";
import { isInherited } from "./scheduling.ts";

/**
 * How an exec comes into a container whose processes may trace each other. With CAP_SYS_PTRACE, in the user namespace
 * that we are from, not even PR_SET_DUMPABLE keeps them out (ptrace(2)), and between clone and capset there is much to
 * take: so all that is done before the process is in the pid namespace, by a member that is in none that they see.
 *
 *   parent                            member                             process
 *     | clone3(VM, VFORK) ------------> | its children's pid namespace     |
 *     |  …                              | user, rights, filter, stdio      |
 *     |                                 | clone(PARENT) -----------------> | a session
 *     | <- the pid, in shared memory -- | ends                             | execve
 */

/** Whether its processes may trace each other, as far as its config says. */
export function mayTrace({ process }: Pick<Spec, "process">): boolean {
  const { capabilities } = process ?? {};
  return !capabilities || capabilities.bounding?.includes("CAP_SYS_PTRACE") === true;
}

/** Whether what the process still calls in the pid namespace is allowed to it there. */
export function canHide(process: Process, filter: Filter | undefined): boolean {
  if (!isInherited(process) || filter?.listener) return false;
  return !filter || isLate(process) || AFTER_FILTER.every(([name, args]) => allows(filter, name, args));
}

/** Without privileges to gain, a filter needs none to be installed, and so comes last. */
export const isLate = (process: Process) => process.noNewPrivileges === true;

const CLONE_VM = 0x100;
const CLONE_VFORK = 0x4000;
const CLONE_PARENT = 0x8000;

const AFTER_FILTER: readonly [name: string, args: readonly number[]][] = [
  ["clone", [CLONE_PARENT, 0, 0, 0, 0]],
  ["exit_group", [0]],
  ["setsid", []],
  ["ioctl", [0, k.TIOCSCTTY, 0]],
  ["prctl", [k.PR_SET_PDEATHSIG, 9, 0, 0, 0]],
];

const ALLOWED = new Set([0x7fff_0000 /* SECCOMP_RET_ALLOW */, 0x7ffc_0000 /* SECCOMP_RET_LOG */]);
const AUDIT_ARCH = NATIVE_ABI === "aarch64" ? 0xc000_00b7 : 0xc000_003e;

function allows(filter: Filter, name: string, args: readonly number[]): boolean {
  const words = Array.from({ length: 6 }, (_, i) => BigInt(args[i] ?? 0));
  return ALLOWED.has(runFilter(filter.code, { arch: AUDIT_ARCH, nr: nativeNumber(name), args: words }));
}

/** The parent's and the member's halves. */
export class Unseen {
  readonly #pid: Slot;
  readonly #member: Label;
  readonly #none: Label;

  constructor(p: Builder, cgroup: Slot | undefined) {
    this.#pid = p.slot("pid");
    this.#member = p.label("member");
    this.#none = p.label("no process");
    this.birth = (p) => {
      const why = "exec: unseen until it has no more rights than it will have";
      const member = clone3(p, why, cloneArgs(CLONE_VM | CLONE_VFORK, cgroup !== undefined), cgroup, this.#member);
      p.call(why, "wait4", [member, 0, 0, 0]);
      p.branch(why, this.#pid, "at most", 0, this.#none);
      return this.#pid;
    };
  }

  /** {@link CloneOptions.birth}: a member of `cgroup`, which goes on at {@link placeMember}. */
  readonly birth: (p: Builder) => Slot;

  placeMember(p: Builder): void {
    p.place(this.#none);
    p.exit("exec: the member has told why", p.bytes(new Uint8Array([0, 255, 0, 0, 0, 0, 0, 0]), "255"));
    p.place(this.#member);
  }

  /** The member's last rows; the process goes on at `child`. */
  release(p: Builder, child: Label): void {
    const why = "the process";
    // Not clone3, which the usual filters answer with ENOSYS, since they cannot see its flags.
    p.call(why, "clone", [CLONE_PARENT, 0, 0, 0, 0], { child, into: this.#pid });
    p.call(why, "exit_group", [0]);
  }
}
