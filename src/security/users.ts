import { invalid } from "../base/errors.ts";
import { readRootFile } from "./root-file.ts";

/** Contents of /etc/passwd and /etc/group of an image; undefined where it has none. */
export interface UserFiles {
  passwd: string | undefined;
  group: string | undefined;
}

/** Who a container's process is. */
export interface ResolvedUser {
  uid: number;
  gid: number;
  /** Starts with `gid`. */
  additionalGids: number[];
  /** For HOME when the container sets none; `/` if the user has none. */
  home: string;
}

/** A user or group as written: a number counts as an id, never as a name. */
export type Id = { id: number } | { name: string };

/** Both parts absent: the default user. */
export interface UserSpec {
  user?: Id;
  group?: Id;
}

const MAX_ID = 2 ** 31 - 1;
const MAX_FILE = 1 << 20;
const MAX_NAME = 256;
const MAX_HOME = 4096;
/** NGROUPS_MAX (linux/limits.h). */
const MAX_GROUPS = 65536;

/** `user[:group]`, each a name or number; a number outside 0..2^31-1 is an invalid-argument error. */
export function parseUserSpec(spec: string): UserSpec {
  const colon = spec.indexOf(":");
  const user = parseId(colon < 0 ? spec : spec.slice(0, colon));
  const group = parseId(colon < 0 ? "" : spec.slice(colon + 1));
  return { ...(user && { user }), ...(group && { group }) };
}

function parseId(text: string): Id | undefined {
  if (text === "") return undefined;
  if (text.length > MAX_NAME) throw invalid(`user or group name is longer than ${MAX_NAME} characters`);
  if (!/^[+-]?\d+$/.test(text)) return { name: text };
  const id = Number(text);
  if (!inRange(id)) throw invalid(`uids and gids must be in range 0-${MAX_ID}`);
  return { id };
}

const inRange = (id: number) => Number.isInteger(id) && id >= 0 && id <= MAX_ID;

/**
 * Finds the user of `spec` as Docker does. An id needs no entry in passwd (gid 0 then); a name does. Groups that list
 * the user in the group file are added if passwd knows the user and `spec` names no group; those of `groupAdd` (names
 * or ids) always are. An unknown name or an id out of range is an invalid-argument error. The files are hostile: odd
 * lines are skipped.
 */
export function resolveUser(files: UserFiles, spec: string, groupAdd: readonly string[] = []): ResolvedUser {
  const { user = { id: 0 }, group } = parseUserSpec(spec);
  const entry = find(passwdEntries(files.passwd), (e) => ("id" in user ? e.uid === user.id : e.name === user.name));
  if (!entry && "name" in user) {
    throw invalid(`unable to find user ${user.name}: no matching entries in passwd file`);
  }
  const groups = group || entry || groupAdd.length > 0 ? [...groupEntries(files.group)] : [];
  const uid = entry?.uid ?? (user as { id: number }).id;
  const gid = group ? findGroup(groups, group) : (entry?.gid ?? 0);

  // The main group is listed too: otherwise a process could shed it and with it a denial by group (CVE-2022-36109).
  const gids = new Set([gid]);
  if (entry && !group) {
    for (const g of groups) if (g.members.includes(entry.name)) gids.add(g.gid);
  }
  for (const text of groupAdd) {
    const id = parseId(text);
    if (!id) throw invalid("empty name of a supplementary group");
    gids.add(findGroup(groups, id));
  }
  if (gids.size > MAX_GROUPS) throw invalid(`user ${spec}: more than ${MAX_GROUPS} groups`);
  return { uid, gid, additionalGids: [...gids], home: entry?.home || "/" };
}

/** /etc/passwd and /etc/group below a root directory; see {@link readRootFile}. */
export function readUserFiles(rootfd: number): UserFiles {
  return { passwd: readRootFile(rootfd, "/etc/passwd"), group: readRootFile(rootfd, "/etc/group") };
}

interface PasswdEntry {
  name: string;
  uid: number;
  gid: number;
  home: string;
}

interface GroupEntry {
  name: string;
  gid: number;
  members: string[];
}

function findGroup(groups: readonly GroupEntry[], wanted: Id): number {
  if ("id" in wanted) return wanted.id;
  const entry = groups.find((g) => g.name === wanted.name);
  if (!entry) throw invalid(`unable to find group ${wanted.name}: no matching entries in group file`);
  return entry.gid;
}

function find<T>(items: Iterable<T>, matches: (item: T) => boolean): T | undefined {
  for (const item of items) if (matches(item)) return item;
  return undefined;
}

/** name:password:uid:gid:comment:home:shell (passwd(5)). */
function* passwdEntries(text: string | undefined): Generator<PasswdEntry> {
  for (const [name, , uid, gid, , home = ""] of lines(text)) {
    const entry = { name: name!, uid: fileId(uid), gid: fileId(gid), home: safeHome(home) };
    if (inRange(entry.uid) && inRange(entry.gid)) yield entry;
  }
}

/** name:password:gid:member,member (group(5)). */
function* groupEntries(text: string | undefined): Generator<GroupEntry> {
  for (const [name, , gid, members = ""] of lines(text)) {
    const entry = { name: name!, gid: fileId(gid), members: members.split(",") };
    if (inRange(entry.gid)) yield entry;
  }
}

function* lines(text: string | undefined): Generator<string[]> {
  if (text === undefined) return;
  if (text.length > MAX_FILE) throw invalid(`passwd or group file is larger than ${MAX_FILE} bytes`);
  for (const line of text.split("\n")) {
    const trimmed = line.trim();
    if (trimmed === "" || trimmed.startsWith("#")) continue;
    const fields = trimmed.split(":");
    if (fields[0] !== "") yield fields;
  }
}

/** Unlike Docker, which takes an unreadable id for 0 and so makes root of a broken line: NaN. */
function fileId(field: string | undefined): number {
  return field !== undefined && /^\d{1,10}$/.test(field) ? Number(field) : Number.NaN;
}

function safeHome(home: string): string {
  return home.length > MAX_HOME || home.includes("\0") ? "" : home;
}
