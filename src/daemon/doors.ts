import { compileScope, type Scope } from "../api/scope/policy.ts";
import { ownerUid } from "../base/owner.ts";
import { defaultUrl, runDirectory } from "../client/endpoint.ts";
import { type Address, parseAddresses, socketGroup, socketPath } from "./address.ts";
import { type Settings, tlsFiles } from "./settings.ts";

/** A place where the engine listens, and what its clients may do; without a scope everything. */
export interface Door {
  address: Address;
  scope?: Scope;
}

export interface Doors {
  dataRoot: string;
  execRoot: string;
  doors: Door[];
  /** Those with limited rights. */
  scopes: Required<Door>[];
}

/** Where settings want the engine to listen. Makes nothing but a look at groups and certificates; throws invalid. */
export function planDoors(settings: Settings): Doors {
  const dataRoot = settings["data-root"] ?? defaultDataRoot();
  const execRoot = settings["exec-root"] ?? runDirectory();
  const addresses = parseAddresses(settings.hosts ?? [defaultUrl()], {
    gid: ownGroup(settings.group),
    tls: tlsFiles(settings),
  });
  const sockets = settings.sockets ?? [];
  const paths = [
    ...addresses.flatMap((one) => (one.kind === "unix" ? [one.path] : [])),
    ...sockets.map(({ path }) => path),
  ];
  const scopes = sockets.map((socket) => {
    const address: Address = { kind: "unix", path: socketPath(socket.path), gid: ownGroup(socket.group) };
    const own = [dataRoot, execRoot, ...paths.filter((path) => path !== socket.path)];
    return { address, scope: compileScope(socket, own) };
  });
  return { dataRoot, execRoot, doors: [...addresses.map((address) => ({ address })), ...scopes], scopes };
}

/** A plain user's sockets are his own. */
function ownGroup(name: string | undefined): number | undefined {
  return name === undefined && ownerUid() !== 0 ? undefined : socketGroup(name);
}

function defaultDataRoot(): string {
  if (ownerUid() === 0) return "/var/lib/inro";
  return `${process.env.XDG_DATA_HOME ?? `${process.env.HOME}/.local/share`}/inro`;
}
