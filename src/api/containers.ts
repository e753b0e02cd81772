import { invalid, notImplemented } from "../base/errors.ts";
import { parseFilters } from "../engine/filters.ts";
import { LIST_FILTERS, PRUNE_FILTERS } from "../engine/list-filters.ts";
import type { Attachment, WaitCondition } from "../engine/requests.ts";
import { type Call, empty, flag, type Handler, integer, json, jsonBody, type Reply, readBody } from "./call.ts";
import { frames, streamType } from "./frames.ts";
import { containerInspect } from "./versions.ts";
import { acceptWebSocket, webSocketStdio } from "./websocket.ts";

const ref = (call: Call) => call.params[0]!;
const text = (call: Call, name: string) => call.query.get(name) || undefined;

/** Path pattern → handler; {@link file://./router.ts} has the notation. */
export const containerRoutes: Record<string, Handler> = {
  "GET /containers/json": async (call) => {
    const limit = integer(call.query, "limit");
    const filters = call.query.get("filters");
    const found = await call.engine.containers.list({
      all: flag(call.query, "all"),
      size: flag(call.query, "size"),
      ...(limit !== undefined && limit > 0 ? { limit } : {}),
      ...(filters ? { filters: parseFilters(filters, LIST_FILTERS) } : {}),
    });
    if (call.version < 1.52) for (const one of found) delete one.Health;
    if (call.version < 1.46) for (const one of found) delete one.HostConfig.Annotations;
    return json(200, found);
  },
  "POST /containers/create": async (call) => {
    const body = await jsonBody(call);
    const { bounds } = call;
    return json(201, await call.engine.containers.create(body, text(call, "name"), text(call, "platform"), bounds));
  },
  "POST /containers/prune": async (call) => {
    const filters = call.query.get("filters");
    return json(200, await call.engine.containers.prune(filters ? parseFilters(filters, PRUNE_FILTERS) : undefined));
  },
  "GET /containers/*/json": async (call) =>
    json(
      200,
      containerInspect(
        await call.engine.containers.inspect(ref(call), { size: flag(call.query, "size") }),
        call.version,
      ),
    ),
  "POST /containers/*/start": async (call) => {
    await checkStart(call);
    const detachKeys = text(call, "detachKeys");
    await call.engine.containers.start(ref(call), detachKeys === undefined ? {} : { detachKeys });
    return empty(204);
  },
  "POST /containers/*/stop": async (call) => {
    await call.engine.containers.stop(ref(call), stopOptions(call));
    return empty(204);
  },
  "POST /containers/*/restart": async (call) => {
    await call.engine.containers.restart(ref(call), stopOptions(call));
    return empty(204);
  },
  "POST /containers/*/kill": async (call) => {
    await call.engine.containers.kill(ref(call), text(call, "signal"));
    return empty(204);
  },
  "POST /containers/*/pause": async (call) => {
    await call.engine.containers.pause(ref(call));
    return empty(204);
  },
  "POST /containers/*/unpause": async (call) => {
    await call.engine.containers.unpause(ref(call));
    return empty(204);
  },
  "POST /containers/*/rename": async (call) => {
    await call.engine.containers.rename(ref(call), call.query.get("name") ?? "");
    return empty(204);
  },
  "POST /containers/*/update": async (call) => {
    const body = await jsonBody(call);
    // Clients of before 1.40 sent a zero that meant nothing.
    if (call.version < 1.4 && typeof body === "object") delete (body as { PidsLimit?: unknown } | null)?.PidsLimit;
    return json(200, await call.engine.containers.update(ref(call), body, { blockDevices: call.version >= 1.55 }));
  },
  "POST /containers/*/resize": async (call) => {
    await call.engine.containers.resize(ref(call), ...size(call));
    return empty(200);
  },
  "POST /containers/*/attach": async (call) => {
    const detachKeys = call.query.get("detachKeys");
    const stdin = flag(call.query, "stdin");
    const attachment = await call.engine.containers.attach(ref(call), {
      logs: flag(call.query, "logs"),
      stream: flag(call.query, "stream"),
      stdin: stdin && call.upgrade !== undefined,
      stdout: flag(call.query, "stdout"),
      stderr: flag(call.query, "stderr"),
      ...(detachKeys === null ? {} : { detachKeys }),
    });
    return attached(call, attachment);
  },
  "GET /containers/*/attach/ws": async (call) => {
    const headers = acceptWebSocket(call);
    const { query, version } = call;
    // Older clients attach to all.
    const wanted = (name: string) => version < 1.42 || flag(query, name);
    const detachKeys = query.get("detachKeys");
    const attachment = await call.engine.containers.attach(ref(call), {
      logs: flag(query, "logs"),
      stream: flag(query, "stream"),
      stdin: wanted("stdin"),
      stdout: wanted("stdout"),
      stderr: wanted("stderr"),
      ...(detachKeys === null ? {} : { detachKeys }),
    });
    const stdio = webSocketStdio(attachment, version >= 1.28);
    return { hijack: { type: "", protocol: { name: "websocket", headers }, ...stdio } };
  },
  "POST /containers/*/wait": async (call) => {
    const waiting = call.engine.containers.wait(ref(call), (text(call, "condition") ?? "not-running") as WaitCondition);
    call.signal.addEventListener("abort", () => waiting.cancel(), { once: true });
    // The header goes at once: it tells the client that the wait is registered, and it may start the container.
    return {
      status: 200,
      type: "application/json",
      stream: (async function* () {
        yield `${JSON.stringify(await waiting.result)}\n`;
      })(),
    };
  },
  "GET /containers/*/logs": async (call) => {
    const { query } = call;
    // JSON lines, experimental since API 1.54.
    if (query.get("format") && call.version >= 1.54) throw notImplemented("logs: only the stream format is supported");
    const log = await call.engine.containers.logs(ref(call), {
      stdout: flag(query, "stdout"),
      stderr: flag(query, "stderr"),
      follow: flag(query, "follow"),
      timestamps: flag(query, "timestamps"),
      details: flag(query, "details"),
      since: query.get("since") ?? "",
      until: query.get("until") ?? "",
      tail: query.get("tail") || "all",
    });
    call.signal.addEventListener("abort", () => log.close(), { once: true });
    return { status: 200, type: streamType(log.tty, call.version), stream: log.wire };
  },
  "GET /containers/*/changes": async (call) => json(200, await call.engine.containers.changes(ref(call), call.signal)),
  "GET /containers/*/top": async (call) =>
    json(200, await call.engine.containers.top(ref(call), text(call, "ps_args"))),
  "DELETE /containers/*": async (call) => {
    if (flag(call.query, "link")) throw invalid("links are not supported");
    await call.engine.containers.remove(ref(call), {
      force: flag(call.query, "force"),
      volumes: flag(call.query, "v"),
    });
    return empty(204);
  },
};

