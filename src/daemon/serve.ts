import { rmSync, writeFileSync } from "node:fs";
import { AccessLog } from "../api/access-log.ts";
import type { Peers } from "../api/peer.ts";
import { findGet } from "../api/router.ts";
import { Guard } from "../api/scope/guard.ts";
import { createApi } from "../api/server.ts";
import { messageOf } from "../base/errors.ts";
import { ROOTLESS_UID } from "../base/owner.ts";
import type { ServeOptions } from "../cli/command.ts";
import { DEFAULT_LOG } from "../engine/config/log-config.ts";
import { Engine } from "../engine/engine.ts";
import { Configuration, engineSettings, reload } from "./configuration.ts";
import { planDoors } from "./doors.ts";
import { type Listener, listen } from "./listen.ts";
import { Quiet } from "./quiet.ts";
import { entered, leaveNamespaces } from "./rootless/leave.ts";

const MILLISECONDS = 1000;
const IDLE = "idle";

const logLine = (line: string) => void process.stderr.write(`${new Date().toISOString()} ${line}\n`);

/** `inro serve`: one engine behind its sockets, until a signal or until it has been idle for long enough. */
export async function serve(options: ServeOptions): Promise<void> {
  const log = logLine;
  const config = new Configuration(options);
  const settings = config.read();
  config.current = settings;
  const plan = planDoors(settings);
  if (options.validate) return;
  const accessLog =
    settings["access-log"] === undefined
      ? undefined
      : await AccessLog.open(settings["access-log"], settings["access-log-format"] ?? "text", log);
  // Its lock is what tells two engines apart, so it comes before the socket of a living one could be unlinked.
  const engine = await Engine.open({
    dataRoot: plan.dataRoot,
    execRoot: plan.execRoot,
    ...(settings.bridge === "none" ? { defaultBridge: false } : {}),
    ...(settings["storage-driver"] && {
      layerForm: settings["storage-driver"] === "erofs" ? ("erofs" as const) : ("directories" as const),
    }),
    ...(settings.ip === undefined ? {} : { publishAddress: settings.ip }),
    reservedLabels: plan.scopes.flatMap(({ scope: { label } }) => (label ? [label.key] : [])),
    settings: engineSettings(settings),
    defaultLog: { Type: settings["log-driver"] ?? DEFAULT_LOG.Type, Config: settings["log-opts"] ?? {} },
    log,
  });
  entered(plan.execRoot);
  const minVersion = settings["min-api-version"];
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
  const quiet = new Quiet();
  const onActive = (change: 1 | -1) => {
    active += change;
    idle.touch();
    quiet.touch();
  };
  const peers: Peers | undefined = accessLog && new WeakMap();
  const listeners: Listener[] = [];
  const guards: Guard[] = [];
  try {
    for (const { address, scope } of plan.doors) {
      const guard = scope && new Guard(scope, engine, findGet);
      if (guard) guards.push(guard);
      const access = accessLog && peers && { log: accessLog, socket: "", peers };
      const api = createApi({
        engine,
        log,
        onActive,
        ...(access ? { access } : {}),
        ...(guard ? { guard } : {}),
        ...(minVersion === undefined ? {} : { minVersion }),
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
      try {
        reload(config, engine, guards, log);
      } catch (error) {
        log(`reload: nothing is changed: ${messageOf(error)}`);
      }
    });
    if (settings.pidfile !== undefined) writeFileSync(settings.pidfile, `${process.pid}\n`, { mode: 0o644 });
    options.ready();
    log(`engine serves ${listeners.map(({ url }) => url).join(" ")}`);
    idleNow = (await stopped) === IDLE;
    log(`engine leaves: ${await stopped}`);
  } finally {
    idle.stop();
    quiet.stop();
    for (const listener of listeners) listener.close();
    await engine.close({ idle: idleNow });
    await accessLog?.close();
    if (process.env[ROOTLESS_UID] !== undefined) leaveNamespaces(plan.execRoot);
    if (settings.pidfile !== undefined) rmSync(settings.pidfile, { force: true });
  }
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
