import { afterEach, describe, expect, test } from "bun:test";
import { mkdtempSync, rmSync } from "node:fs";
import { type ClientHttp2Session, connect, createServer, type Http2Server, type ServerHttp2Stream } from "node:http2";
import type { AddressInfo } from "node:net";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { readTar } from "../../archive/tar.ts";
import { AgentSockets } from "../build-agents.ts";
import { FileSync } from "./file-sync.ts";
import { MessageReader, MessageWriter } from "./protobuf.ts";
import { agentChannel, hasAgent } from "./services.ts";
import type { Session } from "./sessions.ts";

interface Listed {
  path: string;
  mode?: number;
  size?: number;
  linkname?: string;
}

type Give = (data: Uint8Array, then?: () => void) => void;

const DIRECTORY = 0x8000_0000;
const SYMLINK = 0x0800_0000;

function framed(message: Uint8Array): Buffer {
  const prefix = Buffer.alloc(5);
  prefix.writeUInt32BE(message.length, 1);
  return Buffer.concat([prefix, message]);
}

/** A client that lists files, and sends for each that is asked for what `send` says. */
class FakeClient {
  server: Http2Server | undefined;
  http2: ClientHttp2Session | undefined;

  async session(files: Listed[], send: (number: number, give: Give) => void): Promise<Session> {
    const server = createServer();
    this.server = server;
    server.on("stream", (stream: ServerHttp2Stream) => {
      stream.on("error", () => {});
      stream.respond({ ":status": 200, "content-type": "application/grpc" }, { waitForTrailers: true });
      stream.on("wantTrailers", () => stream.sendTrailers({ "grpc-status": "0" }));
      for (const { path, mode = 0o644, size = 0, linkname } of files) {
        const stat = new MessageWriter()
          .text(1, path)
          .uint(2, mode)
          .uint(5, size)
          .uint(6, 1)
          .text(7, linkname)
          .finish();
        stream.write(framed(new MessageWriter().message(2, stat).finish()));
      }
      stream.write(framed(new MessageWriter().finish()));
      let held = Buffer.alloc(0);
      stream.on("data", (chunk: Buffer) => {
        held = Buffer.concat([held, chunk]);
        while (held.length >= 5 && held.length >= 5 + held.readUInt32BE(1)) {
          const length = held.readUInt32BE(1);
          const packet = new MessageReader(held.subarray(5, 5 + length));
          held = held.subarray(5 + length);
          const number = packet.uint(3);
          const give: Give = (data, then) =>
            void stream.write(framed(new MessageWriter().uint(1, 2).uint(3, number).bytes(4, data).finish()), then);
          if (packet.uint(1) === 1) send(number, give);
          else stream.end();
        }
      });
    });
    await new Promise<void>((resolve) => server.listen(0, "127.0.0.1", resolve));
    this.http2 = connect(`http://127.0.0.1:${(server.address() as AddressInfo).port}`);
    this.http2.on("error", () => {});
    return { id: "x", sharedKey: "", methods: new Set(), http2: this.http2, gone: new AbortController().signal };
  }

  close(): void {
    this.http2?.destroy();
    this.server?.close();
  }
}

