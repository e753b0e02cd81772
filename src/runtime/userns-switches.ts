import { readFileSync } from "node:fs";

/** Switches of the machine that forbid user namespaces: the value that does it, and what it says. */
const SWITCHES: Readonly<Record<string, readonly [value: string, what: string]>> = {
  "user.max_user_namespaces": ["0", "=0: no user namespaces at all (sysctl -w user.max_user_namespaces=28633)"],
  "kernel.unprivileged_userns_clone": ["0", "=0: none for plain users (sysctl -w kernel.unprivileged_userns_clone=1)"],
  "kernel.apparmor_restrict_unprivileged_userns": [
    "1",
    "=1: none with rights for plain users whose program has no AppArmor profile with `userns,`",
  ],
};

/** The switches that are off on this machine and how to turn them on; undefined where none is. */
export function forbiddenUserNamespaces(read: (name: string) => string | undefined = readSwitch): string | undefined {
  const found = Object.entries(SWITCHES)
    .filter(([name, [value]]) => read(name) === value)
    .map(([name, [, what]]) => `${name}${what}`);
  return found.length > 0 ? found.join("; ") : undefined;
}

function readSwitch(name: string): string | undefined {
  try {
    return readFileSync(`/proc/sys/${name.replaceAll(".", "/")}`, "latin1").trim();
  } catch {
    return undefined;
  }
}

/** The likely cause of a refused unshare(CLONE_NEWUSER), by its errno's name. */
export function whyNoUserNamespace(code: string): string {
  const forbidden = forbiddenUserNamespaces();
  if (forbidden !== undefined) return forbidden;
  if (code === "ENOSPC") return "user.max_user_namespaces, here or in a namespace above, is reached";
  if (code === "EUSERS") return "user namespaces are nested too deep (32)";
  return "a seccomp filter or a security module over this process forbids user namespaces";
}
