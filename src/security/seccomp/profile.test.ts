import { describe, expect, test } from "bun:test";
import fc from "fast-check";
import { InroError } from "../../base/errors.ts";
import { type Context, kernelVersion, parseProfile, resolveProfile } from "./profile.ts";

const context: Context = { caps: ["CAP_CHOWN"], abi: "x86_64", kernel: { major: 6, minor: 1 } };
const resolve = (profile: unknown, changes: Partial<Context> = {}) =>
  resolveProfile(profile, { ...context, ...changes });
const withRule = (rule: object) => ({
  defaultAction: "SCMP_ACT_ERRNO",
  syscalls: [{ names: ["read"], action: "SCMP_ACT_ALLOW", ...rule }],
});
/** Whether a rule with these conditions survives. */
const kept = (rule: object, changes: Partial<Context> = {}) => resolve(withRule(rule), changes)!.syscalls!.length === 1;

describe("forms", () => {
  test("the OCI form comes through, without what only Docker's has", () => {
    const oci = {
      defaultAction: "SCMP_ACT_ERRNO",
      defaultErrnoRet: 38,
      architectures: ["SCMP_ARCH_X86_64", "SCMP_ARCH_X86"],
      flags: ["SECCOMP_FILTER_FLAG_LOG"],
      listenerPath: "/run/agent.sock",
      listenerMetadata: "x",
      syscalls: [
        {
          names: ["read", "write"],
          action: "SCMP_ACT_ERRNO",
          errnoRet: 5,
          args: [{ index: 1, value: 2, valueTwo: 3, op: "SCMP_CMP_MASKED_EQ" }],
        },
      ],
    };
    expect(resolve(oci)).toEqual(oci as never);
    expect(resolve(withRule({ comment: "why", args: null, includes: {}, excludes: null }))).toEqual({
      defaultAction: "SCMP_ACT_ERRNO",
      syscalls: [{ names: ["read"], action: "SCMP_ACT_ALLOW" }],
    });
  });

  test("the old form has one name a rule", () => {
    const old = { defaultAction: "SCMP_ACT_ERRNO", syscalls: [{ name: "read", action: "SCMP_ACT_ALLOW", args: [] }] };
    expect(resolve(old)!.syscalls).toEqual([{ names: ["read"], action: "SCMP_ACT_ALLOW" }]);
  });

  test("archMap gives the entry of the machine, and none of another's", () => {
    const archMap = [
      { architecture: "SCMP_ARCH_X86_64", subArchitectures: ["SCMP_ARCH_X86"] },
      { architecture: "SCMP_ARCH_RISCV64", subArchitectures: null },
    ];
    const profile = { ...withRule({}), archMap };
    expect(resolve(profile)!.architectures).toEqual(["SCMP_ARCH_X86_64", "SCMP_ARCH_X86"]);
    expect(resolve(profile, { abi: "aarch64" })!.architectures).toBeUndefined();
  });

  test("no default action and no rules means no seccomp", () => {
    expect(resolve({})).toBeUndefined();
    expect(resolve({ defaultAction: "", syscalls: [] })).toBeUndefined();
    expect(resolve({ defaultAction: "SCMP_ACT_ALLOW" })).toEqual({ defaultAction: "SCMP_ACT_ALLOW", syscalls: [] });
  });

  test("absent flags stay absent, an empty list stays", () => {
    expect(resolve(withRule({}))).not.toHaveProperty("flags");
    expect(resolve({ ...withRule({}), flags: [] })!.flags).toEqual([]);
  });
});

