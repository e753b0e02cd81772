import { closeSync, constants, fstatSync, openSync, readFileSync, statSync } from "node:fs";
import { codeOf, invalid, messageOf } from "../../base/errors.ts";
import { trySys } from "../../linux/call.ts";
import type { IdMapping, NamespaceType, Spec } from "../../spec/oci-runtime.ts";
import { NAMESPACE_FILE, NAMESPACE_FLAG } from "../namespaces.ts";
import { inUserNamespaceOf } from "../userns.ts";
import { namespaceOfSysctl } from "./check-namespaces.ts";

/**
 * Opens the namespaces that the config names by path: their descriptors by type, which the caller closes. A path that is
 * none, or one of another type, or what the config may not do in the runtime's own, is an invalid-argument error.
 */
export function openNamespaces(spec: Spec): Map<NamespaceType, number> {
  const opened = new Map<NamespaceType, number>();
  try {
    for (const { type, path } of spec.linux?.namespaces ?? []) {
      if (!path) continue;
      const fd = openNamespace(type, path);
      opened.set(type, fd);
      if (isOurs(fd, type)) checkOurs(spec, type, path);
    }
    const user = opened.get("user");
    if (user !== undefined) checkMappings(spec, user);
    return opened;
  } catch (error) {
    for (const fd of opened.values()) closeSync(fd);
    throw error;
  }
}

/** ioctl_nsfs(2). */
const NS_GET_NSTYPE = 0xb703;

function openNamespace(type: NamespaceType, path: string): number {
  const at = `config.json: linux.namespaces: ${type} ${path}`;
  let fd: number;
  try {
    // A FIFO would wait for its writer.
    fd = openSync(path, constants.O_RDONLY | constants.O_NONBLOCK | constants.O_NOCTTY);
  } catch (error) {
    const gone = codeOf(error) === "ENOENT" && /^\/proc\/\d+\/(task\/\d+\/)?ns\//.test(path);
    throw invalid(`${at}: ${messageOf(error)}${gone ? "; has the process ended?" : ""}`, error);
  }
  const found = trySys("ioctl", fd, NS_GET_NSTYPE);
  if (found === NAMESPACE_FLAG[type]) return fd;
  closeSync(fd);
  const name = Object.entries(NAMESPACE_FLAG).find(([, flag]) => flag === found)?.[0];
  throw invalid(`${at}: is ${name ? `a namespace of type ${name}` : "no namespace"}`);
}

function isOurs(fd: number, type: NamespaceType): boolean {
  const [theirs, ours] = [fstatSync(fd), statSync(`/proc/self/ns/${NAMESPACE_FILE[type]}`)];
  return theirs.ino === ours.ino && theirs.dev === ours.dev;
}

/** Named by path, the runtime's own namespace is the host's all the same. */
function checkOurs(spec: Spec, type: NamespaceType, path: string): void {
  const at = `config.json: linux.namespaces: ${type} ${path}: is the runtime's own`;
  if (type === "user") throw invalid(`${at}, which cannot be joined; leave the entry out`);
  for (const key in spec.linux?.sysctl) {
    if (namespaceOfSysctl(key) === type) throw invalid(`${at}: sysctl ${key} not allowed in host ${type} namespace`);
  }
  if (type === "uts" && (spec.hostname || spec.domainname))
    throw invalid(`${at}: hostname, domainname: not allowed there`);
  if (type === "network" && Object.keys(spec.linux?.netDevices ?? {}).length > 0) {
    throw invalid(`${at}: linux.netDevices: not allowed there`);
  }
}

/** Beside a path, mappings may only say what the namespace has. */
function checkMappings(spec: Spec, user: number): void {
  const { uidMappings, gidMappings } = spec.linux!;
  if (!uidMappings?.length && !gidMappings?.length) return;
  const same = inUserNamespaceOf(user, (pid) =>
    (
      [
        ["uid_map", uidMappings],
        ["gid_map", gidMappings],
      ] as const
    ).every(([file, wanted]) => {
      const lines = readFileSync(`/proc/${pid}/${file}`, "latin1").trim().split("\n").filter(Boolean);
      const found = lines.map((line) => line.trim().split(/\s+/).join(" "));
      const given = (wanted ?? []).map((m: IdMapping) => `${m.containerID} ${m.hostID} ${m.size}`);
      return found.toSorted().join() === given.toSorted().join();
    }),
  );
  if (!same) {
    throw invalid(
      "config.json: linux.uidMappings, linux.gidMappings: user namespaces enabled, but both namespace path and non-matching mapping specified -- you may only provide one",
    );
  }
}
