import { posix } from "node:path";
import { invalid } from "../../base/errors.ts";
import type { HostConfig } from "../../spec/docker-api.ts";

/** Checks of single fields that need no file of their own. All throw invalid. */

/** ExposedPorts: `80`, `80/tcp`, `8000-8010/udp`. */
export function checkPorts(ports: Record<string, object>): void {
  for (const port of Object.keys(ports)) {
    const [, first, last = first] = /^([0-9]{1,5})(?:-([0-9]{1,5}))?(?:\/(?:tcp|udp|sctp))?$/i.exec(port) ?? [];
    if (first === undefined || Number(last) > 65535 || Number(first) > Number(last)) {
      throw invalid(`invalid port specification: ${JSON.stringify(port.slice(0, 64))}`);
    }
  }
}

/** A path below the cgroup mount. */
export function checkCgroupParent(parent: string): void {
  if (parent === "") return;
  const hostile = parent.split("/").includes("..") || /[\x00-\x1f\x7f:]/.test(parent) || parent.length > 1024;
  if (hostile || posix.normalize(`/${parent}`) === "/") {
    throw invalid(`invalid cgroup parent ${JSON.stringify(parent.slice(0, 256))}`);
  }
}

export function checkAnnotations(annotations: Record<string, string>): void {
  if (Object.hasOwn(annotations, ""))
    throw invalid("invalid Annotations: the empty string is not permitted as an annotation key");
}

/** MaskedPaths and ReadonlyPaths. */
export function checkPaths(host: HostConfig): void {
  for (const path of [...(host.MaskedPaths ?? []), ...(host.ReadonlyPaths ?? [])]) {
    if (
      !path.startsWith("/") ||
      posix.normalize(path) === "/" ||
      path.split("/").includes("..") ||
      path.length > 4095
    ) {
      throw invalid(`invalid masked or read-only path ${JSON.stringify(path.slice(0, 256))}`);
    }
  }
}

/** Only Windows has more than one. */
export function checkIsolation(isolation: string): void {
  if (isolation === "" || isolation.toLowerCase() === "default") return;
  throw invalid(`invalid isolation (${isolation.slice(0, 64)}): this platform has only 'default'`);
}

/** A container's layer is a directory, which has no size of its own. */
export function checkStorageOptions(options: Record<string, string>): void {
  const [name] = Object.keys(options);
  if (name === undefined) return;
  if (name !== "size") throw invalid(`unknown storage option ${name.slice(0, 64)}`);
  throw invalid("storage option size is not supported: it needs a file system with project quotas");
}
