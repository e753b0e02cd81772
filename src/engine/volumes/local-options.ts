import { invalid, notImplemented } from "../../base/errors.ts";
import { tmpfsWords } from "../config/tmpfs-options.ts";
import { hostPath, PROPAGATIONS, type Propagation } from "../config/volume-spec.ts";

/** What a local volume is, by its options (`docker volume create --opt`); none at all is a directory of ours. */
export type LocalVolume =
  | { kind: "directory" }
  | { kind: "bind"; device: string; recursive: boolean; readOnly: boolean; propagation?: Propagation }
  /** `data` for fsconfig(2), `flags` for the mount. */
  | { kind: "tmpfs"; data: [key: string, value: string][]; flags: string[] }
  | { kind: "filesystem"; type: string; device: string; words: string[] };

const KNOWN = ["type", "o", "device", "size"];
const NEEDS: Record<string, readonly string[]> = { device: ["type"], type: ["device"], o: ["device", "type"] };
const MAX_OPTION = 4095;

/** Throws invalid, in docker's words. */
export function localVolume(options: Readonly<Record<string, string>> = {}): LocalVolume {
  for (const [name, value] of Object.entries(options)) {
    if (!KNOWN.includes(name)) throw invalid(`invalid option: ${JSON.stringify(name.slice(0, 64))}`);
    if (value.length > MAX_OPTION || value.includes("\0"))
      throw invalid(`invalid option ${name}: too long, or has a NUL`);
    for (const other of NEEDS[name] ?? []) {
      if (!Object.hasOwn(options, other)) throw invalid(`missing required option: ${JSON.stringify(other)}`);
    }
  }
  const { type = "", device = "", o = "", size } = options;
  if (!Object.hasOwn(options, "type")) return directory(size);
  if (size !== undefined) throw invalid("option size is for volumes without a device; a tmpfs takes o=size=…");
  const words = o.split(",").filter(Boolean);
  if (words.includes("bind") || words.includes("rbind")) return bind(device, words);
  if (type === "tmpfs") return tmpfs(words);
  if (!/^[a-z0-9][a-z0-9_.-]{0,31}$/.test(type) || type === "none") {
    throw invalid(
      `invalid option type: ${JSON.stringify(type.slice(0, 64))} is no file system; a directory takes type=none,o=bind`,
    );
  }
  if (!device.includes("/"))
    throw invalid(`invalid option device: ${JSON.stringify(device.slice(0, 256))} is no device of ${type}`);
  return { kind: "filesystem", type, device, words };
}

const BIND_WORDS = ["bind", "rbind", "rw", "defaults"];

function bind(device: string, words: readonly string[]): LocalVolume {
  const propagation = words.find((word) => (PROPAGATIONS as readonly string[]).includes(word)) as
    | Propagation
    | undefined;
  const unknown = words.find((word) => word !== "ro" && word !== propagation && !BIND_WORDS.includes(word));
  if (unknown !== undefined)
    throw invalid(`invalid option o: ${JSON.stringify(unknown.slice(0, 64))} does not go with bind`);
  return {
    kind: "bind",
    device: hostPath(device),
    recursive: words.includes("rbind"),
    readOnly: words.includes("ro"),
    ...(propagation ? { propagation } : {}),
  };
}

function tmpfs(words: readonly string[]): LocalVolume {
  const checked = tmpfsWords(words.join(","), []);
  const data = checked.flatMap((word): [string, string][] => {
    const at = word.indexOf("=");
    return at < 0 ? [] : [[word.slice(0, at), word.slice(at + 1)]];
  });
  return { kind: "tmpfs", data, flags: checked.filter((word) => !word.includes("=") && word !== "defaults") };
}

/** Docker's sizes: `10g`, `512MiB`. */
const SIZE = /^\d+(\.\d+)? ?[kmgtp]?(i?b)?$/i;

function directory(size: string | undefined): LocalVolume {
  if (size === undefined) return { kind: "directory" };
  if (!SIZE.test(size)) throw invalid(`invalid size: '${size.slice(0, 64)}'`);
  throw notImplemented("quota size requested but no quota support: limits of volumes are not supported yet");
}
