import { splitCsv } from "../../base/csv.ts";
import type { MountRequest } from "../../spec/docker-api.ts";
import { ExitError } from "../command.ts";
import { parseBool } from "../flags.ts";
import { parseBytes } from "./sizes.ts";

/** node:path is loaded when a relative path is given. */
const resolve = (path: string) => (require("node:path") as typeof import("node:path")).resolve(path);

/**
 * Sorts -v values into binds (`SRC:DST[:OPTS]`, a relative source made absolute) and anonymous volumes (`DST`), which
 * the API takes in different places. The engine checks the rest.
 */
export function parseVolumes(values: readonly string[]): { binds: string[]; volumes: Record<string, object> } {
  const binds: string[] = [];
  const volumes: Record<string, object> = {};
  for (const value of values) {
    if (value === "") throw new ExitError(125, "invalid empty volume spec");
    const parts = value.split(":");
    if (parts.length > 3) throw new ExitError(125, `invalid volume specification: '${value}': too many colons`);
    if (parts.some((part) => part === "")) {
      throw new ExitError(125, `invalid spec: ${value}: empty section between colons`);
    }
    const [source, ...rest] = parts as [string, ...string[]];
    if (rest.length === 0) volumes[source] = {};
    else binds.push([source.startsWith(".") ? resolve(source) : source, ...rest].join(":"));
  }
  return { binds, volumes };
}

/** `PATH[:OPTIONS]` of --tmpfs as the API's map. */
export function parseTmpfs(values: readonly string[]): Record<string, string> {
  const map: Record<string, string> = {};
  for (const value of values) {
    const colon = value.indexOf(":");
    if (colon < 0) map[value] = "";
    else map[value.slice(0, colon)] = value.slice(colon + 1);
  }
  return map;
}

type Mount = MountRequest & { Consistency?: string; ImageOptions?: { Subpath?: string } };
type Setter = (mount: Mount, value: string, key: string) => void;

const bind = (mount: Mount) => (mount.BindOptions ??= {});
const volume = (mount: Mount) => (mount.VolumeOptions ??= {});
const driver = (mount: Mount) => (volume(mount).DriverConfig ??= {});
const tmpfs = (mount: Mount) => (mount.TmpfsOptions ??= {});
const bad = (key: string, value: string, hint = "") => new Error(`invalid value for ${key}: ${value}${hint}`);
const boolean = (key: string, value: string) => {
  try {
    return parseBool(value);
  } catch {
    throw bad(key, value);
  }
};
const source: Setter = (mount, value) => {
  mount.Source = value.startsWith("./") || value.startsWith("../") || /^\.\.?$/.test(value) ? resolve(value) : value;
};
const target: Setter = (mount, value) => {
  mount.Target = value;
};
const readOnly: Setter = (mount, value, key) => {
  mount.ReadOnly = boolean(key, value);
};

const keys: Record<string, Setter> = {
  type: (mount, value) => {
    mount.Type = value.toLowerCase() as MountRequest["Type"];
  },
  source,
  src: source,
  target,
  dst: target,
  destination: target,
  readonly: readOnly,
  ro: readOnly,
  consistency: (mount, value) => {
    mount.Consistency = value.toLowerCase();
  },
  "bind-propagation": (mount, value) => {
    bind(mount).Propagation = value.toLowerCase();
  },
  "bind-create-src": (mount, value, key) => {
    bind(mount).CreateMountpoint = boolean(key, value);
  },
  "bind-recursive": (mount, value, key) => {
    if (value === "enabled") return;
    if (value === "disabled") bind(mount).NonRecursive = true;
    else if (value === "writable") bind(mount).ReadOnlyNonRecursive = true;
    else if (value === "readonly") bind(mount).ReadOnlyForceRecursive = true;
    else throw bad(key, value, ' (must be "enabled", "disabled", "writable", or "readonly")');
  },
  "bind-nonrecursive": () => {
    throw new Error("bind-nonrecursive is deprecated, use bind-recursive=disabled instead");
  },
  "volume-nocopy": (mount, value, key) => {
    volume(mount).NoCopy = boolean(key, value);
  },
  "volume-subpath": (mount, value) => {
    volume(mount).Subpath = value;
  },
  "volume-label": (mount, value) => {
    const [name, ...rest] = value.split("=");
    volume(mount).Labels = { ...volume(mount).Labels, [name!]: rest.join("=") };
  },
  "volume-driver": (mount, value) => {
    driver(mount).Name = value;
  },
  "volume-opt": (mount, value) => {
    const [name, ...rest] = value.split("=");
    driver(mount).Options = { ...driver(mount).Options, [name!]: rest.join("=") };
  },
  "image-subpath": (mount, value) => {
    mount.ImageOptions = { Subpath: value };
  },
  "tmpfs-size": (mount, value, key) => {
    try {
      tmpfs(mount).SizeBytes = parseBytes(value);
    } catch {
      throw bad(key, value);
    }
  },
  "tmpfs-mode": (mount, value, key) => {
    if (!/^[0-7]{1,8}$/.test(value)) throw bad(key, value);
    tmpfs(mount).Mode = Number.parseInt(value, 8);
  },
};

/** One --mount: `type=bind,src=/a,dst=/b,readonly`. Throws with what is wrong. */
export function parseMount(text: string): MountRequest {
  const mount: Mount = { Type: "volume", Target: "" };
  if (text.trim() === "") throw new Error("value is empty");
  for (const field of splitCsv(text)) {
    const equals = field.indexOf("=");
    const key = (equals < 0 ? field : field.slice(0, equals)).toLowerCase();
    const flag = equals < 0;
    if (flag && !["readonly", "ro", "volume-nocopy", "bind-nonrecursive"].includes(key)) {
      throw new Error(`invalid field '${field}' must be a key=value pair`);
    }
    const value = flag ? "true" : field.slice(equals + 1);
    const setter = Object.hasOwn(keys, key) ? keys[key] : undefined;
    if (!setter) throw new Error(`unexpected key '${key}' in '${field}'`);
    if (value === "") throw new Error(`invalid value for '${key}': value is empty`);
    setter(mount, value, key);
  }
  check(mount);
  return mount;
}

function check(mount: Mount): void {
  if (mount.Target === "") throw new Error("target is required");
  const kinds = {
    volume: mount.VolumeOptions,
    bind: mount.BindOptions,
    tmpfs: mount.TmpfsOptions,
    image: mount.ImageOptions,
  };
  for (const [kind, options] of Object.entries(kinds)) {
    if (options && mount.Type !== kind)
      throw new Error(`cannot mix '${kind}-*' options with mount type '${mount.Type}'`);
  }
  if (mount.BindOptions?.ReadOnlyNonRecursive && !mount.ReadOnly) {
    throw new Error("option 'bind-recursive=writable' requires 'readonly' to be specified in conjunction");
  }
  if (mount.BindOptions?.ReadOnlyForceRecursive) {
    if (!mount.ReadOnly) {
      throw new Error("option 'bind-recursive=readonly' requires 'readonly' to be specified in conjunction");
    }
    if (mount.BindOptions.Propagation !== "rprivate") {
      throw new Error(
        "option 'bind-recursive=readonly' requires 'bind-propagation=rprivate' to be specified in conjunction",
      );
    }
  }
}
