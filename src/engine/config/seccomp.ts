import { defaultProfile, resolveProfile } from "../../security/seccomp/profile.ts";
import type { Seccomp } from "../../spec/oci-runtime.ts";
import type { HostFacts } from "./host-facts.ts";
import type { SecurityOptions } from "./security-options.ts";

/** linux.seccomp: what was asked for, else the default profile, which a privileged container goes without. */
export function containerSeccomp(
  security: SecurityOptions,
  privileged: boolean,
  capabilities: string[],
  facts: HostFacts,
): Seccomp | undefined {
  const context = { caps: capabilities, abi: facts.abi, kernel: facts.kernel };
  const { seccomp } = security;
  if (seccomp.kind === "unconfined" || !facts.seccomp) return undefined;
  if (seccomp.kind === "custom") return resolveProfile(seccomp.profile, context);
  return seccomp.kind === "default" && privileged ? undefined : defaultProfile(context);
}
