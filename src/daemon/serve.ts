import { AccessLog } from "../api/access-log.ts";
import type { Peers } from "../api/peer.ts";
import { findGet } from "../api/router.ts";
import { Guard } from "../api/scope/guard.ts";
import { compileScope, type Scope } from "../api/scope/policy.ts";
import { createApi } from "../api/server.ts";
import { messageOf } from "../base/errors.ts";
import type { ServeOptions } from "../cli/command.ts";
import { defaultUrl, runDirectory } from "../client/endpoint.ts";
import { DEFAULT_LOG } from "../engine/config/log-config.ts";
import { Engine } from "../engine/engine.ts";
import { type Address, parseAddresses, socketGroup, socketPath } from "./address.ts";
import { type Listener, listen } from "./listen.ts";
import { readSettings, tlsFiles } from "./settings.ts";

const MILLISECONDS = 1000;
const IDLE = "idle";

/** `inro serve`: one engine behind its sockets, until a signal or until it has been idle for long enough. */
export async function serve(options: ServeOptions): Promise<void> {
  const log = (line: string) => process.stderr.write(`${new Date().toISOString()} ${line}\n`);
  const settings = readSettings(options.settings);
  const addresses = parseAddresses(settings.hosts ?? [defaultUrl()], {
    gid: socketGroup(settings.group),
    tls: tlsFiles(settings),
  });
  const dataRoot = settings["data-root"] ?? defaultDataRoot();
  const execRoot = settings["exec-root"] ?? runDirectory();
  const sockets = settings.sockets ?? [];
  const paths = [
    ...addresses.flatMap((one) => (one.kind === "unix" ? [one.path] : [])),
    ...sockets.map(({ path }) => path),
  ];
  const scopes = sockets.map((socket) => {
    const address: Address = { kind: "unix", path: socketPath(socket.path), gid: socketGroup(socket.group) };
    const own = [dataRoot, execRoot, ...paths.filter((path) => path !== socket.path)];
    return { address, scope: compileScope(socket, own) };
  });
  const accessLog =
    settings["access-log"] === undefined
      ? undefined
      : await AccessLog.open(settings["access-log"], settings["access-log-format"] ?? "text", log);
  // Its lock is what tells two engines apart, so it comes before the socket of a living one could be unlinked.
  const mirror = settings["registry-mirrors"]?.[0];
  const engine = await Engine.open({
    dataRoot,
    execRoot,
    ...(settings.ip === undefined ? {} : { publishAddress: settings.ip }),
    ...(settings.bridge === "none" ? { defaultBridge: false } : {}),
    reservedLabels: scopes.flatMap(({ scope: { label } }) => (label ? [label.key] : [])),
    ...(mirror === undefined ? {} : { registryMirror: mirror }),
    defaultLog: { Type: settings["log-driver"] ?? DEFAULT_LOG.Type, Config: settings["log-opts"] ?? {} },
    log,
  });
  let active = 0;
  let idleNow = false;
  let stop!: (why: string) => void;
  const stopped = new Promise<string>((resolve) => {
    stop = resolve;
  });
  const idle = idleTimer(
    options.idleTimeout,
    () => active === 0 && engine.idle,
    () => stop(IDLE),
  );
  const onActive = (change: 1 | -1) => {
    active += change;
    idle.touch();
  };
  const peers: Peers | undefined = accessLog && new WeakMap();
  const listeners: Listener[] = [];
  try {
    const doors: { address: Address; scope?: Scope }[] = [...addresses.map((address) => ({ address })), ...scopes];
    for (const { address, scope } of doors) {
      const access = accessLog && peers && { log: accessLog, socket: "", peers };
      const api = createApi({
        engine,
        log,
        onActive,
        ...(access ? { access } : {}),
        ...(settings["min-api-version"] === undefined ? {} : { minVersion: settings["min-api-version"] }),
        ...(scope ? { guard: new Guard(scope, engine, findGet) } : {}),
      });
      const listener = await listen(api, address, peers);
      if (access) access.socket = listener.url;
      listeners.push({
        url: listener.url,
        close() {
          listener.close();
          api.close();
          api.closeAllConnections();
        },
      });
    }
    for (const signal of ["SIGTERM", "SIGINT"] as const) process.once(signal, () => stop(signal));
    process.on("SIGHUP", () => {
      accessLog?.reopen().catch((error) => log(`access log: ${messageOf(error)}`));
    });
    options.ready();
    log(`engine serves ${listeners.map(({ url }) => url).join(" ")}`);
    idleNow = (await stopped) === IDLE;
    log(`engine leaves: ${await stopped}`);
  } finally {
    idle.stop();
    for (const listener of listeners) listener.close();
    await engine.close({ idle: idleNow });
    await accessLog?.close();
  }
}

function defaultDataRoot(): string {
  if (process.getuid?.() === 0) return "/var/lib/inro";
  return `${process.env.XDG_DATA_HOME ?? `${process.env.HOME}/.local/share`}/inro`;
}

/** How often in an idle time the engine looks whether it still is. */
const LOOKS = 4;

/** Leaves after `seconds` in a row without a request and with nothing to do; a container's end starts them anew. */
function idleTimer(
  seconds: number | undefined,
  isIdle: () => boolean,
  leave: () => void,
): { touch(): void; stop(): void } {
  if (!seconds) return { touch() {}, stop() {} };
  let since = performance.now();
  const touch = () => {
    since = performance.now();
  };
  const timer = setInterval(
    () => {
      if (!isIdle()) touch();
      else if (performance.now() - since >= seconds * MILLISECONDS) leave();
    },
    (seconds * MILLISECONDS) / LOOKS,
  );
  return { touch, stop: () => clearInterval(timer) };
}
