import { openSync } from "node:fs";
import { invalid } from "../base/errors.ts";
import * as k from "../linux/constants.ts";
import { close } from "../linux/file.ts";
import type { IdMapping } from "../spec/oci-runtime.ts";
import { writeIdMaps } from "./id-maps.ts";
import { LENT, withMember } from "./member.ts";
import { whyNoUserNamespace } from "./userns-switches.ts";

/**
 * A user namespace with these mappings, its maps written by {@link writeIdMaps}. The descriptor is CLOEXEC; the caller
 * closes it, and the namespace goes with its last user. Wrong mappings, or more than we may map, are an invalid-argument
 * error.
 */
export function createUserNamespace(uidMappings: readonly IdMapping[], gidMappings: readonly IdMapping[]): number {
  return inMember(undefined, (pid) => {
    writeIdMaps(pid, uidMappings, gidMappings);
    return openSync(`/proc/${pid}/ns/user`, "r");
  });
}

/** As {@link createUserNamespace}, with a network namespace that belongs to it: whoever is root in it, rules over that. */
export function createUserAndNetworkNamespace(
  uidMappings: readonly IdMapping[],
  gidMappings: readonly IdMapping[],
): { user: number; network: number } {
  return inMember(
    undefined,
    (pid) => {
      writeIdMaps(pid, uidMappings, gidMappings);
      const user = openSync(`/proc/${pid}/ns/user`, "r");
      try {
        return { user, network: openSync(`/proc/${pid}/ns/net`, "r") };
      } catch (error) {
        close(user);
        throw error;
      }
    },
    k.CLONE_NEWUSER | k.CLONE_NEWNET,
  );
}

/** What `look` says of a process in the user namespace that `fd` is open on, which lives for as long as it runs. */
export function inUserNamespaceOf<T>(fd: number, look: (pid: number) => T): T {
  return inMember(fd, look);
}

function inMember<T>(joined: number | undefined, body: (pid: number) => T, flags: number = k.CLONE_NEWUSER): T {
  const call = joined === undefined ? "unshare" : "setns";
  const failed = (code: string) => invalid(`linux.namespaces user: ${call}: ${code}: ${whyNoUserNamespace(code)}`);
  return withMember(
    "inro-userns",
    (p) => {
      if (joined === undefined) p.call("user namespace", "unshare", [flags]);
      else p.call("user namespace", "setns", [LENT, k.CLONE_NEWUSER]);
    },
    { lent: joined, failed },
    body,
  );
}
