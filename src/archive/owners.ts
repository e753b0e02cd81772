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
