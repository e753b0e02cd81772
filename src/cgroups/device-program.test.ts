import { describe, expect, test } from "bun:test";
import fc from "fast-check";
import type { DeviceRule } from "../spec/oci-runtime.ts";
import { compileDeviceProgram } from "./device-program.ts";
import { ACC_MKNOD, ACC_READ, ACC_WRITE, DEV_BLOCK, DEV_CHAR, parseDeviceRules } from "./device-rules.ts";
import { exceptionList } from "./devices.ts";

interface Request {
  type: "b" | "c";
  major: number;
  minor: number;
  access: number;
}

/** Runs the subset of eBPF that the compiler emits, from the encoded bytes. */
function run(code: Uint8Array, request: Request): number {
  const view = Buffer.from(code);
  const context = [
    (request.access << 16) | (request.type === "b" ? DEV_BLOCK : DEV_CHAR),
    request.major,
    request.minor,
  ];
  const r = new Uint32Array(11);
  for (let pc = 0; ; pc++) {
    const at = pc * 8;
    const dst = view[at + 1]! & 15;
    const src = view[at + 1]! >> 4;
    const offset = view.readInt16LE(at + 2);
    const immediate = view.readInt32LE(at + 4);
    switch (view[at]) {
      case 0x61:
        r[dst] = context[offset / 4]!;
        break;
      case 0xbc:
        r[dst] = r[src]!;
        break;
      case 0xb4:
        r[dst] = immediate;
        break;
      case 0x54:
        r[dst] = r[dst]! & immediate;
        break;
      case 0x74:
        r[dst] = r[dst]! >>> immediate;
        break;
      case 0x05:
        pc += offset;
        break;
      case 0x56:
        if (r[dst] !== immediate >>> 0) pc += offset;
        break;
      case 0x46:
        if ((r[dst]! & immediate) !== 0) pc += offset;
        break;
      case 0x95:
        return r[0]!;
      default:
        throw new Error(`unknown instruction ${view[at]}`);
    }
  }
}

/** What the rules mean, said plainly: for each access bit the last rule that matches decides. */
function meaning(rules: readonly DeviceRule[], { type, major, minor, access }: Request): boolean {
  return [
    [ACC_READ, "r"],
    [ACC_WRITE, "w"],
    [ACC_MKNOD, "m"],
  ].every(([bit, letter]) => {
    if ((access & (bit as number)) === 0) return true;
    const last = rules.findLast(
      (rule) =>
        ((rule.type ?? "a") === "a" || rule.type === type) &&
        [undefined, -1, major].includes(rule.major) &&
        [undefined, -1, minor].includes(rule.minor) &&
        rule.access!.includes(letter as string),
    );
    return last?.allow ?? false;
  });
}

const number = fc.constantFrom(undefined, -1, 0, 1, 2);
const anyRule = fc
  .record({
    allow: fc.boolean(),
    type: fc.constantFrom(undefined, "a", "b", "c"),
    major: number,
    minor: number,
    access: fc.constantFrom("r", "w", "m", "rw", "rm", "wm", "rwm"),
  })
  .map((rule) => Object.fromEntries(Object.entries(rule).filter(([, v]) => v !== undefined)) as unknown as DeviceRule);
const request = fc.record({
  type: fc.constantFrom("b", "c"),
  major: fc.nat({ max: 3 }),
  minor: fc.nat({ max: 3 }),
  access: fc.integer({ min: 1, max: 7 }),
}) as fc.Arbitrary<Request>;

test("the program means what the rules mean", () => {
  fc.assert(
    fc.property(fc.array(anyRule, { maxLength: 8 }), request, (rules, asked) => {
      expect(run(compileDeviceProgram(parseDeviceRules(rules)), asked)).toBe(meaning(rules, asked) ? 1 : 0);
    }),
    { numRuns: 3000 },
  );
});

test("the v1 exception list means the same, where v1 can express it", () => {
  let expressed = 0;
  fc.assert(
    fc.property(fc.array(anyRule, { maxLength: 5 }), request, (rules, asked) => {
      let list: ReturnType<typeof exceptionList>;
      try {
        list = exceptionList(parseDeviceRules(rules));
      } catch (error) {
        expect(String(error)).toContain("cgroup v1 cannot express");
        return;
      }
      expressed++;
      const excepted = (bit: number) =>
        [...list.exceptions].some(([device, access]) => {
          const [type, major, minor] = device.split(/[ :]/);
          const same = (text: string | undefined, value: number) => text === "*" || text === String(value);
          return type === asked.type && same(major, asked.major) && same(minor, asked.minor) && (access & bit) !== 0;
        });
      const bits = [ACC_READ, ACC_WRITE, ACC_MKNOD].filter((bit) => (asked.access & bit) !== 0);
      expect(bits.every((bit) => excepted(bit) !== list.allowed)).toBe(meaning(rules, asked));
    }),
    { numRuns: 3000 },
  );
  expect(expressed).toBeGreaterThan(1000);
});

test("a rule for everything ends the program: nothing unreachable follows", () => {
  const all = parseDeviceRules([
    { allow: true, type: "c", major: 1, minor: 3, access: "r" },
    { allow: true, access: "rwm" },
  ]);
  expect(compileDeviceProgram(all).length / 8).toBe(8);
});

test("a rule that denies without access denies all of it", () => {
  expect(parseDeviceRules([{ allow: false }])).toEqual(parseDeviceRules([{ allow: false, access: "rwm" }]));
});

describe("refused rules", () => {
  test.each<[string, DeviceRule]>([
    ["empty access", { allow: true, access: "" }],
    ["no access of one that allows", { allow: true }],
    ["unknown access", { allow: true, access: "rx" }],
    ["unknown type", { allow: true, type: "u" as "c" }],
    ["major out of range", { allow: true, type: "c", major: 4096 }],
    ["minor out of range", { allow: true, type: "c", minor: 2 ** 20 }],
    ["major -2", { allow: true, type: "c", major: -2 }],
    ["no verdict", {} as DeviceRule],
  ])("%s", (_, rule) => expect(() => parseDeviceRules([rule])).toThrow(expect.objectContaining({ kind: "invalid" })));

  test("too many", () => {
    expect(() => parseDeviceRules(new Array(4097).fill({ allow: false }))).toThrow("at most 4096");
  });
});