/** A start has no body since 1.24, but for what clients send in place of none. */
async function checkStart(call: Call): Promise<void> {
  if (call.query.get("checkpoint") || call.query.get("checkpoint-dir")) {
    throw notImplemented("checkpoints of containers are not supported: inro-runtime has checkpoint and restore");
  }
  const { headers } = call.request;
  if (!Number(headers["content-length"]) && headers["transfer-encoding"] === undefined) return;
  const body = (await readBody(call, LONGEST_NOTHING)).toString().trim();
  if (!["", "null", "{}"].includes(body)) {
    throw invalid("starting container with non-empty request body was deprecated since API v1.22 and removed in v1.24");
  }
}

const LONGEST_NOTHING = 4096;

function stopOptions(call: Call): { timeout?: number; signal?: string } {
  const timeout = integer(call.query, "t");
  const signal = text(call, "signal");
  return { ...(timeout === undefined ? {} : { timeout }), ...(signal === undefined ? {} : { signal }) };
}

/** Rows and columns of a resize. */
export function size(call: Call): [height: number, width: number] {
  return [length(call, "h", "height"), length(call, "w", "width")];
}

/** A terminal has 16 bits for each (ioctl_tty(2)); docker takes 32. */
const MAX_LENGTH = 0xffff;

function length(call: Call, name: string, what: string): number {
  const text = call.query.get(name) ?? "";
  const refused = `invalid resize ${what} ${JSON.stringify(text.slice(0, 100))}`;
  if (!/^[+-]?\d+$/.test(text)) throw invalid(`${refused}: invalid syntax`);
  const value = Number(text);
  if (value < 0 || value > MAX_LENGTH) throw invalid(`${refused}: value out of range`);
  return value;
}

/**
 * Attach and exec: the connection itself where the client asked for it, else a plain stream of the output, as it is with
 * `raw`.
 */
export function attached(call: Call, attachment: Attachment, raw = attachment.tty): Reply {
  const type = streamType(raw, call.version);
  const output = frames(attachment.output, raw);
  if (call.upgrade) {
    return {
      hijack: {
        type,
        output,
        input: (data) => attachment.write(data),
        endInput: () => attachment.endInput(),
        close: () => attachment.close(),
      },
    };
  }
  call.signal.addEventListener("abort", () => attachment.close(), { once: true });
  return { status: 200, type, stream: output };
}
