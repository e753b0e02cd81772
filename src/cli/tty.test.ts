import { afterEach, beforeEach, expect, test } from "bun:test";
import type { ServerResponse } from "node:http";
import type { Socket } from "node:net";
import { FakeEngine, type Seen, sendJson, UPGRADED } from "./testing.ts";

const ID = "d".repeat(64);
let engine: FakeEngine;
let socket: Socket;
let sizes: string[];
let sizeSeen: () => void;

beforeEach(async () => {
  sizes = [];
  sizeSeen = () => {};
  engine = await FakeEngine.start();
  engine.on("POST /containers/create", (_: Seen, response: ServerResponse) => sendJson(response, 201, { Id: ID }));
  engine.onHijack("POST /containers/*/attach", (_, attached) => {
    socket = attached;
    socket.write(UPGRADED);
  });
  let wait: ServerResponse;
  engine.on("POST /containers/*/wait", (_: Seen, response: ServerResponse) => {
    wait = response;
    wait.writeHead(200).flushHeaders();
  });
  engine.on("POST /containers/*/resize", ({ query }: Seen, response: ServerResponse) => {
    sizes.push(`${query.get("h")}x${query.get("w")}`);
    response.writeHead(200).end();
    sizeSeen();
  });
  // The process prints what it reads, in hex, and ends with status 5 at an "x".
  engine.on("POST /containers/*/start", (_: Seen, response: ServerResponse) => {
    response.writeHead(204).end();
    socket.write("ready\r\n");
    socket.on("data", (chunk) => {
      socket.write(`[${chunk.toString("hex")}]\r\n`);
      if (!chunk.includes("x")) return;
      socket.end();
      wait.end('{"StatusCode":5}');
    });
    socket.on("error", () => {});
  });
});
afterEach(() => engine.stop());

/** `inro run -it` on a terminal of its own, below a shell that shows the terminal's mode at the end. */
function runOnTerminal(...argv: string[]) {
  let output = "";
  let check = () => {};
  const main = new URL("../main.ts", import.meta.url).pathname;
  const shell =
    'trap : INT; "$@"; echo "status $?"; stty -a | grep -o -- "-\\?icanon"; stty -a | grep -o -- "-\\?echo "';
  const child = Bun.spawn(["/bin/sh", "-c", shell, "sh", process.execPath, main, "run", "-it", ...argv, "host", "sh"], {
    env: { PATH: process.env.PATH ?? "", INRO_HOST: engine.url },
    // A Terminal made beforehand would not be the child's controlling one: no SIGWINCH.
    terminal: {
      cols: 91,
      rows: 33,
      data(_, chunk) {
        output += new TextDecoder().decode(chunk);
        check();
      },
    },
  });
  const terminal = child.terminal!;
  const until = (text: string) =>
    new Promise<void>((resolve) => {
      check = () => {
        if (output.includes(text)) resolve();
      };
      check();
    });
  return { child, terminal, until, text: () => output };
}

test("raw mode: keys go to the process unchanged, the mode is restored, the status comes back", async () => {
  const { child, terminal, until, text } = runOnTerminal();
  await until("ready");
  terminal.write("\x03");
  await until("[03]");
  terminal.write("a\rx");
  await child.exited;
  expect(text()).toContain("[610d78]");
  expect(text()).toContain("status 5\r\nicanon\r\necho ");
  expect(JSON.parse(engine.seen[0]!.body).HostConfig.ConsoleSize).toEqual([33, 91]);
  terminal.close();
});

test("tells the size at the start and when it changes", async () => {
  const { child, terminal, until } = runOnTerminal();
  await until("ready");
  const second = new Promise<void>((resolve) => {
    sizeSeen = () => {
      if (sizes.includes("40x100")) resolve();
    };
  });
  terminal.resize(100, 40);
  await second;
  expect(sizes[0]).toBe("33x91");
  terminal.write("x");
  await child.exited;
  terminal.close();
});

test("ctrl-p ctrl-q detaches with status 0; a lone ctrl-p goes through with what follows", async () => {
  const { child, terminal, until, text } = runOnTerminal();
  await until("ready");
  terminal.write("\x10a");
  await until("[1061]");
  terminal.write("\x10\x11");
  await child.exited;
  expect(text()).toContain("read escape sequence");
  expect(text()).toContain("status 0\r\nicanon\r\necho ");
  terminal.close();
});

test("--detach-keys replaces them", async () => {
  const { child, terminal, until, text } = runOnTerminal("--detach-keys", "ctrl-a,z");
  await until("ready");
  terminal.write("\x10\x11");
  await until("[1011]");
  terminal.write("\x01z");
  await child.exited;
  expect(text()).toContain("status 0");
  terminal.close();
});

test("a signal ends the command and leaves the terminal as it was", async () => {
  const { child, terminal, until, text } = runOnTerminal();
  await until("ready");
  const [inro] = await childrenOf(child.pid);
  process.kill(inro!, "SIGTERM");
  await child.exited;
  expect(text()).toContain("status 143\r\nicanon\r\necho ");
  terminal.close();
});

async function childrenOf(pid: number): Promise<number[]> {
  const text = await Bun.file(`/proc/${pid}/task/${pid}/children`).text();
  return text.trim().split(" ").filter(Boolean).map(Number);
}
