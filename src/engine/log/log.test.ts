import { afterEach, beforeEach, describe, expect, test } from "bun:test";
import { appendFileSync, existsSync, mkdtempSync, readFileSync, rmSync, statSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { RECORD_TEXT, RecordEncoder } from "./encode.ts";
import { LogFile, logFiles, logLimits } from "./json-file.ts";
import { logLines } from "./lines.ts";
import { LogReader } from "./read.ts";

const TIME = 1_700_000_000_000_000_000n;

/** The records that the chunks become; parsed, so also well-formed JSON. */
function encode(chunks: (string | Uint8Array)[], end = false): { log: string; stream: string; time: string }[] {
  const encoder = new RecordEncoder(1);
  let text = "";
  const write = (bytes: Uint8Array) => {
    text += Buffer.from(bytes).toString();
  };
  for (const chunk of chunks) encoder.push(typeof chunk === "string" ? Buffer.from(chunk) : chunk, TIME, write);
  if (end) encoder.end(TIME, write);
  return text
    .split("\n")
    .slice(0, -1)
    .map((line) => JSON.parse(line));
}

describe("records", () => {
  test("one for each line, with a time that grows", () => {
    expect(encode(["a\nb\n"])).toEqual([
      { log: "a\n", stream: "stdout", time: "2023-11-14T22:13:20.000000000Z" },
      { log: "b\n", stream: "stdout", time: "2023-11-14T22:13:20.000000001Z" },
    ]);
  });

  test("a line is put together from chunks of any size", () => {
    const text = 'one\n\ttwo "quoted" \\ \r\n\n<b>&\u0001 é 漢 😀 \u2028\n';
    const bytes = Buffer.from(text);
    const single = [...bytes].map((byte) => Uint8Array.of(byte));
    expect(encode(single).map(({ log }) => log)).toEqual(encode([bytes]).map(({ log }) => log));
    expect(
      encode([bytes])
        .map(({ log }) => log)
        .join(""),
    ).toBe(text);
  });

  test("an unfinished line waits, and is written without a newline at the end", () => {
    expect(encode(["abc"])).toEqual([]);
    expect(encode(["abc"], true).map(({ log }) => log)).toEqual(["abc"]);
  });

  test.each([
    [RECORD_TEXT - 1, [RECORD_TEXT]],
    [RECORD_TEXT, [RECORD_TEXT, 1]],
    [RECORD_TEXT + 1, [RECORD_TEXT, 2]],
    [3 * RECORD_TEXT + 5, [RECORD_TEXT, RECORD_TEXT, RECORD_TEXT, 6]],
  ])("a line of %d bytes is split every 16 KiB, all parts with one time", (length, lengths) => {
    for (const records of [encode([`${"x".repeat(length)}\n`]), encode([..."x".repeat(length), "\n"])]) {
      expect(records.map(({ log }) => log.length)).toEqual(lengths);
      expect(new Set(records.map(({ time }) => time)).size).toBe(1);
      expect(records.map(({ log }) => log.endsWith("\n"))).toEqual(lengths.map((_, i) => i === lengths.length - 1));
    }
  });

  test.each([
    ["a lone continuation byte", [0x80], "\ufffd"],
    ["an overlong slash", [0xc0, 0xaf], "\ufffd\ufffd"],
    ["a surrogate", [0xed, 0xa0, 0x80], "\ufffd\ufffd\ufffd"],
    ["a cut sequence", [0xe6, 0xbc, 0x41], "\ufffd\ufffdA"],
    ["beyond Unicode", [0xf4, 0x90, 0x80, 0x80], "\ufffd\ufffd\ufffd\ufffd"],
  ])("%s becomes U+FFFD", (_, bytes, expected) => {
    expect(encode([Uint8Array.from([...bytes, 0x0a])])[0]?.log).toBe(`${expected}\n`);
  });

  test("the escapes are those of Go's encoder", () => {
    const encoder = new RecordEncoder(2, { label: "v" });
    let text = "";
    encoder.push(Buffer.from("\t<\n"), TIME, (bytes) => {
      text += Buffer.from(bytes).toString();
    });
    expect(text).toBe(
      '{"log":"\\u0009\\u003c\\n","stream":"stderr","attrs":{"label":"v"},"time":"2023-11-14T22:13:20.000000000Z"}\n',
    );
  });
});

describe("the log file", () => {
  let directory: string;
  let path: string;
  beforeEach(() => {
    directory = mkdtempSync(join(tmpdir(), "inro-log-"));
    path = join(directory, "x-json.log");
  });
  afterEach(() => rmSync(directory, { recursive: true, force: true }));

  const read = async (options: Parameters<typeof logLines>[1] = {}, log?: LogFile) => {
    const shown: string[] = [];
    const all = { stdout: true, stderr: true, ...options };
    for await (const { data } of logLines(new LogReader(path, log), all)) shown.push(Buffer.from(data).toString());
    return shown;
  };
  const numbered = (count: number) => Array.from({ length: count }, (_, i) => `line ${i}\n`);

  test("is rotated by size and keeps so many files; reading joins them", async () => {
    const log = new LogFile(path, { maxSize: 2000, maxFiles: 3 });
    for (const line of numbered(100)) log.write(1, Buffer.from(line));
    log.end();
    expect(logFiles(path)).toEqual([`${path}.2`, `${path}.1`, path]);
    expect(existsSync(`${path}.3`)).toBe(false);
    for (const file of logFiles(path)) expect(statSync(file).size).toBeLessThan(2200);
    const shown = await read();
    expect(shown.length).toBeGreaterThan(40);
    expect(shown).toEqual(numbered(100).slice(-shown.length));
  });

  test("one file only is kept when max-file is 1", async () => {
    const log = new LogFile(path, { maxSize: 500, maxFiles: 1 });
    for (const line of numbered(50)) log.write(1, Buffer.from(line));
    log.end();
    expect(logFiles(path)).toEqual([path]);
    expect((await read()).at(-1)).toBe("line 49\n");
  });

  test.each([0, 1, 7, 20, 99, 100, 1000])("the last %d lines, across files", async (tail) => {
    const log = new LogFile(path, { maxSize: 3000, maxFiles: 50 });
    for (const line of numbered(100)) log.write(1, Buffer.from(line));
    log.end();
    expect(await read({ tail: String(tail) })).toEqual(numbered(100).slice(Math.max(0, 100 - tail)));
  });

  test("a split line counts as one line of the tail, and has one timestamp", async () => {
    const log = new LogFile(path);
    const long = `${"y".repeat(3 * RECORD_TEXT)}\n`;
    log.write(1, Buffer.from(`first\n${long}last\n`));
    log.end();
    expect((await read({ tail: "2" })).join("")).toBe(`${long}last\n`);
    const stamped = (await read({ tail: "2", timestamps: true })).join("");
    expect(stamped.match(/\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d\.\d{9}Z /g)).toHaveLength(2);
  });

  test("an unfinished last line counts as one", async () => {
    const log = new LogFile(path);
    log.write(1, Buffer.from("a\nb\nprompt> "));
    log.end();
    expect(await read({ tail: "1" })).toEqual(["prompt> "]);
    expect(await read({ tail: "2" })).toEqual(["b\n", "prompt> "]);
  });

  test("since and until are bounds on the time, streams are chosen", async () => {
    const log = new LogFile(path);
    for (const line of numbered(3)) log.write(1, Buffer.from(line));
    log.write(2, Buffer.from("error\n"));
    log.end();
    const times = readFileSync(path, "utf8")
      .trim()
      .split("\n")
      .map((line) => JSON.parse(line).time as string);
    expect(await read({ since: times[1]! })).toEqual(["line 1\n", "line 2\n", "error\n"]);
    expect(await read({ until: times[1]! })).toEqual(["line 0\n", "line 1\n"]);
    expect(await read({ stdout: false })).toEqual(["error\n"]);
    expect(await read({ since: "9999999999" })).toEqual([]);
  });

  test("a torn record is cut off by the next writer and passed over by readers", async () => {
    const before = new LogFile(path);
    before.write(1, Buffer.from("whole\n"));
    before.end();
    appendFileSync(path, '{"log":"torn');
    expect(await read()).toEqual(["whole\n"]);
    const log = new LogFile(path);
    log.write(1, Buffer.from("next\n"));
    log.end();
    expect(await read()).toEqual(["whole\n", "next\n"]);
  });

  test("following sees every line, also over rotations, and ends with the run", async () => {
    const log = new LogFile(path, { maxSize: 1000, maxFiles: 100 });
    log.begin();
    const shown = read({ follow: true }, log);
    for (const line of numbered(200)) {
      log.write(1, Buffer.from(line));
      // Gives the reader its turn, so that it meets files at every age.
      await new Promise((resolve) => setImmediate(resolve));
    }
    log.end();
    expect(await shown).toEqual(numbered(200));
  });

  test("a follower can be closed while nothing comes", async () => {
    const log = new LogFile(path);
    log.begin();
    log.write(1, Buffer.from("a\n"));
    const reader = new LogReader(path, log);
    const shown: string[] = [];
    for await (const { data } of logLines(reader, { stdout: true, follow: true })) {
      shown.push(Buffer.from(data).toString());
      setImmediate(() => reader.close());
    }
    expect(shown).toEqual(["a\n"]);
  });

  test("limits are docker's options, with rotation as the default", () => {
    expect(logLimits()).toEqual({ maxSize: 20_000_000, maxFiles: 5 });
    expect(logLimits({ "max-size": "10m" })).toEqual({ maxSize: 10_000_000, maxFiles: 1 });
    expect(logLimits({ "max-size": "1.5k", "max-file": "3" })).toEqual({ maxSize: 1500, maxFiles: 3 });
    expect(logLimits({ "max-size": "-1" }).maxSize).toBe(Number.POSITIVE_INFINITY);
  });
});