describe("conditions", () => {
  const caps = ["CAP_SYS_ADMIN", "CAP_CHOWN"];
  test("includes need every capability, excludes any", () => {
    expect(kept({ includes: { caps } })).toBe(false);
    expect(kept({ includes: { caps } }, { caps })).toBe(true);
    expect(kept({ includes: { caps: ["chown"] } })).toBe(true);
    expect(kept({ excludes: { caps } })).toBe(false);
    expect(kept({ excludes: { caps: ["CAP_SYS_ADMIN"] } })).toBe(true);
  });
  test("arches are the machine's", () => {
    expect(kept({ includes: { arches: ["amd64", "x32"] } })).toBe(true);
    expect(kept({ includes: { arches: ["amd64"] } }, { abi: "aarch64" })).toBe(false);
    expect(kept({ includes: { arches: ["arm64"] } }, { abi: "aarch64" })).toBe(true);
    expect(kept({ excludes: { arches: ["amd64"] } })).toBe(false);
    expect(kept({ excludes: { arches: ["s390x"] } })).toBe(true);
  });
  test("minKernel compares numbers, not text", () => {
    for (const [minKernel, yes] of [
      ["6.1", true],
      ["6.0", true],
      ["5.99", true],
      ["6.2", false],
      ["6.10", false],
      ["10.0", false],
    ] as const) {
      expect(kept({ includes: { minKernel } })).toBe(yes);
      expect(kept({ excludes: { minKernel } })).toBe(!yes);
    }
  });
  test("a capability newer than all known is one that nobody has", () => {
    expect(kept({ includes: { caps: ["CAP_QUANTUM_TUNNEL"] } })).toBe(false);
  });
  test("kernel releases", () => {
    expect(kernelVersion("6.18.44-fc-v445")).toEqual({ major: 6, minor: 18 });
    expect(() => kernelVersion("linux")).toThrow("unknown kernel release");
  });
});

describe("numbers", () => {
  const text = (value: string) =>
    `{"defaultAction":"SCMP_ACT_ERRNO","syscalls":[{"name":"read","action":"SCMP_ACT_ALLOW","args":[{"index":0,"op":"SCMP_CMP_EQ","value":${value}}]}]}`;
  const value = (number: string) => resolve(parseProfile(text(number)))!.syscalls![0]!.args![0]!.value;
  test("all 64 bits survive parseProfile", () => {
    expect(value("18446744073709551615")).toBe(2n ** 64n - 1n);
    expect(value("9007199254740993")).toBe(2n ** 53n + 1n);
    expect(value("9007199254740991")).toBe(2 ** 53 - 1);
  });
  test("what is no u64, or not exact any more, is refused", () => {
    for (const bad of ["18446744073709551616", "-1", "1.5", "1e30", '"5"', "true"]) {
      expect(() => value(bad)).toThrow("syscalls[0].args[0].value");
    }
    expect(() => resolve(JSON.parse(text("18446744073709551615")))).toThrow("not read exactly");
  });
  test("text that is too long or no JSON", () => {
    expect(() => parseProfile("{")).toThrow("not valid JSON");
    expect(() => parseProfile(" ".repeat(2 ** 20 + 1))).toThrow("over 1048576 bytes");
    expect(() => resolve(parseProfile("[".repeat(200_000) + "]".repeat(200_000)))).toThrow(InroError);
  });
});

