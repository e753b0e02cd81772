import { describe, expect, test } from "bun:test";
import { connect } from "node:net";
import { encodeFrame } from "../../src/api/websocket.ts";
import { engineForTests, hasBusybox, isRoot } from "../harness.ts";

const why = !isRoot ? "needs root" : !hasBusybox ? "no busybox-static" : "";

describe.skipIf(why !== "")(`attach by websocket${why && ` (${why})`}`, () => {
  const engine = engineForTests();

  /** A client of its own on the socket: Bun's has no unix sockets. The key and its answer are RFC 6455's (§1.3). */
  async function open(path: string) {
    const socket = connect(engine.socket);
    let received = Buffer.alloc(0);
    let ended = false;
    let wake = () => {};
    socket.on("data", (chunk: Buffer) => {
      received = Buffer.concat([received, chunk]);
      wake();
    });
    socket.on("close", () => {
      ended = true;
      wake();
    });
    socket.write(
      `GET ${path} HTTP/1.1\r\nHost: x\r\nConnection: Upgrade\r\nUpgrade: websocket\r\nSec-WebSocket-Version: 13\r\nSec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\n\r\n`,
    );
    const until = async (done: () => boolean) => {
      while (!done() && !ended)
        await new Promise<void>((resolve) => {
          wake = resolve;
        });
    };
    await until(() => received.includes("\r\n\r\n"));
    const end = received.indexOf("\r\n\r\n") + 4;
    const head = received.toString("latin1", 0, end);
    received = received.subarray(end);
    /** The next frame; undefined at the end. */
    const read = async () => {
      await until(() => received.length >= 2 && received.length >= 2 + (received[1]! & 0x7f));
      if (received.length < 2) return undefined;
      const length = received[1]! & 0x7f;
      const opcode = received[0]! & 0x0f;
      const data = received.toString("latin1", 2, 2 + length);
      received = received.subarray(2 + length);
      return { opcode, data };
    };
    const send = (opcode: number, text: string) => {
      const mask = Buffer.from([9, 8, 7, 6]);
      const plain = encodeFrame(opcode, Buffer.from(text));
      plain[1]! |= 0x80;
      const masked = Buffer.from(text).map((byte, i) => byte ^ mask[i & 3]!);
      socket.write(Buffer.concat([plain.subarray(0, 2), mask, masked]));
    };
    return { head, read, send, end: () => socket.destroy() };
  }

  test("input, output, ping, and the end of the process is a close", async () => {
    await engine.ok("create", "-i", "--name", "ws", "busybox", "sh", "-c", "read x; echo got $x; echo err >&2; read y");
    const client = await open("/containers/ws/attach/ws?stream=1&stdin=1&stdout=1&stderr=1");
    expect(client.head).toStartWith("HTTP/1.1 101 ");
    expect(client.head).toContain("Sec-WebSocket-Accept: s3pPLMBiTxaQ9kYGzzhZRbK+xOo=\r\n");
    await engine.ok("start", "ws");
    client.send(2, "hello\n");
    let output = "";
    while (!output.includes("err")) {
      const frame = await client.read();
      expect(frame?.opcode).toBe(2);
      output += frame!.data;
    }
    // One stream, without frames of Docker's own.
    expect(output.split("\n").sort()).toEqual(["", "err", "got hello"]);
    client.send(9, "are you there");
    expect(await client.read()).toEqual({ opcode: 10, data: "are you there" });
    client.send(1, "bye\n");
    expect(await client.read()).toEqual({ opcode: 8, data: "\x03\xe8" });
    expect(await client.read()).toBeUndefined();
  });

  test("a client that closes leaves the process; one that breaks the protocol is told so", async () => {
    await engine.ok("run", "-d", "-i", "--name", "left", "busybox", "sleep", "1000");
    const client = await open("/containers/left/attach/ws?stream=1&stdout=1");
    client.send(8, "");
    expect(await client.read()).toEqual({ opcode: 8, data: "\x03\xe8" });
    expect(await client.read()).toBeUndefined();
    const broken = await open("/containers/left/attach/ws?stream=1&stdout=1");
    broken.send(3, "x");
    expect(await broken.read()).toEqual({ opcode: 8, data: "\x03\xea" });
    expect(await engine.ok("inspect", "-f", "{{.State.Running}}", "left")).toBe("true");
  });

  test("what is no websocket is a 400, and no container a 404", async () => {
    const plain = await engine.api("GET", "/containers/left/attach/ws?stream=1");
    expect([plain.status, await plain.text()]).toEqual([400, expect.stringContaining("not a websocket protocol")]);
    expect((await open("/containers/nobody/attach/ws")).head).toStartWith("HTTP/1.1 404 ");
  });
});
