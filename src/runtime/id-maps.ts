import { readFileSync, writeFileSync } from "node:fs";
import { invalid, messageOf, unavailable } from "../base/errors.ts";
import { CAP, hasCapability, userName } from "../linux/rights.ts";
import type { IdMapping } from "../spec/oci-runtime.ts";

/** The two kinds of ids: what maps them, and who may. */
interface Kind {
  file: "uid_map" | "gid_map";
  property: string;
  capability: number;
  own(): number | undefined;
  /** The setuid program that maps what the file of ranges gives to a user (newuidmap(1), subuid(5)). */
  helper: string;
  ranges: string;
}

const UID: Kind = {
  file: "uid_map",
  property: "linux.uidMappings",
  capability: CAP.setuid,
  own: () => process.geteuid?.(),
  helper: "newuidmap",
  ranges: "/etc/subuid",
};

const GID: Kind = {
  file: "gid_map",
  property: "linux.gidMappings",
  capability: CAP.setgid,
  own: () => process.getegid?.(),
  helper: "newgidmap",
  ranges: "/etc/subgid",
};

/**
 * Writes the maps of the new user namespace of `pid`, as user_namespaces(7) has it: with CAP_SETUID and CAP_SETGID any;
 * without, a line that maps nothing but one's own id; all else through newuidmap(1) and newgidmap(1). What they refuse
 * is an invalid-argument error, their absence an unavailable one.
 */
export function writeIdMaps(pid: number, uids: readonly IdMapping[], gids: readonly IdMapping[]): void {
  map(pid, UID, uids);
  map(pid, GID, gids);
}

/**
 * All that the user running this may map: root is himself, what follows are his ranges in /etc/subuid and /etc/subgid
 * (subuid(5)). `missing` says what of it is not there; then root is the only id.
 */
export function ownIdMappings(): { uids: IdMapping[]; gids: IdMapping[]; missing?: string } {
  const alone = (kind: Kind): IdMapping[] => [{ containerID: 0, hostID: kind.own()!, size: 1 }];
  const only = (missing: string) => ({ uids: alone(UID), gids: alone(GID), missing });
  const all = [UID, GID].map((kind) => {
    const mappings = alone(kind);
    for (const [first, count] of ownRanges(kind)) {
      const { containerID, size } = mappings.at(-1)!;
      if (count > 0) mappings.push({ containerID: containerID + size, hostID: first, size: count });
    }
    return mappings;
  });
  const [uids, gids] = all as [IdMapping[], IdMapping[]];
  const helpers = [UID, GID].filter((kind) => helperPath(kind) === null).map((kind) => kind.helper);
  if (helpers.length > 0) return only(`${helpers.join(" and ")} not installed: apt install uidmap`);
  const files = [UID, GID].filter((_, i) => all[i]!.length < 2).map((kind) => kind.ranges);
  if (files.length === 0) return { uids, gids };
  const name = userName(UID.own()!) ?? String(UID.own());
  return only(
    `no range of ids for ${name} in ${files.join(" and ")}: usermod --add-subuids 100000-165535 --add-subgids 100000-165535 ${name}`,
  );
}

/** Whether `gids` can be mapped only at the price of setgroups(2), which the namespace then refuses for good. */
export function losesSetgroups(gids: readonly IdMapping[]): boolean {
  return !hasCapability(GID.capability) && isOwn(GID, gids);
}

function isOwn(kind: Kind, mappings: readonly IdMapping[]): boolean {
  return mappings.length === 1 && mappings[0]!.size === 1 && mappings[0]!.hostID === kind.own();
}

function map(pid: number, kind: Kind, mappings: readonly IdMapping[]): void {
  if (!hasCapability(kind.capability)) {
    if (!isOwn(kind, mappings)) {
      mapByHelper(pid, kind, mappings);
      return;
    }
    // CVE-2014-8989: else a user could drop a group that is there to deny something.
    if (kind === GID) writeFileSync(`/proc/${pid}/setgroups`, "deny");
  }
  const lines = mappings.map((m) => `${m.containerID} ${m.hostID} ${m.size}\n`).join("");
  try {
    // The kernel takes a map in one write, once.
    writeFileSync(`/proc/${pid}/${kind.file}`, lines);
  } catch (error) {
    const shown = lines.trimEnd().replaceAll("\n", ", ");
    throw invalid(`user namespace: ${kind.file} ${JSON.stringify(shown)}: ${messageOf(error)}`, error);
  }
}

function mapByHelper(pid: number, kind: Kind, mappings: readonly IdMapping[]): void {
  const path = helperPath(kind);
  if (path === null) {
    throw unavailable(
      `${kind.property}: ${kind.helper} is not installed, and a plain user can map no more than its own id without it: ` +
        `apt install uidmap, or map the one id ${kind.own()}`,
    );
  }
  const args = mappings.flatMap((m) => [m.containerID, m.hostID, m.size].map(String));
  const { success, stderr, exitCode } = Bun.spawnSync([path, String(pid), ...args], { stdin: "ignore" });
  if (success) return;
  const said = stderr.toString().trim().split("\n").slice(-3).join("; ").slice(0, 500) || `exit status ${exitCode}`;
  const needed = missingLines(kind, mappings);
  const hint = needed.length > 0 ? `; ${kind.ranges} needs ${needed.map((line) => `"${line}"`).join(" and ")}` : "";
  throw invalid(`${kind.property}: ${said.startsWith(kind.helper) ? said : `${kind.helper}: ${said}`}${hint}`);
}

const helperPath = ({ helper }: Kind) =>
  Bun.which(helper) ?? Bun.which(helper, { PATH: "/usr/bin:/bin:/usr/local/bin" });

/** The lines that would allow the mappings, of those that the file of ranges does not have. */
function missingLines(kind: Kind, mappings: readonly IdMapping[]): string[] {
  const name = userName(UID.own()!);
  const given = ownRanges(kind);
  return mappings
    .filter((m) => !(m.size === 1 && m.hostID === kind.own()))
    .filter((m) => !given.some(([first, count]) => m.hostID >= first && m.hostID + m.size <= first + count))
    .map((m) => `${name ?? UID.own()}:${m.hostID}:${m.size}`);
}

function ownRanges(kind: Kind): [first: number, count: number][] {
  const uid = UID.own()!;
  const name = userName(uid);
  return readRanges(kind.ranges, [String(uid), ...(name === undefined ? [] : [name])]);
}

/** subuid(5): `user:first:count`, the user by name or number. */
function readRanges(path: string, users: readonly string[]): [first: number, count: number][] {
  let text: string;
  try {
    text = readFileSync(path, "utf8");
  } catch {
    return [];
  }
  return text
    .split("\n")
    .map((line) => line.split(":"))
    .filter((fields) => fields.length === 3 && users.includes(fields[0]!))
    .map(([, first, count]) => [Number(first), Number(count)]);
}