describe("errors name the place and the nearest value", () => {
  const E = "SCMP_ACT_ERRNO";
  const cases: [string, unknown, string][] = [
    ["profile", null, "the profile: is not an object"],
    ["list", [], "the profile: is not an object"],
    ["no default", { syscalls: [{ name: "read", action: E }] }, "defaultAction: is missing"],
    [
      "action",
      { defaultAction: "SCMP_ACT_ALOW" },
      'defaultAction: unknown value "SCMP_ACT_ALOW" (did you mean SCMP_ACT_ALLOW?)',
    ],
    [
      "rule action",
      withRule({ action: "SCMP_ACT_LOGG" }),
      'syscalls[0].action: unknown value "SCMP_ACT_LOGG" (did you mean SCMP_ACT_LOG?)',
    ],
    ["no action", withRule({ action: "" }), "syscalls[0].action: is missing"],
    ["op", withRule({ args: [{ index: 0, value: 1, op: "SCMP_CMP_EG" }] }), "syscalls[0].args[0].op: unknown value"],
    [
      "index",
      withRule({ args: [{ index: 6, value: 1, op: "SCMP_CMP_EQ" }] }),
      "syscalls[0].args[0].index: 6 is not a number from 0 to 5",
    ],
    [
      "arch",
      { defaultAction: E, architectures: ["SCMP_ARCH_X86_46"] },
      'architectures[0]: unknown value "SCMP_ARCH_X86_46" (did you mean SCMP_ARCH_X86_64?)',
    ],
    [
      "two arch lists",
      { defaultAction: E, architectures: ["SCMP_ARCH_X86"], archMap: [{ architecture: "SCMP_ARCH_X86" }] },
      "cannot stand beside archMap",
    ],
    ["flag", { defaultAction: E, flags: ["SECCOMP_FILTER_FLAG_LOGS"] }, "did you mean SECCOMP_FILTER_FLAG_LOG?"],
    [
      "cap",
      withRule({ excludes: { caps: ["CAP_SYS_ADMNI"] } }),
      'syscalls[0].excludes.caps[0]: unknown value "CAP_SYS_ADMNI" (did you mean CAP_SYS_ADMIN?)',
    ],
    ["condition arch", withRule({ includes: { arches: ["amd46"] } }), "(did you mean amd64?)"],
    ["minKernel", withRule({ includes: { minKernel: "4.8.1" } }), "syscalls[0].includes.minKernel"],
    ["minKernel 0.0", withRule({ includes: { minKernel: "0.0" } }), "syscalls[0].includes.minKernel"],
    ["key", withRule({ arg: [] }), 'syscalls[0]: unknown key "arg" (did you mean args?)'],
    ["no name", withRule({ names: [] }), "syscalls[0]: names no system call"],
    ["two names", withRule({ name: "read" }), "syscalls[0].name: cannot stand beside names"],
    ["odd name", withRule({ names: ["re ad"] }), "syscalls[0].names[0]"],
    ["errno with allow", withRule({ errnoRet: 1 }), "syscalls[0].errnoRet: SCMP_ACT_ALLOW takes no errno"],
    ["errno too large", withRule({ action: E, errnoRet: 4096 }), "4096 is not a number from 0 to 4095"],
    [
      "default errno",
      { defaultAction: "SCMP_ACT_KILL", defaultErrnoRet: 1 },
      "defaultErrnoRet: SCMP_ACT_KILL takes no errno",
    ],
    ["metadata alone", { defaultAction: E, listenerMetadata: "x" }, "listenerMetadata: needs a listenerPath"],
    ["relative listener", { defaultAction: E, listenerPath: "x" }, "listenerPath: is not an absolute path"],
    [
      "too many rules",
      { defaultAction: E, syscalls: new Array(10_001).fill({ name: "read", action: E }) },
      "more than 10000",
    ],
  ];
  for (const [name, profile, message] of cases) {
    test(name, () => {
      expect(() => resolve(profile)).toThrow(message);
      expect(() => resolve(profile)).toThrow(InroError);
    });
  }
});

test("any JSON resolves or is refused as invalid", () => {
  const key = fc.constantFrom("names", "name", "action", "args", "includes", "caps", "index", "value", "op", "x");
  const word = fc.constantFrom("read", "SCMP_ACT_ALLOW", "SCMP_CMP_EQ", "CAP_CHOWN", "amd64", "4.8", "");
  const { tree } = fc.letrec<{ tree: unknown }>((tie) => ({
    tree: fc.oneof(
      { maxDepth: 4 },
      word,
      fc.jsonValue({ maxDepth: 1 }),
      fc.array(tie("tree"), { maxLength: 3 }),
      fc.dictionary(key, tie("tree"), { maxKeys: 4 }),
    ),
  }));
  fc.assert(
    fc.property(tree, fc.array(tree, { maxLength: 3 }), (value, syscalls) => {
      for (const profile of [value, { defaultAction: "SCMP_ACT_ERRNO", syscalls }]) {
        try {
          resolve(profile);
        } catch (error) {
          expect(error).toBeInstanceOf(InroError);
        }
      }
    }),
    { numRuns: 300 },
  );
});
