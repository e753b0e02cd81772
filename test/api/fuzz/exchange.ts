import { connect } from "node:net";
import type { Route } from "./routes.ts";

export interface Sent {
  route: Route;
  /** With its query; encoded. */
  path: string;
  body: Uint8Array | string | undefined;
  headers: Record<string, string>;
}

export interface Answer {
  status: number;
  text: string;
}

/** What a client of a stream stays for. */
const STAY_MS = 20;

/** As most clients ask. A stream that goes on is left, which rejects. */
export async function fetched(
  unix: string,
  { route, path, body, headers }: Sent,
  leave: AbortController,
): Promise<Answer> {
  const answer = await fetch(`http://inro${path}`, {
    unix,
    method: route.method,
    headers,
    signal: leave.signal,
    ...(body === undefined ? {} : { body: typeof body === "string" ? body : new Uint8Array(body) }),
  });
  const leaving = answer.status < 400 && route.streams ? setTimeout(() => leave.abort(), STAY_MS) : undefined;
  try {
    return { status: answer.status, text: await answer.text() };
  } finally {
    clearTimeout(leaving);
  }
}

/** As docker's own client asks for attach and exec; what it types then is text, detach keys, and nothing more. */
export function upgraded(unix: string, { route, path, body, headers }: Sent, leave: AbortController): Promise<Answer> {
  const bytes = Buffer.from(body ?? "");
  const lines = Object.entries({
    Host: "inro",
    Connection: "Upgrade",
    Upgrade: "tcp",
    ...headers,
    ...(body === undefined ? {} : { "Content-Length": String(bytes.length) }),
  }).map(([name, value]) => `${name}: ${value}\r\n`);
  const head = `${route.method} ${path} HTTP/1.1\r\n${lines.join("")}\r\n`;
  return new Promise((resolve, reject) => {
    let answer = "";
    const socket = connect(unix, () => socket.write(Buffer.concat([Buffer.from(head), bytes])));
    const end = () => {
      const [, status] = /^HTTP\/1\.1 (\d{3}) /.exec(answer) ?? [];
      if (status) resolve({ status: Number(status), text: answer.slice(answer.indexOf("\r\n\r\n") + 4) });
      else reject(new Error(`no answer but ${JSON.stringify(answer.slice(0, 100))}`));
      socket.destroy();
    };
    let leaving: Timer | undefined;
    socket.on("data", (chunk) => {
      answer += chunk;
      const streams = /^HTTP\/1\.1 (101|2)/.test(answer) && (route.streams || answer.startsWith("HTTP/1.1 101"));
      if (leaving || !streams) return;
      socket.write("typed\n\x10\x11");
      leaving = setTimeout(end, STAY_MS);
    });
    // The other side may have gone before what is typed; its end follows.
    socket.on("error", () => {});
    socket.on("close", () => {
      clearTimeout(leaving);
      end();
    });
    leave.signal.addEventListener("abort", end);
  });
}
