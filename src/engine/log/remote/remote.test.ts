import { afterEach, beforeEach, describe, expect, test } from "bun:test";
import dgram from "node:dgram";
import { once } from "node:events";
import { mkdtempSync, rmSync } from "node:fs";
import net from "node:net";
import { hostname, tmpdir } from "node:os";
import { join } from "node:path";
import { Datagrams } from "../../../../test/datagrams.ts";
import { type ContainerLog, openLog } from "../container-log.ts";
import type { Message, Receiver } from "./remote-log.ts";
import { RemoteLog } from "./remote-log.ts";
import { facilityOf, syslogAddress } from "./syslog-options.ts";

let directory: string;
const open: (() => void)[] = [];
beforeEach(() => {
  directory = mkdtempSync(join(tmpdir(), "inro-log-"));
});
afterEach(() => {
  for (const end of open.splice(0)) end();
  rmSync(directory, { recursive: true, force: true });
});

const ID = "0123456789abcdef".repeat(4);
const record = (Type: string, Config: Record<string, string>) => ({
  id: ID,
  name: "web",
  created: "2026-01-02T03:04:05.6Z",
  image: "busybox",
  imageId: `sha256:${"f".repeat(64)}`,
  config: { Cmd: ["sh"], Labels: { "com.example/role": "front\nend", _x: "1" }, Env: ["A=1", "BAD"] },
  host: { LogConfig: { Type, Config } },
  mounts: [],
  anonymous: [],
});
const errors: string[] = [];
const logOf = (type: string, options: Record<string, string>, journal = join(directory, "journal")): ContainerLog =>
  openLog(() => record(type, options) as never, {
    directory,
    journal,
    onError: (error) => errors.push(String(error)),
  })!;
const datagrams = (name: string) => {
  const socket = new Datagrams(join(directory, name));
  open.push(() => socket.close());
  return socket;
};

describe("journald", () => {
  /** The fields of an entry of the native protocol. */
  const fields = (entry: Buffer): Record<string, string> => {
    const found: Record<string, string> = {};
    for (let at = 0; at < entry.length; ) {
      const end = entry.indexOf("\n", at);
      const line = entry.toString("utf8", at, end);
      const equals = line.indexOf("=");
      if (equals >= 0) {
        found[line.slice(0, equals)] = line.slice(equals + 1);
        at = end + 1;
      } else {
        const length = Number(entry.readBigUInt64LE(end + 1));
        found[line] = entry.toString("utf8", end + 9, end + 9 + length);
        at = end + 10 + length;
      }
    }
    return found;
  };

  test("gets docker's fields with each line, a long one in pieces", async () => {
    const socket = datagrams("journal");
    const log = logOf("journald", { tag: "{{.Name}}/{{.ID}}", labels: "com.example/role,_x,none", env: "A,BAD" });
    await log.connect();
    log.begin();
    log.write(1, Buffer.from("hello = you\nunfinished"));
    log.write(2, Buffer.from(`${"x".repeat(16 * 1024 + 5)}\n`));
    const ended = log.end();
    const entries = (await socket.receive(4)).map(fields);
    await ended;
    const [first, piece, rest, last] = entries;
    expect(first).toEqual({
      PRIORITY: "6",
      MESSAGE: "hello = you",
      SYSLOG_TIMESTAMP: expect.stringMatching(/^\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d(\.\d*[1-9])?Z$/),
      CONTAINER_LOG_ORDINAL: "1",
      CONTAINER_LOG_EPOCH: expect.stringMatching(/^[0-9a-f]{64}$/),
      CONTAINER_ID: ID.slice(0, 12),
      CONTAINER_ID_FULL: ID,
      CONTAINER_NAME: "web",
      CONTAINER_TAG: `web/${ID.slice(0, 12)}`,
      SYSLOG_IDENTIFIER: `web/${ID.slice(0, 12)}`,
      IMAGE_NAME: "busybox",
      COM_EXAMPLE_ROLE: "front\nend",
      X: "1",
      A: "1",
    });
    expect(piece).toMatchObject({
      PRIORITY: "3",
      MESSAGE: "x".repeat(16 * 1024),
      CONTAINER_PARTIAL_ORDINAL: "1",
      CONTAINER_PARTIAL_LAST: "false",
      CONTAINER_PARTIAL_MESSAGE: "true",
    });
    expect(rest).toMatchObject({ MESSAGE: "xxxxx", CONTAINER_PARTIAL_ORDINAL: "2", CONTAINER_PARTIAL_LAST: "true" });
    expect(rest!.CONTAINER_PARTIAL_ID).toBe(piece!.CONTAINER_PARTIAL_ID);
    expect(rest!.SYSLOG_TIMESTAMP).toBe(piece!.SYSLOG_TIMESTAMP);
    expect(rest!.CONTAINER_PARTIAL_MESSAGE).toBeUndefined();
    expect(last).toMatchObject({ MESSAGE: "unfinished", PRIORITY: "6", CONTAINER_LOG_ORDINAL: "4" });
    expect(errors.splice(0)).toEqual([]);
  });

  test("that is not there is said before the start", async () => {
    await expect(logOf("journald", {}).connect()!).rejects.toThrow(
      "failed to initialize logging driver: journald is not enabled on this host",
    );
  });

  test("that does not read holds back who writes, and nothing is lost", async () => {
    const socket = datagrams("journal");
    const log = logOf("journald", { "cache-disabled": "true" });
    await log.connect();
    log.begin();
    const line = `${"y".repeat(1000)}\n`;
    let wait: Promise<void> | undefined;
    let written = 0;
    while (!wait && written < 100_000) {
      wait = log.write(1, Buffer.from(line));
      written++;
    }
    expect(written).toBeLessThan(1000);
    const received = await Promise.all([socket.receive(written), wait]).then(([messages]) => messages);
    expect(received.map((entry) => fields(entry).CONTAINER_LOG_ORDINAL)).toEqual(
      Array.from({ length: written }, (_, i) => String(i + 1)),
    );
    await log.end();
    expect(errors.splice(0)).toEqual([]);
  });

  test("that was started anew is connected to again", async () => {
    const path = join(directory, "journal");
    const first = new Datagrams(path);
    const log = logOf("journald", {});
    await log.connect();
    log.begin();
    log.write(1, Buffer.from("one\n"));
    await first.receive(1);
    first.close();
    rmSync(path);
    const second = datagrams("journal");
    log.write(1, Buffer.from("two\n"));
    expect(fields((await second.receive(1))[0]!).MESSAGE).toBe("two");
    await log.end();
  });
});

