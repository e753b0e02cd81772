import { invalid, notImplemented } from "../../base/errors.ts";
import { parseProfile, resolveProfile } from "../../security/seccomp/profile.ts";
import type { Seccomp } from "../../spec/oci-runtime.ts";
import type { HostFacts } from "./host-facts.ts";

export interface SecurityOptions {
  noNewPrivileges: boolean;
  /** As asked for; the choice of the default is left to the spec. */
  seccomp: { kind: "default" } | { kind: "builtin" } | { kind: "unconfined" } | { kind: "custom"; profile: unknown };
  /** AppArmor profile; undefined: none was asked for. "unconfined" is a profile's name too. */
  apparmor?: string;
  writableCgroups: boolean;
  /** No masked and no read-only paths. */
  unconfinedPaths: boolean;
}

const PROFILE_NAME = /^[A-Za-z0-9_./:+@{}*-]{1,255}$/;

function flag(value: string | undefined, option: string): boolean {
  if (value === undefined || value === "true" || value === "1") return true;
  if (value === "false" || value === "0") return false;
  throw invalid(`invalid --security-opt: ${JSON.stringify(option.slice(0, 128))}`);
}

/**
 * HostConfig.SecurityOpt, `name=value` (older clients separate with a colon). Throws invalid; what needs a security
 * module that the host does not have is refused too.
 */
export function parseSecurityOptions(options: readonly string[], facts: HostFacts): SecurityOptions {
  const result: SecurityOptions = {
    noNewPrivileges: false,
    seccomp: { kind: "default" },
    writableCgroups: false,
    unconfinedPaths: false,
  };
  for (const option of options) {
    const separator = option.includes("=") ? "=" : ":";
    const at = option.indexOf(separator);
    const name = at < 0 ? option : option.slice(0, at);
    const value = at < 0 ? undefined : option.slice(at + 1);
    if (name === "no-new-privileges") result.noNewPrivileges = flag(value, option);
    else if (name === "writable-cgroups") result.writableCgroups = flag(value, option);
    else if (name === "disable" && value === undefined) continue;
    else if (name === "seccomp" && value) result.seccomp = seccomp(value, facts);
    else if (name === "apparmor" && value) result.apparmor = apparmor(value, facts);
    else if (name === "label" && value) label(value, facts);
    else if (name === "systempaths" && value === "unconfined") result.unconfinedPaths = true;
    else throw invalid(`invalid --security-opt: ${JSON.stringify(option.slice(0, 128))}`);
  }
  return result;
}

function seccomp(value: string, facts: HostFacts): SecurityOptions["seccomp"] {
  if (value === "unconfined") return { kind: "unconfined" };
  if (!facts.seccomp) throw invalid("seccomp is not enabled in your kernel, cannot run a custom seccomp profile");
  if (value === "builtin") return { kind: "builtin" };
  const profile = parseProfile(value);
  // Only for its errors: the conditions are decided when the capabilities are known.
  resolveProfile(profile, { caps: [], abi: facts.abi, kernel: facts.kernel });
  if ((profile as Seccomp).syscalls?.some(({ action }) => action === "SCMP_ACT_NOTIFY")) {
    throw notImplemented("seccomp profile: SCMP_ACT_NOTIFY: the engine hands no listener to an agent yet");
  }
  return { kind: "custom", profile };
}

function apparmor(value: string, facts: HostFacts): string {
  if (value === "unconfined") return value;
  if (!PROFILE_NAME.test(value)) throw invalid(`invalid AppArmor profile name ${JSON.stringify(value.slice(0, 128))}`);
  if (!facts.apparmor)
    throw invalid(`AppArmor is not supported on this host, but the profile '${value}' was specified`);
  return value;
}

function label(value: string, facts: HostFacts): void {
  if (value === "disable") return;
  if (!/^(user|role|type|level|filetype):.+$/.test(value) && value !== "nested") {
    throw invalid(`bad SELinux option ${JSON.stringify(value.slice(0, 128))}`);
  }
  if (!facts.selinux)
    throw invalid(`SELinux is not enabled on this host, but the label '${value.slice(0, 128)}' was specified`);
  throw notImplemented("SELinux labels are not supported yet, use label=disable");
}
