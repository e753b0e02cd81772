import { invalid } from "../base/errors.ts";
import type { Linux } from "../spec/oci-runtime.ts";
import type { Builder } from "./builder.ts";
import { parseBitList } from "./cpu-list.ts";

/** linux.personality and linux.memoryPolicy (config-linux.md): of the container's processes, exec'd ones too. */
export type Execution = Pick<Linux, "personality" | "memoryPolicy">;

/** linux/personality.h. */
const DOMAINS: Record<string, number> = { LINUX: 0, LINUX32: 8 };
/** linux/mempolicy.h; the index is the number. */
const MODES = "DEFAULT PREFERRED BIND INTERLEAVE LOCAL PREFERRED_MANY WEIGHTED_INTERLEAVE"
  .split(" ")
  .map((name) => `MPOL_${name}`);
const MODE_FLAGS: Record<string, number> = {
  MPOL_F_NUMA_BALANCING: 1 << 13,
  MPOL_F_RELATIVE_NODES: 1 << 14,
  MPOL_F_STATIC_NODES: 1 << 15,
};
/** Of CONFIG_NODES_SHIFT, 10 at most. */
const MAX_NODES = 1024;

export const MEMORY_POLICY_MODES: readonly string[] = MODES;
export const MEMORY_POLICY_FLAGS: readonly string[] = Object.keys(MODE_FLAGS);

/** The number for personality(2); what it has none for is an invalid-argument error. */
export function personalityNumber({ domain, flags }: NonNullable<Linux["personality"]>): number {
  const number = Object.hasOwn(DOMAINS, domain) ? DOMAINS[domain] : undefined;
  if (number === undefined)
    throw invalid(`linux.personality.domain: unknown ${JSON.stringify(domain)}; known: LINUX LINUX32`);
  if (flags?.length) throw invalid(`linux.personality.flags: unknown ${JSON.stringify(flags[0])}; there are none yet`);
  return number;
}

/** Mode and nodes for set_mempolicy(2); no nodes are an empty mask. Contradictions are invalid-argument errors. */
export function memoryPolicyArguments(policy: NonNullable<Linux["memoryPolicy"]>): { mode: number; nodes: Uint8Array } {
  const at = "linux.memoryPolicy";
  const { mode, flags = [] } = policy;
  const nodes = policy.nodes?.trim() ?? "";
  let number = MODES.indexOf(mode);
  if (number < 0) throw invalid(`${at}.mode: unknown ${JSON.stringify(mode)}; known: ${MODES.join(" ")}`);
  for (const flag of flags) {
    const bit = Object.hasOwn(MODE_FLAGS, flag) ? MODE_FLAGS[flag]! : 0;
    if (!bit) {
      throw invalid(`${at}.flags: unknown ${JSON.stringify(flag)}; known: ${MEMORY_POLICY_FLAGS.join(" ")}`);
    }
    number |= bit;
  }
  if (flags.includes("MPOL_F_RELATIVE_NODES") && flags.includes("MPOL_F_STATIC_NODES")) {
    throw invalid(`${at}.flags: MPOL_F_RELATIVE_NODES and MPOL_F_STATIC_NODES exclude each other`);
  }
  const takesNone = mode === "MPOL_DEFAULT" || mode === "MPOL_LOCAL";
  if (takesNone && nodes) throw invalid(`${at}.nodes: ${mode} takes none`);
  if (!takesNone && mode !== "MPOL_PREFERRED" && !nodes) throw invalid(`${at}.nodes: ${mode} needs some`);
  return { mode: number, nodes: nodes ? parseBitList(`${at}.nodes`, nodes, MAX_NODES) : new Uint8Array() };
}

/** Invalid-argument errors for what {@link setExecution} could not encode. */
export function checkExecution({ personality, memoryPolicy }: Execution): void {
  if (personality) personalityNumber(personality);
  if (memoryPolicy) memoryPolicyArguments(memoryPolicy);
}

export function setExecution(p: Builder, { personality, memoryPolicy }: Execution): void {
  if (personality) {
    const why = `linux.personality ${personality.domain}`;
    p.call(why, "personality", [personalityNumber(personality)]);
  }
  if (memoryPolicy) {
    const { mode, nodes } = memoryPolicyArguments(memoryPolicy);
    const mask = nodes.length ? p.bytes(nodes, policyNodes(memoryPolicy)) : 0;
    // The kernel reads one bit less than it is told.
    p.call(`linux.memoryPolicy ${memoryPolicy.mode}`, "set_mempolicy", [mode, mask, nodes.length * 8 + 1]);
  }
}

const policyNodes = (policy: NonNullable<Linux["memoryPolicy"]>) => policy.nodes ?? "";
