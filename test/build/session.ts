import { type ClientHttp2Session, connect as connectHttp2, createServer, type ServerHttp2Stream } from "node:http2";
import { connect } from "node:net";
import { Duplex } from "node:stream";
import { framed, MessageFrames } from "../../src/api/buildkit/grpc.ts";
import { MessageReader, MessageWriter } from "../../src/api/buildkit/protobuf.ts";

/** A request that upgrades its connection: what follows the engine's answer, as a stream. */
export async function dial(path: string, target: string, headers: Record<string, string> = {}): Promise<Duplex> {
  const socket = connect(path);
  const lines = Object.entries({ Host: "x", Connection: "Upgrade", Upgrade: "h2c", ...headers });
  socket.write(`POST ${target} HTTP/1.1\r\n${lines.map(([key, value]) => `${key}: ${value}\r\n`).join("")}\r\n`);
  // Not the socket itself: HTTP/2 would not see what has come with the answer.
  const stream = new Duplex({
    read() {},
    write: (chunk, _, done) => void socket.write(chunk, () => done()),
    final: (done) => void socket.end(() => done()),
    destroy(error, done) {
      socket.destroy();
      done(error);
    },
  });
  const agreed = Promise.withResolvers<void>();
  let answer: Buffer | undefined = Buffer.alloc(0);
  socket.on("data", (chunk: Buffer) => {
    if (!answer) return void stream.push(chunk);
    answer = Buffer.concat([answer, chunk]);
    const end = answer.indexOf("\r\n\r\n");
    if (end < 0) return;
    if (!answer.toString().startsWith("HTTP/1.1 101 ")) agreed.reject(new Error(answer.toString()));
    const rest = answer.subarray(end + 4);
    answer = undefined;
    agreed.resolve();
    if (rest.length > 0) stream.push(rest);
  });
  socket.on("close", () => {
    agreed.reject(new Error(`${target}: closed`));
    stream.destroy();
  });
  await agreed.promise;
  return stream;
}

/** BuildKit's control API of an engine; `leave` ends the connection. */
export async function control(path: string): Promise<{ http2: ClientHttp2Session; leave(): void }> {
  const socket = await dial(path, "/grpc");
  const http2 = connectHttp2("http://localhost", { createConnection: () => socket });
  http2.on("error", () => {});
  return { http2, leave: () => void socket.destroy() };
}

export interface Received {
  metadata: Record<string, string>;
  data: Buffer;
}

/** A client's session: its directories of files by name, and what it is sent. The caller closes it. */
export class FakeSession {
  readonly received: Received[] = [];
  /** By path, what a directory that was sent has: contents, `-> target`, or `/`. */
  readonly files = new Map<string, string>();

  private constructor(
    readonly id: string,
    private readonly socket: Duplex,
    private readonly directories: Record<string, Record<string, string>>,
    private readonly takes: "file" | "directory",
  ) {}

  static async open(
    path: string,
    directories: Record<string, Record<string, string>>,
    takes: "file" | "directory" = "file",
  ): Promise<FakeSession> {
    const id = crypto.randomUUID().replaceAll("-", "");
    const socket = await dial(path, "/session", {
      "X-Docker-Expose-Session-Uuid": id,
      "X-Docker-Expose-Session-Grpc-Method": "/moby.filesync.v1.FileSync/DiffCopy,/moby.filesync.v1.FileSend/DiffCopy",
    });
    const session = new FakeSession(id, socket, directories, takes);
    const server = createServer();
    server.on("stream", (stream: ServerHttp2Stream, headers) =>
      session.#answer(stream, headers as Record<string, string>),
    );
    server.emit("connection", socket);
    return session;
  }

  close(): void {
    this.socket.destroy();
  }

  #answer(stream: ServerHttp2Stream, headers: Record<string, string>): void {
    stream.on("error", () => {});
    const path = headers[":path"]!;
    const known = path.startsWith("/moby.filesync.v1.File");
    stream.respond({ ":status": 200, "content-type": "application/grpc" }, { waitForTrailers: true });
    stream.on("wantTrailers", () => stream.sendTrailers({ "grpc-status": known ? "0" : "12" }));
    if (!known) return void stream.end();
    const frames = new MessageFrames(path);
    const messages = (take: (packet: MessageReader) => void) =>
      stream.on("data", (chunk: Buffer) => {
        for (const message of frames.take(chunk)) take(new MessageReader(message));
      });
    if (path.includes("FileSync")) this.#list(stream, headers, messages);
    else if (this.takes === "file") {
      const one: Received = { metadata: {}, data: Buffer.alloc(0) };
      messages((message) => {
        one.data = Buffer.concat([one.data, message.bytes(1)]);
      });
      stream.on("end", () => {
        this.received.push(one);
        stream.end();
      });
    } else this.#take(stream, messages);
  }

  #list(
    stream: ServerHttp2Stream,
    headers: Record<string, string>,
    messages: (take: (packet: MessageReader) => void) => void,
  ): void {
    const directory = this.directories[String(headers["dir-name"])] ?? {};
    // Values of one name come with commas between them.
    const wanted = headers["include-patterns"]?.split(/,\s*/);
    const names = Object.keys(directory).filter((name) => !wanted || wanted.includes(name));
    for (const name of names.sort()) {
      const size = Buffer.byteLength(directory[name]!);
      const stat = new MessageWriter().text(1, name).uint(2, 0o644).uint(5, size).uint(6, 1).finish();
      stream.write(framed(new MessageWriter().message(2, stat).finish()));
    }
    stream.write(framed(new MessageWriter().finish()));
    messages((packet) => {
      if (packet.uint(1) !== 1) return void stream.end();
      const number = packet.uint(3);
      for (const data of [Buffer.from(directory[names[number]!]!), new Uint8Array()]) {
        stream.write(framed(new MessageWriter().uint(1, 2).uint(3, number).bytes(4, data).finish()));
      }
    });
  }

  /** As fsutil's receiver: parents first, in its order, each file's content when it is asked for. */
  #take(stream: ServerHttp2Stream, messages: (take: (packet: MessageReader) => void) => void): void {
    const paths: string[] = [];
    const wanted = new Set<number>();
    const whole = () => {
      if (wanted.size === 0) stream.write(framed(new MessageWriter().uint(1, 3).finish()));
    };
    let listed = false;
    messages((packet) => {
      const type = packet.uint(1);
      const stat = packet.message(2);
      if (type === 0 && stat) {
        const [name, mode] = [stat.text(1), stat.uint(2)];
        paths.push(name);
        if (mode & 0x8000_0000) this.files.set(name, "/");
        else if (mode & 0x0800_0000) this.files.set(name, `-> ${stat.text(7)}`);
        else {
          this.files.set(name, "");
          wanted.add(paths.length - 1);
          stream.write(
            framed(
              new MessageWriter()
                .uint(1, 1)
                .uint(3, paths.length - 1)
                .finish(),
            ),
          );
        }
      } else if (type === 0) {
        listed = true;
        whole();
      } else if (type === 2) {
        const [number, data] = [packet.uint(3), packet.bytes(4)];
        const name = paths[number]!;
        if (data.length > 0) this.files.set(name, this.files.get(name)! + data);
        else {
          wanted.delete(number);
          if (listed) whole();
        }
      } else stream.end();
    });
  }
}
