import { describe, expect, test } from "bun:test";
import { once } from "node:events";
import { readdirSync, readFileSync } from "node:fs";
import { connect, type Socket } from "node:net";
import { engineForTests, hasBusybox, isRoot } from "../harness.ts";

const why = !isRoot ? "needs root" : !hasBusybox ? "no busybox-static" : "";

describe.skipIf(why !== "")(`slow, many and vanishing clients${why && ` (${why})`}`, () => {
  const engine = engineForTests();
  const descriptors = () => readdirSync(`/proc/${engine.pid}/fd`).length;
  const memory = () => Number(/^VmRSS:\s+(\d+)/m.exec(readFileSync(`/proc/${engine.pid}/status`, "utf8"))![1]) >> 10;
  const ping = async () => (await engine.api("GET", "/_ping")).text();
  const info = async () => (await (await engine.api("GET", "/info")).json()) as { NEventsListener: number };
  /** Each look is a request, so the engine's own work goes on in between. */
  const until = async (condition: () => boolean | Promise<boolean>) => {
    while (!(await condition())) await ping();
  };

  const open = async (): Promise<Socket> => {
    const socket = connect(engine.socket);
    await once(socket, "connect");
    return socket;
  };
  /** Writes, and answers what has come when `enough` says so or the other side ends. */
  const exchange = async (text: string, enough = (answer: string) => answer.includes("\r\n\r\n")) => {
    const socket = await open();
    let answer = "";
    const over = new Promise<void>((resolve) => {
      socket.on("data", (chunk) => {
        answer += chunk;
        if (enough(answer)) resolve();
      });
      socket.on("close", () => resolve());
      socket.on("error", () => resolve());
    });
    socket.write(text);
    await over;
    return { socket, answer };
  };
  const head = (method: string, path: string, more = "") => `${method} ${path} HTTP/1.1\r\nHost: x\r\n${more}\r\n`;
  const UPGRADE = "Connection: Upgrade\r\nUpgrade: tcp\r\n";

  test("500 connections at once, all served, none kept", async () => {
    await ping();
    const before = descriptors();
    const clients = await Promise.all(
      Array.from({ length: 500 }, () => exchange(head("GET", "/_ping"), (answer) => answer.endsWith("\r\n\r\nOK"))),
    );
    for (const { answer } of clients) expect(answer).toStartWith("HTTP/1.1 200 OK");
    expect(descriptors()).toBeGreaterThanOrEqual(before + 490);
    for (const { socket } of clients) socket.destroy();
    await until(() => descriptors() <= before + 2);
  });

  test("one byte at a time is a request too", async () => {
    const body = JSON.stringify({ Image: "nope", Cmd: ["x"] });
    const text = `${head("POST", "/containers/create", `Content-Type: application/json\r\nContent-Length: ${body.length}\r\n`)}${body}`;
    const socket = await open();
    socket.setNoDelay(true);
    const answered = once(socket, "data");
    for (const byte of text) {
      socket.write(byte);
      await new Promise(setImmediate);
    }
    expect(String((await answered)[0])).toStartWith("HTTP/1.1 404");
    socket.destroy();
  });

  test("clients that leave in the middle of a head, of a body, or before the answer", async () => {
    const before = descriptors();
    const create = "POST /containers/create HTTP/1.1\r\nHost: x\r\nContent-Type: application/json\r\n";
    for (const text of [
      "GET /contai",
      "GET /containers/json HTTP/1.1\r\nHost",
      `${create}Content-Length: 100\r\n\r\n{"Ima`,
      `${create}Transfer-Encoding: chunked\r\n\r\n5\r\n{"Im`,
      `${create}Transfer-Encoding: chunked\r\n\r\nzz\r\n`,
      head("GET", "/containers/json?all=1"),
      head("POST", "/images/load", "Content-Length: 1000000\r\n"),
      head("POST", "/images/create?fromSrc=-&repo=x", "Content-Length: 1000000\r\n") + "x".repeat(1000),
    ]) {
      for (let i = 0; i < 10; i++) {
        const socket = await open();
        socket.on("error", () => {});
        socket.write(text);
        socket.destroy();
      }
    }
    await until(() => descriptors() <= before + 2);
    expect(await engine.ok("ps", "-aq")).toBe("");
    expect(engine.log).not.toContain("TypeError");
  });

  test("clients that leave a stream: nothing of it stays", async () => {
    await engine.ok("run", "-d", "--name", "quiet", "busybox", "sleep", "1000");
    const exec = async () => {
      const answer = await engine.api("POST", "/containers/quiet/exec", {
        AttachStdin: true,
        AttachStdout: true,
        Cmd: ["cat"],
      });
      return ((await answer.json()) as { Id: string }).Id;
    };
    await ping();
    const before = descriptors();
    const hijacked = (path: string) => head("POST", path, UPGRADE);
    for (let i = 0; i < 5; i++) {
      const requests = [
        head("GET", "/events"),
        head("GET", "/containers/quiet/logs?follow=1&stdout=1"),
        head("GET", "/containers/quiet/stats"),
        head("POST", "/containers/quiet/wait", "Content-Length: 0\r\n"),
        head("POST", "/containers/quiet/attach?stream=1&stdout=1", "Content-Length: 0\r\n"),
        hijacked("/containers/quiet/attach?stream=1&stdin=1&stdout=1"),
        `${head("POST", `/exec/${await exec()}/start`, `${UPGRADE}Content-Type: application/json\r\nContent-Length: 2\r\n`)}{}`,
      ];
      const clients = await Promise.all(requests.map((text) => exchange(text)));
      for (const { answer } of clients) expect(answer).toMatch(/^HTTP\/1\.1 (200 OK|101 UPGRADED)\r\n/);
      expect((await info()).NEventsListener).toBe(1);
      for (const { socket } of clients) socket.destroy();
      await until(async () => (await info()).NEventsListener === 0);
    }
    await engine.ok("rm", "-f", "quiet");
    await until(() => descriptors() <= before + 2);
  });

  test("attach to nothing ends at once, and to none, or without a body that was promised, says so", async () => {
    await engine.ok("create", "--name", "idle", "busybox", "true");
    const none = await engine.api("POST", "/containers/idle/attach");
    expect({ status: none.status, body: await none.text() }).toEqual({ status: 200, body: "" });
    const { answer, socket } = await exchange(head("POST", "/containers/nope/attach?stream=1", UPGRADE));
    expect(answer).toStartWith("HTTP/1.1 404 Not Found\r\n");
    expect(answer).toContain('{"message":"No such container: nope"}');
    socket.destroy();
    await engine.ok("rm", "idle");
  });

  test("an upgrade that a route knows nothing of changes nothing", async () => {
    const listed = await exchange(head("GET", "/containers/json", UPGRADE), (answer) =>
      answer.endsWith("\r\n\r\n[]\n"),
    );
    expect(listed.answer).toStartWith("HTTP/1.1 200 OK\r\n");
    const events = await exchange(head("GET", "/events", UPGRADE));
    expect(events.answer).toStartWith("HTTP/1.1 200 OK\r\n");
    const seen = once(events.socket, "data");
    await engine.ok("rm", await engine.ok("create", "busybox", "true"));
    expect(String((await seen)[0])).toContain('"Action":"create"');
    events.socket.destroy();
    listed.socket.destroy();
    await until(async () => (await info()).NEventsListener === 0);
  });

  test("bodies without end are refused, and memory stays where it is", async () => {
    const before = memory();
    const chunk = Buffer.alloc(1 << 20, " ");
    for (let i = 0; i < 3; i++) {
      const socket = await open();
      let answer = "";
      let closed = false;
      socket.on("data", (data) => {
        answer += data;
      });
      socket.on("error", () => {});
      socket.on("close", () => {
        closed = true;
      });
      const type = "Content-Type: application/json\r\nTransfer-Encoding: chunked\r\n";
      socket.write(head("POST", "/containers/create", type));
      for (let sent = 0; sent < 64 && !closed && !answer; sent++) {
        socket.write(`${chunk.length.toString(16)}\r\n`);
        socket.write(chunk);
        socket.write("\r\n");
        while (socket.writableLength > 4 * chunk.length && !closed && !answer) await new Promise(setImmediate);
      }
      await until(() => closed || answer !== "");
      expect(answer).toMatch(/^(HTTP\/1\.1 400|$)/);
      socket.destroy();
    }
    expect(await ping()).toBe("OK");
    expect(memory() - before).toBeLessThan(100);
  });
});
