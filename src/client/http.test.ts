import { describe, expect, test } from "bun:test";
import type { Connection } from "./connection.ts";
import { formatRequest, MessageReader, readBody, readHead } from "./http.ts";
import { jsonStream } from "./json-stream.ts";
import { Demultiplexer } from "./stdcopy.ts";

/** A connection that delivers `text` in pieces of `size` bytes. */
function reader(text: string, size: number): MessageReader {
  const bytes = Buffer.from(text, "latin1");
  let at = 0;
  return new MessageReader({
    async read() {
      if (at >= bytes.length) return undefined;
      const chunk = bytes.subarray(at, at + size);
      at += size;
      return chunk;
    },
  } as Connection);
}

async function body(text: string, size: number, method = "GET") {
  const from = reader(text, size);
  const head = await readHead(from);
  let reusable: boolean | undefined;
  let out = "";
  for await (const chunk of readBody(from, head, method, (value) => (reusable = value))) {
    out += Buffer.from(chunk).toString("latin1");
  }
  return { status: head.status, out, reusable, left: from.buffered };
}

const sizes = [1, 2, 3, 7, 1000];

describe("HTTP responses, cut anywhere", () => {
  test.each(sizes)("pieces of %d", async (size) => {
    const plain = "HTTP/1.1 200 OK\r\nContent-Length: 5\r\nX-A: b\r\n\r\nhello";
    expect(await body(plain, size)).toMatchObject({ status: 200, out: "hello", reusable: true });
    const chunked =
      "HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n5;x=y\r\nhello\r\nA\r\n 0123\r\n567\r\n0\r\nTrailer: x\r\n\r\n";
    expect(await body(chunked, size)).toMatchObject({ out: "hello 0123\r\n567", reusable: true });
    expect(await body("HTTP/1.1 200 OK\r\n\r\nto the end", size)).toMatchObject({ out: "to the end", reusable: false });
    expect(await body("HTTP/1.1 204 No Content\r\n\r\n", size)).toMatchObject({ out: "", reusable: true });
    const early =
      "HTTP/1.1 100 Continue\r\n\r\nHTTP/1.1 404 Not Found\r\nConnection: close\r\nContent-Length: 1\r\n\r\nx";
    expect(await body(early, size)).toMatchObject({ status: 404, out: "x", reusable: false });
  });

  test.each([
    ["SSH-2.0-x\r\n\r\n", "not an HTTP response"],
    ["HTTP/1.1 200 OK\r\nnonsense\r\n\r\n", "invalid header line"],
    ["HTTP/1.1 200 OK\r\nContent-Length: -1\r\n\r\n", "invalid content-length"],
    ["HTTP/1.1 200 OK\r\nContent-Length: 9\r\n\r\nshort", "before the end of the body"],
    ["HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\nzz\r\n", "invalid chunk size"],
    ["HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n2\r\nabc\r\n", "chunk longer than its size"],
    ["HTTP/1.1 200 OK\r\n", "ended inside a message"],
    [`HTTP/1.1 200 OK\r\nA: ${"x".repeat(300_000)}\r\n\r\n`, "header too long"],
  ])("%p is an error", async (text, message) => {
    expect(body(text, 1000)).rejects.toThrow(message);
  });

  test("a header value cannot smuggle a line", () => {
    expect(() => formatRequest("GET", "/", { A: "b\r\nC: d" })).toThrow("invalid header");
  });
});

describe("framing", () => {
  const framed = (stream: number, text: string) => {
    const header = Buffer.alloc(8);
    header[0] = stream;
    header.writeUInt32BE(Buffer.byteLength(text), 4);
    return Buffer.concat([header, Buffer.from(text)]);
  };
  const all = Buffer.concat([framed(1, "one"), framed(2, ""), framed(2, "two"), framed(0, "three"), framed(1, "four")]);

  test.each(sizes)("pieces of %d", (size) => {
    const demultiplexer = new Demultiplexer();
    const out = { stdout: "", stderr: "" };
    for (let at = 0; at < all.length; at += size) {
      for (const { stream, data } of demultiplexer.push(all.subarray(at, at + size))) out[stream] += Buffer.from(data);
    }
    expect(out).toEqual({ stdout: "onethreefour", stderr: "two" });
    expect(demultiplexer.complete).toBe(true);
  });

  test("an unfinished frame is not complete", () => {
    for (let cut = 1; cut < 11; cut++) {
      const demultiplexer = new Demultiplexer();
      for (const _ of demultiplexer.push(all.subarray(0, cut)));
      expect(demultiplexer.complete).toBe(false);
    }
  });

  test("what is no frame, and what the engine reports, are errors", () => {
    const push = (bytes: Uint8Array) => [...new Demultiplexer().push(bytes)];
    expect(() => push(Buffer.from("plain text"))).toThrow("unrecognized stream header");
    expect(() => push(Buffer.from([1, 0, 0, 0, 255, 255, 255, 255]))).toThrow("too large");
    expect(() => push(framed(3, "log gone"))).toThrow("log gone");
  });
});

describe("JSON streams", () => {
  const text = '{"a":"}{\\"é"}\r\n{"b":[{"c":1}]}{"d":2}\n\x1e{"e":"\\\\"}\n';
  async function parse(source: string, size: number): Promise<unknown[]> {
    const bytes = Buffer.from(source);
    async function* chunks() {
      for (let at = 0; at < bytes.length; at += size) yield bytes.subarray(at, at + size);
    }
    return Array.fromAsync(jsonStream(chunks()));
  }

  test.each(sizes)("pieces of %d", async (size) => {
    expect(await parse(text, size)).toEqual([{ a: '}{"é' }, { b: [{ c: 1 }] }, { d: 2 }, { e: "\\" }]);
  });

  test("a broken end and other text are errors", () => {
    expect(parse('{"a":1}{"b"', 4)).rejects.toThrow("ended inside");
    expect(parse("<html>", 4)).rejects.toThrow("invalid JSON stream");
    expect(parse("}", 4)).rejects.toThrow("invalid JSON stream");
  });
});
