import { invalid } from "../../base/errors.ts";
import type { HostFiles } from "./host-files.ts";
import type { PlannedMount } from "./mount-plan.ts";

/**
 * A shared bind needs a source on a shared mount, a slave one a shared or slave one: otherwise nothing would ever
 * propagate (mount_namespaces(7)). Throws invalid.
 */
export function checkPropagation(mount: PlannedMount, files: HostFiles): void {
  const kind = mount.propagation.replace(/^r/, "");
  if (mount.type !== "bind" || kind === "private") return;
  const source = mountOf(mount.source, files.mountinfo());
  if (!source) return;
  if (source.shared || (kind === "slave" && source.slave)) return;
  const wanted = kind === "shared" ? "shared" : "shared or slave";
  throw invalid(`path ${mount.source} is mounted on ${source.point} but it is not a ${wanted} mount`);
}

/** The mount that holds a path, by /proc/PID/mountinfo (proc(5)): the last of the longest mount points. */
export function mountOf(
  path: string,
  mountinfo: string,
): { point: string; shared: boolean; slave: boolean } | undefined {
  let best: { point: string; shared: boolean; slave: boolean } | undefined;
  for (const line of mountinfo.split("\n")) {
    const fields = line.split(" ");
    const escaped = fields[4];
    if (escaped === undefined) continue;
    const point = escaped.replace(/\\([0-7]{3})/g, (_, octal: string) =>
      String.fromCharCode(Number.parseInt(octal, 8)),
    );
    if (path !== point && !path.startsWith(point === "/" ? "/" : `${point}/`)) continue;
    if (best && point.length < best.point.length) continue;
    const tags = fields.slice(6, fields.indexOf("-"));
    const has = (tag: string) => tags.some((one) => one.startsWith(`${tag}:`));
    best = { point, shared: has("shared"), slave: has("master") };
  }
  return best;
}