describe("syslog", () => {
  const host = hostname();
  const stamp = "[A-Z][a-z]{2} [ \\d]\\d \\d\\d:\\d\\d:\\d\\d";
  const zone = "(Z|[+-]\\d\\d:\\d\\d)";
  test.each([
    ["", `<30>${stamp} web\\[${process.pid}\\]: `],
    ["rfc3164", `<30>${stamp} ${host} web\\[${process.pid}\\]: `],
    ["rfc5424", `<30>1 \\d{4}-\\d\\d-\\d\\dT\\d\\d:\\d\\d:\\d\\d${zone} ${host} web ${process.pid} web - `],
    [
      "rfc5424micro",
      `<30>1 \\d{4}-\\d\\d-\\d\\dT\\d\\d:\\d\\d:\\d\\d\\.\\d{6}${zone} ${host} web ${process.pid} web - `,
    ],
  ])("in the format %j", async (format, head) => {
    const socket = datagrams("log");
    const address = `unixgram://${join(directory, "log")}`;
    const log = logOf("syslog", { "syslog-address": address, "syslog-format": format, tag: "{{.Name}}" });
    await log.connect();
    log.begin();
    log.write(1, Buffer.from("out\n"));
    log.write(2, Buffer.from("err\n"));
    const [out, err] = (await socket.receive(2)).map(String);
    expect(out).toMatch(new RegExp(`^${head}out\\n$`));
    expect(err).toMatch(new RegExp(`^${head.replace("<30>", "<27>")}err\\n$`));
    await log.end();
  });

  test("over TCP, a broken connection is made again", async () => {
    const sockets: net.Socket[] = [];
    let text = "";
    let wake = () => {};
    const server = net.createServer((socket) => {
      sockets.push(socket);
      socket.on("data", (data) => {
        text += data;
        wake();
      });
    });
    server.listen(0, "127.0.0.1");
    await once(server, "listening");
    open.push(() => server.close());
    const { port } = server.address() as net.AddressInfo;
    const comes = async (what: string) => {
      while (!text.includes(what)) {
        await new Promise<void>((resolve) => {
          wake = resolve;
        });
      }
    };
    const log = logOf("syslog", { "syslog-address": `tcp://127.0.0.1:${port}`, "syslog-facility": "local7" });
    await log.connect();
    log.begin();
    log.write(1, Buffer.from("one\n"));
    await comes("one\n");
    const gone = once(sockets[0]!, "close");
    sockets[0]!.destroy();
    await gone;
    // The first after it may go nowhere: nobody has told the kernel yet.
    let n = 0;
    while (sockets.length < 2) {
      log.write(1, Buffer.from(`again ${n++}\n`));
      await Bun.sleep(2);
    }
    log.write(1, Buffer.from("last\n"));
    await comes("last\n");
    expect(text).toStartWith("<190>");
    await log.end();
    for (const socket of sockets) socket.destroy();
    expect(errors.splice(0)).toEqual([]);
  });

  test("over UDP", async () => {
    const server = dgram.createSocket("udp4");
    server.bind(0, "127.0.0.1");
    await once(server, "listening");
    open.push(() => server.close());
    const message = once(server, "message");
    const log = logOf("syslog", { "syslog-address": `udp://127.0.0.1:${server.address().port}` });
    await log.connect();
    log.begin();
    log.write(1, Buffer.from("datagram\n"));
    expect(String((await message)[0])).toEndWith(": datagram\n");
    await log.end();
  });

  test("nobody there is said before the start", async () => {
    const server = net.createServer().listen(0, "127.0.0.1");
    await once(server, "listening");
    const { port } = server.address() as net.AddressInfo;
    await new Promise((resolve) => server.close(resolve));
    await expect(logOf("syslog", { "syslog-address": `tcp://127.0.0.1:${port}` }).connect()!).rejects.toThrow(
      `failed to initialize logging driver: dial tcp 127.0.0.1:${port}: `,
    );
  });

  test("addresses and facilities", () => {
    expect(syslogAddress("udp://10.0.0.1")).toEqual({ kind: "udp", host: "10.0.0.1", port: 514 });
    expect(syslogAddress("tcp+tls://[::1]:6514")).toEqual({ kind: "tcp+tls", host: "::1", port: 6514 });
    expect(syslogAddress("")).toEqual({ kind: "local" });
    expect(() => syslogAddress("foo")).toThrow("syslog-address should be in form proto://address, got foo");
    expect(() => syslogAddress("gopher://x")).toThrow(
      "syslog-address should be in form proto://address, got gopher://x",
    );
    expect(() => syslogAddress("unix:///nope")).toThrow("stat /nope: no such file or directory");
    expect(() => syslogAddress("udp://a:99999")).toThrow("invalid host or port");
    expect(() => syslogAddress("udp://a:b")).toThrow("invalid host or port");
    expect([facilityOf(""), facilityOf("local0"), facilityOf("23"), facilityOf("0")]).toEqual([3, 16, 23, 0]);
    for (const wrong of ["zz", "24", "-1", "toString"])
      expect(() => facilityOf(wrong)).toThrow("invalid syslog facility");
  });
});

describe("a receiver that takes nothing", () => {
  const stuck = (release: Promise<void>): Receiver & { got: string[] } => ({
    got: [],
    begin() {},
    async connect() {},
    encode: ({ text }: Message) => Buffer.from(text),
    send(data) {
      return release.then(() => void this.got.push(String(data)));
    },
    async close() {},
  });

  test("with mode non-blocking loses what does not fit the buffer, and that is told", async () => {
    let release = () => {};
    const receiver = stuck(
      new Promise((resolve) => {
        release = resolve;
      }),
    );
    const log = new RemoteLog({
      receiver,
      buffer: 1000,
      onError: (error) => errors.push(error.message),
      newId: () => "",
    });
    const line = `${"z".repeat(99)}\n`;
    for (let i = 0; i < 50; i++) expect(log.write(1, Buffer.from(line), 0n)).toBeUndefined();
    release();
    await log.end(0n);
    expect(receiver.got.length).toBeGreaterThanOrEqual(10);
    expect(errors.splice(0)).toEqual([
      `${50 - receiver.got.length} log messages dropped: the buffer of 1000 bytes was full`,
    ]);
  });
});
