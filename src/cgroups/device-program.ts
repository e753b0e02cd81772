import { bpf, type Register } from "../linux/bpf.ts";
import { ACC_ALL, DEV_BLOCK, DEV_CHAR, matchesAll, type Rule } from "./device-rules.ts";

// What the registers hold. r1 is the context: struct bpf_cgroup_dev_ctx { u32 access_type, major, minor }.
const RESULT: Register = 0;
const CONTEXT: Register = 1;
const UNDECIDED: Register = 2;
const TYPE: Register = 3;
const MAJOR: Register = 4;
const MINOR: Register = 5;

/**
 * The eBPF program of these rules (BPF_PROG_TYPE_CGROUP_DEVICE: 1 allows, 0 is EPERM). For each kind of access that is
 * asked for (read, write, mknod) the last rule that matches decides, and all must be allowed; what no rule matches is
 * denied. So the program goes through the rules from the last to the first and strikes off what is allowed.
 */
export function compileDeviceProgram(rules: readonly Rule[]): Uint8Array {
  const code: Uint8Array[] = [
    bpf.load32(UNDECIDED, CONTEXT, 0), // (access << 16) | type
    bpf.move(TYPE, UNDECIDED),
    bpf.and(TYPE, 0xffff),
    bpf.shiftRight(UNDECIDED, 16),
    bpf.load32(MAJOR, CONTEXT, 4),
    bpf.load32(MINOR, CONTEXT, 8),
  ];
  for (const rule of rules.toReversed()) {
    const body = decide(rule);
    const tests: [Register, number][] = [];
    if (rule.type !== undefined) tests.push([TYPE, rule.type === "b" ? DEV_BLOCK : DEV_CHAR]);
    if (rule.major !== undefined) tests.push([MAJOR, rule.major]);
    if (rule.minor !== undefined) tests.push([MINOR, rule.minor]);
    tests.forEach(([register, value], i) => {
      code.push(bpf.jumpIfNot(register, value, tests.length - i - 1 + body.length));
    });
    code.push(...body);
    // The verifier refuses instructions that nothing reaches.
    if (matchesAll(rule) && rule.access === ACC_ALL) return Buffer.concat(code);
  }
  code.push(...answer(0));
  return Buffer.concat(code);
}

const answer = (result: 0 | 1) => [bpf.set(RESULT, result), bpf.exit()];

function decide({ allow, access }: Rule): Uint8Array[] {
  if (access === ACC_ALL) return answer(allow ? 1 : 0);
  if (allow) return [bpf.and(UNDECIDED, ACC_ALL & ~access), bpf.jumpIfNot(UNDECIDED, 0, 2), ...answer(1)];
  return [bpf.jumpIfAny(UNDECIDED, access, 1), bpf.jump(2), ...answer(0)];
}
