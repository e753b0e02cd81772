import type { HostConfig, Ulimit } from "../../spec/docker-api.ts";

/** The engine's own defaults of a HostConfig (docker's default-shm-size and the like). */
export interface CreateDefaults {
  ulimits?: readonly Ulimit[];
  /** Bytes. */
  shmSize?: number;
  ipcMode?: "private" | "shareable";
  cgroupnsMode?: "private" | "host";
  cgroupParent?: string;
  noNewPrivileges?: boolean;
  init?: boolean;
}

/** A create request's HostConfig, unchecked as it came, with the engine's defaults where it asks for nothing. */
export function withDefaults(host: Record<string, unknown>, defaults: CreateDefaults): Record<string, unknown> {
  const { ulimits, shmSize, ipcMode, cgroupnsMode, cgroupParent, noNewPrivileges, init } = defaults;
  const filled = { ...host };
  const fill = (name: keyof HostConfig, value: unknown) => {
    if (value !== undefined && !filled[name]) filled[name] = value;
  };
  fill("ShmSize", shmSize);
  fill("IpcMode", ipcMode);
  fill("CgroupParent", cgroupParent);
  // A privileged container has a default of its own.
  if (!host.Privileged) fill("CgroupnsMode", cgroupnsMode);
  if (init && (host.Init === undefined || host.Init === null)) filled.Init = true;
  if (ulimits?.length && isList(host.Ulimits)) {
    const given = (host.Ulimits ?? []) as Ulimit[];
    filled.Ulimits = [...given, ...ulimits.filter(({ Name }) => !given.some((one) => one?.Name === Name))];
  }
  if (noNewPrivileges && isList(host.SecurityOpt)) {
    const given = (host.SecurityOpt ?? []) as unknown[];
    const said = given.some((option) => typeof option === "string" && /^no-new-privileges\b/.test(option));
    if (!said) filled.SecurityOpt = [...given, "no-new-privileges"];
  }
  return filled;
}

/** What is no list is left for who checks the request. */
const isList = (value: unknown) => value === undefined || value === null || Array.isArray(value);