describe("files of a session", () => {
  let client: FakeClient;
  const open = async (files: Listed[], send: Parameters<FakeClient["session"]>[1] = () => {}) => {
    client = new FakeClient();
    const session = await client.session(files, send);
    return await FileSync.open(session, { name: "context" }, new AbortController().signal);
  };
  afterEach(() => client.close());

  const whole = (text: string) => (_: number, give: Give) => {
    give(Buffer.from(text));
    give(new Uint8Array());
  };

  test("directories, symlinks, files, and further names of them", async () => {
    const files = [
      { path: "a", size: 3 },
      { path: "d", mode: DIRECTORY | 0o755 },
      { path: "d/again", linkname: "a" },
      { path: "d/sym", mode: SYMLINK | 0o777, linkname: "../a" },
    ];
    const sync = await open(files, whole("abc"));
    const stamps = new Map<string, string>(JSON.parse(sync.listing()));
    expect(stamps.get("d/again")).toBe(`${stamps.get("a")} = a`);
    const seen: string[] = [];
    for await (const { type, name, linkname, body } of readTar(sync.fetch([0, 1, 2, 3]))) {
      seen.push(`${type} ${name} ${linkname} ${Buffer.concat(await Array.fromAsync(body))}`.trimEnd());
    }
    expect(seen).toEqual(["file a  abc", "directory d/", "hardlink d/again a", "symlink d/sym ../a"]);
    await sync.close();
  });

  test("a target that changes changes the stamp of its other names", async () => {
    const listing = async (size: number) => {
      const sync = await open([
        { path: "a", size },
        { path: "b", linkname: "a" },
      ]);
      const stamps = new Map<string, string>(JSON.parse(sync.listing()));
      client.close();
      return stamps.get("b");
    };
    expect(await listing(3)).not.toBe(await listing(4));
  });

  for (const [name, files] of Object.entries({
    "a link to what is not listed": [{ path: "b", linkname: "/etc/passwd" }],
    "a link to what comes later": [
      { path: "b", linkname: "c" },
      { path: "c", size: 1 },
    ],
    "a link to a directory": [
      { path: "d", mode: DIRECTORY | 0o755 },
      { path: "e", linkname: "d" },
    ],
    "a file that is listed twice": [{ path: "a" }, { path: "a" }],
  })) {
    test(`${name} is refused`, async () => {
      const sync = await open(files);
      expect(() => sync.listing()).toThrow(/no file before it|listed a file twice/);
    });
  }

  for (const [name, size, read] of [
    ["a Dockerfile that is said to be small", 1, (sync: FileSync) => sync.read(sync.files[0]!, 4 << 20)],
    ["a small file", 1, (sync: FileSync) => Array.fromAsync(sync.fetch([0]))],
    ["a large file", 3 << 20, (sync: FileSync) => Array.fromAsync(sync.fetch([0]))],
  ] as const) {
    test(`${name} cannot be endless`, async () => {
      let sent = 0;
      const sync = await open([{ path: "a", size }], (_, give) => {
        const more = () => {
          if (client.http2!.destroyed || sent > 64 << 20) return;
          sent += 1 << 15;
          give(new Uint8Array(1 << 15), () => setImmediate(more));
        };
        more();
      });
      // Not `rejects`, which waits in a loop of its own.
      const failure = await Promise.resolve(read(sync)).catch((error: Error) => error);
      expect(String(failure)).toMatch(/more of a file/);
      client.http2!.destroy();
      expect(sent).toBeLessThan(32 << 20);
    });
  }
});

test("a further name of a file is the file, whichever comes first", async () => {
  const client = new FakeClient();
  const session = await client.session(
    [
      { path: ".dockerignore", size: 4 },
      { path: "Dockerfile.dockerignore", linkname: ".dockerignore" },
    ],
    (_, give) => {
      give(Buffer.from(".env"));
      give(new Uint8Array());
    },
  );
  const sync = await FileSync.open(session, { name: "context" }, new AbortController().signal);
  expect((await sync.read(sync.find("Dockerfile.dockerignore")!, 100)).toString()).toBe(".env");
  await sync.close();
  client.close();
});

test("a step that asks for an agent whose client has left gets a closed connection", async () => {
  const client = new FakeClient();
  const session = await client.session([], () => {});
  // CheckAgent is answered as any call: by its status, once it has ended.
  client.server!.removeAllListeners("stream");
  client.server!.on("stream", (stream: ServerHttp2Stream) => {
    stream.respond({ ":status": 200, "grpc-status": "0" }, { endStream: true });
  });
  expect(await hasAgent(session, "default", new AbortController().signal)).toBeTrue();
  const directory = mkdtempSync(join(tmpdir(), "inro-agents-"));
  const agents = new AgentSockets(directory, (id) => agentChannel(session, id));
  const path = await agents.socket("default");
  client.close();
  await new Promise((resolve) => (session.http2.closed ? resolve(0) : session.http2.once("close", resolve)));
  const socket = await Bun.connect({
    unix: path,
    socket: { data() {}, close: () => closed.resolve(), error: () => closed.resolve() },
  }).catch(() => undefined);
  const closed = Promise.withResolvers<void>();
  if (socket) await closed.promise;
  await agents.close();
  rmSync(directory, { recursive: true });
});
