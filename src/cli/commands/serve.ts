import { closeSync, writeSync } from "node:fs";
import { defaultUrl, parseEndpoint } from "../../client/endpoint.ts";
import { type Command, ExitError, type ServeOptions } from "../command.ts";
import { parseDuration } from "../time.ts";

export const command: Command = {
  usage: "[OPTIONS]",
  args: [0, 0],
  flags: [
    { name: "host", short: "H", type: "list", help: "Listen here; may repeat (default: the user's socket)" },
    { name: "data-root", type: "string", help: "Where images and containers are kept" },
    { name: "exec-root", type: "string", help: "Where run-time files are kept" },
    { name: "registry-mirror", type: "string", help: "Registry to ask before docker.io" },
    { name: "idle-timeout", type: "string", value: "duration", help: "Leave when idle for so long (10m); 0: never" },
  ],
  description: "Commands start an engine by themselves; this one runs in the foreground until SIGTERM or SIGINT.",
  examples: [
    ["inro serve", "On the usual socket"],
    ["inro serve -H unix:///tmp/i/inro.sock --data-root /tmp/i/data --exec-root /tmp/i/run", "Apart from any other"],
  ],
  async run({ options, doors }) {
    const hosts = options.has("host") ? options.list("host") : [defaultUrl()];
    for (const host of hosts) parseEndpoint(host);
    const idle = options.has("idle-timeout") ? idleSeconds(options.string("idle-timeout")) : undefined;
    const serve: ServeOptions = {
      hosts,
      ...(options.has("data-root") ? { dataRoot: options.string("data-root") } : {}),
      ...(options.has("exec-root") ? { execRoot: options.string("exec-root") } : {}),
      ...(options.has("registry-mirror") ? { registryMirror: options.string("registry-mirror") } : {}),
      ...(idle ? { idleTimeout: idle } : {}),
      ready: tellReady,
    };
    await doors.serve(serve);
    return 0;
  },
};

function idleSeconds(text: string): number {
  const seconds = /^\d+$/.test(text) ? Number(text) : parseDuration(text);
  if (seconds === undefined || seconds < 0) throw new ExitError(125, `invalid --idle-timeout ${JSON.stringify(text)}`);
  return seconds;
}

/** Tells the command that started this engine, on the descriptor that it reads (client/autostart.ts). */
function tellReady(): void {
  const fd = Number(process.env.INRO_READY_FD);
  if (!Number.isInteger(fd) || fd < 3) return;
  try {
    writeSync(fd, "ready\n");
    closeSync(fd);
  } catch {
    // It does not wait any more.
  }
}
