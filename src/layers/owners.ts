import { invalid } from "../base/errors.ts";

/** Ids of a user namespace: `hostID` is the host's number of its 0. */
export interface IdRange {
  hostID: number;
  size: number;
}

/** Whom files belong to that are none of the namespace's (overflowuid, user_namespaces(7)). */
const NOBODY = 65534;

/** The container's number of a host id. */
export function fromHost(id: number, range: IdRange | undefined): number {
  if (!range) return id;
  const inside = id - range.hostID;
  return inside >= 0 && inside < range.size ? inside : NOBODY;
}

/** The host's number of a container's id; one that the namespace does not have is invalid. */
export function toHost(id: number, range: IdRange | undefined): number {
  if (!range) return id;
  if (id >= range.size) throw invalid(`owner ${id} is outside of the user namespace, which has ${range.size} ids`);
  return range.hostID + id;
}

/**
 * Xattrs with the ids of a namespace in place of the host's: file capabilities that hold in the namespace become plain
 * ones (capabilities(7), "Namespaced file capabilities"), and ACLs name its users (acl(5)).
 */
export function xattrsFromHost(xattrs: Map<string, Buffer>, range: IdRange | undefined): Map<string, Buffer> {
  if (!range || xattrs.size === 0) return xattrs;
  return new Map([...xattrs].map(([name, value]) => [name, fromHostValue(name, value, range)]));
}

/** struct vfs_ns_cap_data and vfs_cap_data, linux/capability.h. */
const NAMESPACED = { revision: 0x0300_0000, length: 24, rootid: 20 };
const PLAIN_REVISION = 0x0200_0000;
const REVISION_MASK = 0xff00_0000;
/** struct posix_acl_xattr_entry, linux/posix_acl_xattr.h: tag, permissions, id. */
const ACL = { header: 4, entry: 8, user: 2, group: 8 };

function fromHostValue(name: string, value: Buffer, range: IdRange): Buffer {
  if (name === "security.capability" && value.length === NAMESPACED.length) {
    const magic = value.readUInt32LE(0);
    const own = value.readUInt32LE(NAMESPACED.rootid) === range.hostID;
    if ((magic & REVISION_MASK) >>> 0 !== NAMESPACED.revision || !own) return value;
    const plain = Buffer.from(value.subarray(0, NAMESPACED.rootid));
    plain.writeUInt32LE(((magic & ~REVISION_MASK) | PLAIN_REVISION) >>> 0, 0);
    return plain;
  }
  if (!name.startsWith("system.posix_acl_")) return value;
  const mapped = Buffer.from(value);
  for (let at = ACL.header; at + ACL.entry <= mapped.length; at += ACL.entry) {
    const tag = mapped.readUInt16LE(at);
    if (tag === ACL.user || tag === ACL.group)
      mapped.writeUInt32LE(fromHost(mapped.readUInt32LE(at + 4), range), at + 4);
  }
  return mapped;
}
