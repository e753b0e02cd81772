import { availableCapabilities, capabilityNumber } from "../../security/capabilities.ts";
import type { Process, Spec } from "../../spec/oci-runtime.ts";

/**
 * The process with only those capabilities that this one has to give; `warn` hears of the others, which are no error
 * (config.md, "Linux Process"). A user namespace has them all.
 */
export function withGrantable(process: Process, spec: Spec, warn: (message: string) => void): Process {
  const { capabilities } = process;
  if (!capabilities || spec.linux?.namespaces?.some(({ type }) => type === "user")) return process;
  const own = new Set(availableCapabilities());
  const lost = new Set<string>();
  const granted = Object.entries(capabilities).map(([set, names]: [string, readonly string[]]) => [
    set,
    names.filter((name) => {
      if (own.has(name) || capabilityNumber(name) === undefined) return true;
      lost.add(name);
      return false;
    }),
  ]);
  if (lost.size === 0) return process;
  warn(`process.capabilities: ${[...lost].join(", ")} cannot be granted: the runtime does not have them itself`);
  return { ...process, capabilities: Object.fromEntries(granted) };
}
