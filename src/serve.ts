import { mkdirSync, unlinkSync } from "node:fs";
import type { Server } from "node:http";
import { dirname } from "node:path";
import { createApi } from "./api/server.ts";
import { codeOf, invalid, messageOf } from "./base/errors.ts";
import type { ServeOptions } from "./cli/command.ts";
import { runDirectory } from "./client/endpoint.ts";
import { Engine } from "./engine/engine.ts";

const MILLISECONDS = 1000;

/** `inro serve`: one engine behind its sockets, until a signal or until it has been idle for long enough. */
export async function serve(options: ServeOptions): Promise<void> {
  const log = (line: string) => process.stderr.write(`${new Date().toISOString()} ${line}\n`);
  const paths = options.hosts.map(socketPath);
  // Its lock is what tells two engines apart, so it comes before the socket of a living one could be unlinked.
  const engine = await Engine.open({
    dataRoot: options.dataRoot ?? defaultDataRoot(),
    execRoot: options.execRoot ?? runDirectory(),
    ...(options.registryMirror === undefined ? {} : { registryMirror: options.registryMirror }),
    log,
  });
  let active = 0;
  let stop!: (why: string) => void;
  const stopped = new Promise<string>((resolve) => {
    stop = resolve;
  });
  const idle = idleTimer(
    options.idleTimeout,
    () => active === 0 && engine.idle,
    () => stop("idle"),
  );
  const api = createApi({
    engine,
    log,
    onActive(now) {
      active = now;
      idle.touch();
    },
  });
  const servers: Server[] = [];
  try {
    for (const path of paths) servers.push(await listen(api, path));
    for (const signal of ["SIGTERM", "SIGINT"] as const) process.once(signal, () => stop(signal));
    options.ready();
    log(`engine serves ${options.hosts.join(" ")}`);
    log(`engine leaves: ${await stopped}`);
  } finally {
    idle.stop();
    api.close();
    api.closeAllConnections();
    await engine.close();
  }
}

function defaultDataRoot(): string {
  if (process.getuid?.() === 0) return "/var/lib/inro";
  return `${process.env.XDG_DATA_HOME ?? `${process.env.HOME}/.local/share`}/inro`;
}

function socketPath(host: string): string {
  const path = /^unix:\/\/(\/.+)$/.exec(host)?.[1];
  if (!path)
    throw invalid(
      `serve --host ${host}: only unix:///PATH; a TCP port without client certificates would give the machine away`,
    );
  if (Buffer.byteLength(path) > 107) throw invalid(`serve --host ${host}: a socket's path has at most 107 bytes`);
  return path;
}

/** What is not for its owner and group. */
const SOCKET_UMASK = 0o117;

/** The socket is for its owner and group alone; a stale file is replaced. */
export async function listen(api: Server, path: string): Promise<Server> {
  mkdirSync(dirname(path), { recursive: true, mode: 0o700 });
  try {
    unlinkSync(path);
  } catch (error) {
    if (codeOf(error) !== "ENOENT") throw invalid(`serve: replace ${path}: ${messageOf(error)}`);
  }
  // It is bound when the call returns, with the mode that it keeps: one that comes later leaves a moment for others.
  await new Promise<void>((resolve, reject) => {
    api.once("error", reject);
    const umask = process.umask(SOCKET_UMASK);
    try {
      api.listen(path, () => {
        api.off("error", reject);
        resolve();
      });
    } finally {
      process.umask(umask);
    }
  });
  return api;
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
