import { expect, test } from "bun:test";
import { closeSync, mkdirSync, openSync, readFileSync, rmdirSync } from "node:fs";
import {
  attachedPrograms,
  attachProgram,
  BPF_CGROUP_DEVICE,
  BPF_PROG_TYPE_CGROUP_DEVICE,
  bpf,
  detachProgram,
  loadProgram,
} from "./bpf.ts";

const hex = (data: Uint8Array) => Buffer.from(data).toString("hex");

test("instructions are encoded as struct bpf_insn", () => {
  expect(hex(bpf.load32(2, 1, 4))).toBe("6112040000000000");
  expect(hex(bpf.move(3, 2))).toBe("bc23000000000000");
  expect(hex(bpf.set(0, 1))).toBe("b400000001000000");
  expect(hex(bpf.and(3, 0xffff))).toBe("54030000ffff0000");
  expect(hex(bpf.and(3, 0xffffffff))).toBe("54030000ffffffff");
  expect(hex(bpf.shiftRight(2, 16))).toBe("7402000010000000");
  expect(hex(bpf.jumpIfNot(4, 5, 3))).toBe("5604030005000000");
  expect(hex(bpf.jumpIfAny(2, 6, 1))).toBe("4602010006000000");
  expect(hex(bpf.jump(-2))).toBe("0500feff00000000");
  expect(hex(bpf.exit())).toBe("9500000000000000");
});

const load = (...code: Uint8Array[]) =>
  loadProgram({
    type: BPF_PROG_TYPE_CGROUP_DEVICE,
    attachType: BPF_CGROUP_DEVICE,
    name: "inro_test",
    code: Buffer.concat(code),
  });

const root = process.getuid?.() === 0;

test.skipIf(!root)("a refused program is an error with the verifier's words (needs root)", () => {
  expect(() => load(bpf.exit())).toThrow(/load bpf program inro_test: E\w+ \(verifier: [\s\S]*R0 !read_ok/);
});

const cgroup2 = /^(?:\S+ ){4}(\S+) .*- cgroup2 /m.exec(readFileSync("/proc/self/mountinfo", "utf8"))?.[1];

test.skipIf(!root || !cgroup2)("attach, query, replace, detach (needs root and cgroup2)", () => {
  const cgroup = `${cgroup2}/inro-test-bpf-${process.pid}`;
  mkdirSync(cgroup);
  const cgroupFd = openSync(cgroup, "r");
  const allow = load(bpf.set(0, 1), bpf.exit());
  const deny = load(bpf.set(0, 0), bpf.exit());
  try {
    const attachType = BPF_CGROUP_DEVICE;
    attachProgram({ cgroupFd, cgroup, programFd: allow, attachType });
    const first = attachedPrograms(cgroupFd, attachType);
    expect(first).toHaveLength(1);
    attachProgram({ cgroupFd, cgroup, programFd: deny, attachType, replace: allow });
    const second = attachedPrograms(cgroupFd, attachType);
    expect(second).toHaveLength(1);
    expect(second).not.toEqual(first);
    detachProgram({ cgroupFd, cgroup, programFd: deny, attachType });
    expect(attachedPrograms(cgroupFd, attachType)).toEqual([]);
  } finally {
    for (const fd of [allow, deny, cgroupFd]) closeSync(fd);
    rmdirSync(cgroup);
  }
});
