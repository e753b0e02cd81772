import type { Guard } from "../api/scope/guard.ts";
import { ownerUid } from "../base/owner.ts";
import type { ServeOptions } from "../cli/command.ts";
import { defaultUrl } from "../client/endpoint.ts";
import type { Engine } from "../engine/engine.ts";
import type { EngineSettings } from "../engine/settings.ts";
import { defaultConfigFile, merged, readConfigFile } from "./config-file.ts";
import { planDoors } from "./doors.ts";
import { readSettings, type Settings } from "./settings.ts";

/** What may change while the engine runs; the rest takes a restart. */
const RELOADED: readonly (keyof Settings)[] = [
  "labels",
  "registry-mirrors",
  "insecure-registries",
  "registry-ca",
  "registry-certs",
  "signature-policy",
  "default-ulimits",
  "default-shm-size",
  "default-ipc-mode",
  "default-cgroupns-mode",
  "cgroup-parent",
  "no-new-privileges",
  "init",
  "default-stop-timeout",
  "image-gc-max-size",
  "image-gc-max-age",
];

/** The engine's settings: those of the command line, and of a file that may change. */
export class Configuration {
  readonly path: string;
  /** Those in force. */
  current: Settings = {};

  constructor(private readonly options: ServeOptions) {
    this.path = options.configFile ?? defaultConfigFile();
  }

  /** Reads the file anew. Throws invalid. */
  read(): Settings {
    const file = readConfigFile(this.path, this.options.configFile !== undefined);
    return readSettings(merged(file, this.options.settings, this.path));
  }
}

/** The engine's part of the settings. */
export function engineSettings(settings: Settings): EngineSettings {
  const defaults = {
    ulimits: settings["default-ulimits"],
    shmSize: settings["default-shm-size"],
    ipcMode: settings["default-ipc-mode"],
    cgroupnsMode: settings["default-cgroupns-mode"],
    cgroupParent: settings["cgroup-parent"],
    noNewPrivileges: settings["no-new-privileges"],
    init: settings.init,
  };
  return {
    labels: settings.labels ?? [],
    registries: {
      mirrors: settings["registry-mirrors"] ?? [],
      insecure: settings["insecure-registries"] ?? [],
      ca: settings["registry-ca"] ?? [],
      certs: settings["registry-certs"] ?? defaultCerts(),
      ...(settings["signature-policy"] ? { policy: settings["signature-policy"] } : {}),
    },
    // Empty where there are none, which costs the creation of a container nothing.
    defaults: Object.fromEntries(Object.entries(defaults).filter(([, value]) => value !== undefined)),
    imageCollection: { maxSize: settings["image-gc-max-size"], maxAge: settings["image-gc-max-age"] },
    stopTimeout: settings["default-stop-timeout"] ?? 10,
  };
}

/** Ours, then docker's. */
function defaultCerts(env: Record<string, string | undefined> = process.env): string[] {
  const parent = ownerUid(env) === 0 ? "/etc" : (env.XDG_CONFIG_HOME ?? `${env.HOME}/.config`);
  return [`${parent}/inro/certs.d`, `${parent}/docker/certs.d`];
}

/**
 * SIGHUP: takes what may change from the file, rights of sockets included, and says what takes a restart. Throws invalid,
 * and then nothing is changed.
 */
export function reload(
  configuration: Configuration,
  engine: Engine,
  guards: readonly Guard[],
  log: (line: string) => void,
): void {
  const before = configuration.current;
  const settings = configuration.read();
  const hosts = (settings.hosts ?? [defaultUrl()]).filter((host) => /^(unix:\/\/)?\//.test(host));
  const { scopes } = planDoors({ ...settings, hosts });
  const same = (key: keyof Settings) => JSON.stringify(before[key]) === JSON.stringify(settings[key]);
  const keys = [...new Set([...Object.keys(before), ...Object.keys(settings)])] as (keyof Settings)[];
  const changed = keys.filter((key) => !same(key));
  const restart = changed.filter((key) => !RELOADED.includes(key) && key !== "sockets");
  if (
    changed.includes("sockets") &&
    !renewRights(
      guards,
      scopes.map(({ scope }) => scope),
    )
  )
    restart.push("sockets");
  const shown = RELOADED.map((key) => [key, JSON.stringify(settings[key] ?? null)] as const);
  configuration.current = settings;
  engine.reload(engineSettings(settings), Object.fromEntries(shown));
  const applied = changed.filter((key) => !restart.includes(key)).join(", ") || "nothing";
  log(`reload: ${applied} changed${restart.length > 0 ? `; ${restart.join(", ")} takes a restart of the engine` : ""}`);
}

/** New rights for the same sockets. Others, and other labels (which images may not give from the start), take a restart. */
function renewRights(guards: readonly Guard[], scopes: readonly Guard["scope"][]): boolean {
  const places = (all: readonly Guard["scope"][]) => JSON.stringify(all.map(({ name, label }) => [name, label?.key]));
  if (places(guards.map(({ scope }) => scope)) !== places(scopes)) return false;
  for (const [i, guard] of guards.entries()) guard.scope = scopes[i]!;
  return true;
}
