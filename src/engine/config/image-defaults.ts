import { posix } from "node:path";
import { invalid, messageOf } from "../../base/errors.ts";
import type { ContainerConfig } from "../../spec/docker-api.ts";
import type { ImageConfig } from "../../spec/oci-image.ts";
import { containerConfig } from "./request-fields.ts";
import { checkDestination } from "./volume-spec.ts";

const has = (list: readonly unknown[] | null | undefined): boolean =>
  list !== undefined && list !== null && list.length > 0;
const key = (variable: string) => variable.split("=", 1)[0];

/** The image's part, checked as strictly as a request: it comes from whoever built the image. */
function checkImage(image: NonNullable<ImageConfig["config"]>): ContainerConfig {
  try {
    const checked = containerConfig(image, "config");
    if (checked.User !== undefined) checkUser(checked.User);
    if (checked.WorkingDir) checkWorkingDir(checked.WorkingDir);
    for (const variable of checked.Env ?? []) {
      if (!/^[^=]+=/.test(variable))
        throw invalid(`environment variable ${JSON.stringify(variable)} is not NAME=value`);
    }
    for (const path of Object.keys(checked.Volumes ?? {})) {
      if (path.split("/").includes("..")) throw invalid(`volume ${JSON.stringify(path)} must not contain ".."`);
      checkDestination(path);
    }
    return checked;
  } catch (error) {
    throw invalid(`invalid image config: ${messageOf(error)}`, error);
  }
}

/** `name|uid[:group|gid]`, at most what fits a line of /etc/passwd. */
export function checkUser(user: string): void {
  if (user.length > 512 || /[\s\x00-\x1f\x7f]/.test(user) || user.split(":").length > 2) {
    throw invalid(`invalid user ${JSON.stringify(user.slice(0, 64))}: expected name|uid[:group|gid]`);
  }
}

/** As docker keeps it. */
export const cleanPath = (path: string) => posix.join("/", path).replace(/(?<=.)\/+$/, "");

export function checkWorkingDir(path: string): void {
  if (!path.startsWith("/") || path.length > 4095) {
    throw invalid(`the working directory '${path.slice(0, 256)}' is invalid, it needs to be an absolute path`);
  }
}

/**
 * Fills from the image what the request leaves open, as docker does: Env by name; the image's Cmd only when the request
 * has no Entrypoint either; maps entry by entry. Hostile image values are invalid and say that the image is to blame.
 */
export function mergeImage(config: ContainerConfig, image: ImageConfig["config"] | undefined): ContainerConfig {
  const from = image ? checkImage(image) : {};
  const merged: ContainerConfig = { ...config };

  const set = new Set((config.Env ?? []).map(key));
  merged.Env = [...(config.Env ?? []), ...(from.Env ?? []).filter((variable) => !set.has(key(variable)))];

  if (!has(config.Entrypoint)) {
    if (!has(config.Cmd)) merged.Cmd = from.Cmd ?? [];
    // [] is an entrypoint that was set to nothing; only an absent one is inherited.
    if (config.Entrypoint === undefined && has(from.Entrypoint)) merged.Entrypoint = from.Entrypoint as string[];
  }
  if (merged.Entrypoint?.length === 1 && merged.Entrypoint[0] === "") merged.Entrypoint = [];

  for (const name of ["User", "WorkingDir", "StopSignal"] as const) {
    if (!config[name] && from[name]) merged[name] = from[name];
  }
  if (!has(config.Shell) && from.Shell) merged.Shell = from.Shell;
  merged.Labels = { ...from.Labels, ...config.Labels };
  for (const name of ["ExposedPorts", "Volumes"] as const) {
    const both = { ...from[name], ...config[name] };
    if (Object.keys(both).length > 0) merged[name] = both;
    else delete merged[name];
  }
  if (from.Healthcheck) {
    // In a health check zero means inherited.
    const own = Object.entries(config.Healthcheck ?? {}).filter(([, value]) =>
      Array.isArray(value) ? has(value) : value,
    );
    merged.Healthcheck = { ...from.Healthcheck, ...Object.fromEntries(own) };
  }
  return merged;
}
