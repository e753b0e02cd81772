import type { StreamMessage } from "../spec/docker-api.ts";
import { ExitError } from "./command.ts";
import { humanSize } from "./human.ts";
import type { Output } from "./output.ts";
import { isTerminal, terminalSize } from "./terminal.ts";

/**
 * Shows a progress stream. On a terminal each layer has its line, redrawn in place with a bar; elsewhere a line is
 * printed when a layer's status changes. An error in the stream rejects with its text.
 */
export async function showProgress(messages: AsyncIterable<StreamMessage>, output: Output): Promise<void> {
  const terminal = isTerminal(output.fd);
  const width = terminal ? (terminalSize()?.w ?? 80) : 80;
  const lines = new Map<string, number>();
  const last = new Map<string, string>();
  for await (const message of messages) {
    if (message.error !== undefined || message.errorDetail) {
      throw new ExitError(1, clean(message.errorDetail?.message ?? message.error ?? "unknown error"));
    }
    if (message.stream !== undefined) {
      await output.write(message.stream);
      continue;
    }
    if (message.status === undefined) continue;
    const status = clean(message.status);
    const id = message.id === undefined ? undefined : clean(message.id);
    if (id === undefined || /^Pulling from /.test(status)) {
      await output.line(id === undefined ? status : `${id}: ${status}`);
      // Lines of a new image start below.
      if (terminal) lines.clear();
    } else if (!terminal) {
      if (last.get(id) === status) continue;
      last.set(id, status);
      await output.line(`${id}: ${status}`);
    } else await output.write(redraw(lines, id, `${id}: ${status}${bar(message, id.length + status.length, width)}`));
  }
}

/** Moves to the line of `id`, rewrites it, and moves back below all lines. */
function redraw(lines: Map<string, number>, id: string, text: string): string {
  const line = lines.get(id);
  if (line === undefined) {
    lines.set(id, lines.size);
    return `\x1b[2K${text}\r\n`;
  }
  const up = lines.size - line;
  return `\x1b[${up}A\x1b[2K\r${text}\x1b[${up}B\r`;
}

function bar(message: StreamMessage, used: number, width: number): string {
  const { current, total } = message.progressDetail ?? {};
  if (!current) return "";
  if (!total) return ` ${humanSize(current)}`;
  const numbers = `${humanSize(Math.min(current, total))}/${humanSize(total)}`;
  const room = Math.min(50, width - used - numbers.length - 8);
  if (room < 10) return ` ${numbers}`;
  const done = Math.floor((Math.min(current, total) / total) * room);
  return ` [${"=".repeat(done)}${done < room ? ">" : ""}${" ".repeat(Math.max(0, room - done - 1))}]  ${numbers}`;
}

/** A registry's words must not move the cursor. */
function clean(text: string): string {
  return text.replace(/[\x00-\x08\x0b-\x1f\x7f]/g, "");
}
