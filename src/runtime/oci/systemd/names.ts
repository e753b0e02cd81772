import { invalid } from "../../../base/errors.ts";

export interface Unit {
  slice: string;
  /** `<prefix>-<name>.scope`, or a slice that is named itself. */
  name: string;
  /** Of its cgroup, below the mount (or the user manager's own cgroup). */
  path: string;
}

const DEFAULT_PREFIX = "inro";

/** The unit of `linux.cgroupsPath` with the systemd driver: `slice:prefix:name`, absent `:inro:<id>`. */
export function unitOf(path: string | undefined, id: string, user: boolean): Unit {
  const parts = path ? path.split(":") : ["", DEFAULT_PREFIX, id];
  if (parts.length !== 3) {
    throw invalid(
      `config.json: linux.cgroupsPath: expected cgroupsPath to be of format "slice:prefix:name" for systemd cgroups, ` +
        `got ${JSON.stringify(path)} instead`,
    );
  }
  const [slice, prefix, given] = parts as [string, string, string];
  const name = given.endsWith(".slice") ? given : `${prefix}-${given}.scope`;
  if (given === "" || name.length > 255 || !/^[A-Za-z0-9:_.\\@-]+$/.test(name)) {
    throw invalid(`config.json: linux.cgroupsPath: ${JSON.stringify(name)} is no name of a systemd unit`);
  }
  const chosen = slice || (user ? "user.slice" : "system.slice");
  return { slice: chosen, name, path: `${expandSlice(chosen)}/${name}`.replace("//", "/") };
}

/** `a-b.slice` is inside `a.slice`: /a.slice/a-b.slice (systemd.slice(5)); `-.slice` is the root. */
export function expandSlice(slice: string): string {
  const name = slice.endsWith(".slice") ? slice.slice(0, -".slice".length) : "";
  if (name === "-") return "/";
  const parts = name.split("-");
  if (parts.includes("") || slice.includes("/")) throw invalid(`invalid slice name: ${slice}`);
  return parts.map((_, i) => `/${parts.slice(0, i + 1).join("-")}.slice`).join("");
}
