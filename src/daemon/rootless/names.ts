import { readFileSync, realpathSync, writeFileSync } from "node:fs";
import { join } from "node:path";
import { unescapeOctal } from "../../cgroups/hierarchy.ts";
import { sys } from "../../linux/call.ts";
import * as k from "../../linux/constants.ts";
import { scratch, str } from "../../linux/ffi.ts";

const FILE = "/etc/resolv.conf";
const LOOPBACK = /^\s*nameserver\s+(127\.|::1\b)/;

/**
 * Where the machine's name servers are on its loopback (systemd-resolved), nobody finds them in another network namespace:
 * then the engine, and all that reads this file in its mount namespace, ask `dns`, the uplink's, which asks them.
 */
export function useNameServer(dns: string, execRoot: string): void {
  let lines: string[];
  try {
    lines = readFileSync(FILE, "utf8").split("\n");
  } catch {
    return;
  }
  const servers = lines.filter((line) => /^\s*nameserver\s/.test(line));
  if (servers.some((line) => !LOOPBACK.test(line))) return;
  const file = realpathSync(FILE);
  const mounted = readFileSync("/proc/self/mountinfo", "utf8")
    .split("\n")
    .map((line) => unescapeOctal(line.split(" ")[4] ?? ""));
  if (mounted.includes(file)) return;
  const own = join(execRoot, "resolv.conf");
  const others = lines.filter((line) => !servers.includes(line));
  writeFileSync(own, [`nameserver ${dns}`, ...others].join("\n"), { mode: 0o644 });
  scratch(() => sys("mount", file, str(own), str(file), 0, k.MS_BIND, 0));
}
