import { afterEach, beforeEach, describe, expect, test } from "bun:test";
import {
  appendFileSync,
  existsSync,
  mkdtempSync,
  readdirSync,
  readFileSync,
  rmSync,
  statSync,
  truncateSync,
  writeFileSync,
} from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { formatNanoseconds } from "../clock.ts";
import type { LogLimits } from "../config/log-config.ts";
import type { LogOptions } from "../requests.ts";
import { blockFormat } from "./block-format.ts";
import { jsonFormat } from "./json-format.ts";
import { LONGEST_PIECE } from "./line-splitter.ts";
import { LogFile } from "./log-file.ts";
import { readLogs, unframed } from "./logs.ts";
import { LogReader } from "./reader.ts";

const numbered = (count: number, from = 0) => Array.from({ length: count }, (_, i) => `line ${i + from}\n`);

/** What `logs` shows, piece by piece. */
async function show(log: LogFile, options: LogOptions = {}, reader = new LogReader(log)): Promise<string[]> {
  const shown: string[] = [];
  const all = { stdout: true, stderr: true, ...options };
  for await (const { data } of unframed(readLogs(reader, all, true))) shown.push(Buffer.from(data).toString());
  return shown;
}

describe.each([
  ["json-file", jsonFormat, ".gz"],
  ["local", blockFormat, ".zst"],
] as const)("the log of the driver %s", (_, format, extension) => {
  let directory: string;
  let path: string;
  beforeEach(() => {
    directory = mkdtempSync(join(tmpdir(), "inro-log-"));
    path = join(directory, "x.log");
  });
  afterEach(() => rmSync(directory, { recursive: true, force: true }));

  const open = (limits: Partial<LogLimits> = {}, attributes?: () => Record<string, string>) =>
    new LogFile(path, {
      format,
      limits: { maxSize: Number.POSITIVE_INFINITY, maxFiles: 1, compress: false, ...limits },
      ...(attributes ? { attributes } : {}),
    });
  /** A log of one run, each string read at a time of its own. */
  const filled = (chunks: readonly string[], limits: Partial<LogLimits> = {}) => {
    const log = open(limits);
    for (const chunk of chunks) log.write(1, Buffer.from(chunk));
    log.end();
    return log;
  };
  const files = () => readdirSync(directory).sort();

  test("is rotated by size and keeps so many files; reading joins them", async () => {
    const log = filled(numbered(200), { maxSize: 2000, maxFiles: 3 });
    expect(files()).toEqual(["x.log", "x.log.1", "x.log.2"]);
    for (const file of files()) expect(statSync(join(directory, file)).size).toBeLessThan(2200);
    const shown = await show(log);
    expect(shown.length).toBeGreaterThan(40);
    expect(shown).toEqual(numbered(200).slice(-shown.length));
    // An engine that comes later finds them again.
    expect(await show(open({ maxSize: 2000, maxFiles: 3 }))).toEqual(shown);
  });

  test("much at once is rotated at the same size, between lines", async () => {
    const log = filled([numbered(3000).join("")], { maxSize: 10_000, maxFiles: 3 });
    for (const file of files()) expect(statSync(join(directory, file)).size).toBeLessThan(10_600);
    const shown = await show(log);
    expect(shown).toEqual(numbered(3000).slice(-shown.length));
    expect(shown.length).toBeGreaterThan(100);
  });

  test("one file only is kept when max-file is 1", async () => {
    const log = filled(numbered(80), { maxSize: 800, maxFiles: 1 });
    expect(files()).toEqual(["x.log"]);
    expect((await show(log)).at(-1)).toBe("line 79\n");
  });

  test.each([0, 1, 7, 20, 99, 100, 1000])("the last %d lines, across files", async (tail) => {
    const log = filled(numbered(100), { maxSize: 800, maxFiles: 50 });
    expect(files().length).toBeGreaterThan(2);
    expect(await show(log, { tail: String(tail) })).toEqual(numbered(100).slice(Math.max(0, 100 - tail)));
  });

  test.each([1, 2, 5000, 20_000])("the last %d lines of much that was read at once", async (tail) => {
    const log = filled([numbered(10_000).join(""), numbered(10_000, 10_000).join("")]);
    expect(await show(log, { tail: String(tail) })).toEqual(numbered(20_000).slice(20_000 - tail));
  });

  test("a split line counts as one line of the tail, and has one timestamp", async () => {
    const long = `${"y".repeat(3 * LONGEST_PIECE)}\n`;
    const log = filled([`first\n${long}last\n`]);
    expect((await show(log, { tail: "2" })).join("")).toBe(`${long}last\n`);
    const stamped = (await show(log, { tail: "2", timestamps: true })).join("");
    expect(stamped.match(/\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d\.\d{9}Z /g)).toHaveLength(2);
  });

  test("an unfinished last line counts as one", async () => {
    const log = filled(["a\nb\nprompt> "]);
    expect(await show(log, { tail: "1" })).toEqual(["prompt> "]);
    expect(await show(log, { tail: "2" })).toEqual(["b\n", "prompt> "]);
  });

  test("lines of two streams that come in pieces are each whole, and in the tail too", async () => {
    const log = open();
    for (let i = 0; i < 50; i++) {
      log.write(1, Buffer.from(`out ${i} `));
      log.write(2, Buffer.from(`err ${i}`));
      log.write(1, Buffer.from("end\n"));
      log.write(2, Buffer.from(" end\n"));
    }
    log.end();
    const all = Array.from({ length: 50 }, (_, i) => [`out ${i} end\n`, `err ${i} end\n`]).flat();
    expect(await show(log)).toEqual(all);
    for (const tail of [1, 2, 3, 4]) expect(await show(log, { tail: String(tail) })).toEqual(all.slice(-tail));
    expect(await show(log, { stdout: false, tail: "3" })).toEqual(
      all.slice(-3).filter((line) => line.startsWith("err")),
    );
  });

  test("since and until are bounds on the time, streams are chosen", async () => {
    const log = open();
    for (const line of numbered(3)) log.write(1, Buffer.from(line));
    log.write(2, Buffer.from("error\n"));
    log.end();
    const times = (await show(log, { timestamps: true })).map((line) => line.slice(0, 30));
    expect(await show(log, { since: times[1]! })).toEqual(["line 1\n", "line 2\n", "error\n"]);
    expect(await show(log, { until: times[1]! })).toEqual(["line 0\n", "line 1\n"]);
    expect(await show(log, { since: times[1]!, until: times[2]! })).toEqual(["line 1\n", "line 2\n"]);
    expect(await show(log, { since: times[1]!, tail: "2" })).toEqual(["line 2\n", "error\n"]);
    expect(await show(log, { stdout: false })).toEqual(["error\n"]);
    expect(await show(log, { since: "9999999999" })).toEqual([]);
  });

  test("since is found without reading what lies before, across files and compressed ones", async () => {
    const log = open({ maxSize: 300_000, maxFiles: 20, compress: true });
    const second = 1_000_000_000n;
    for (let i = 0; i < 500; i++) {
      const lines = Array.from({ length: 40 }, (_, k) => `${i} ${k} ${"z".repeat(60)}\n`).join("");
      log.write(1, Buffer.from(lines), BigInt(1_700_000_000 + i) * second);
    }
    log.end();
    await log.settled;
    expect(files().some((file) => file.endsWith(extension))).toBe(true);
    for (const at of [0, 1, 250, 251, 498, 499, 500]) {
      const shown = await show(log, { since: formatNanoseconds(BigInt(1_700_000_000 + at) * second) });
      expect([at, shown.length, shown[0]?.split(" ")[0]]).toEqual([
        at,
        (500 - at) * 40,
        at < 500 ? String(at) : undefined,
      ]);
    }
  });

  test("a torn record is cut off by the next writer and passed over by readers", async () => {
    filled(["whole\n"]);
    const { size } = statSync(path);
    const whole = readFileSync(path);
    for (const length of [1, 7, 10, 17, size - 1]) {
      writeFileSync(path, Buffer.concat([whole, whole.subarray(0, length)]));
      expect(await show(open())).toEqual(["whole\n"]);
      const log = open();
      log.write(1, Buffer.from("next\n"));
      log.end();
      expect(await show(log)).toEqual(["whole\n", "next\n"]);
    }
    truncateSync(path, size - 2);
    expect(await show(open())).toEqual([]);
  });

  test("what is no record is passed over, wherever it is", async () => {
    const log = filled([numbered(20_000).join("")]);
    const bytes = readFileSync(path);
    bytes.fill(0x41, 100_000, 101_000);
    writeFileSync(path, bytes);
    const shown = await show(log);
    expect(shown[0]).toBe("line 0\n");
    expect(shown.at(-1)).toBe("line 19999\n");
    expect(shown.length).toBeGreaterThan(10_000);
    writeFileSync(path, "A".repeat(300_000));
    expect((await show(log)).join("")).toBe("");
    expect(await show(log, { tail: "5" })).toEqual([]);
    expect(await show(log, { since: "1" })).toEqual([]);
    appendFileSync(path, Buffer.alloc(200_000));
    expect((await show(log)).join("")).toBe("");
  });

  test("following sees every line, also over rotations and compression, and ends with the run", async () => {
    const log = open({ maxSize: 1000, maxFiles: 100, compress: true });
    log.begin();
    const shown = show(log, { follow: true });
    for (const line of numbered(300)) {
      log.write(1, Buffer.from(line));
      // Gives the reader its turn, so that it meets files at every age.
      await new Promise((resolve) => setImmediate(resolve));
    }
    log.end();
    expect(await shown).toEqual(numbered(300));
    await log.settled;
    expect(await show(log)).toEqual(numbered(300));
    expect(files().filter((file) => file.endsWith(extension)).length).toBe(files().length - 1);
  });

  test("following ends with its run, though the next begins at once", async () => {
    const log = open();
    log.begin();
    log.write(1, Buffer.from("one\n"));
    const shown = show(log, { follow: true });
    await new Promise((resolve) => setImmediate(resolve));
    log.end();
    log.begin();
    expect(await shown).toEqual(["one\n"]);
    log.end();
  });

  test("following ends though a run begins while the last of the one before is read", async () => {
    const log = filled(["one\n"]);
    const shown = readLogs(new LogReader(log), { stdout: true, follow: true }, false);
    expect(String((await shown.next()).value)).toBe("one\n");
    const next = shown.next();
    log.begin();
    expect(await next).toEqual({ done: true, value: undefined });
    log.end();
  }, 5000);

  test("following begins before there is a file, and goes on with a line that is not finished", async () => {
    const log = open();
    log.begin();
    const shown = show(log, { follow: true });
    await new Promise((resolve) => setImmediate(resolve));
    for (const part of ["a", "b\nc", "d\n"]) {
      log.write(1, Buffer.from(part));
      await new Promise((resolve) => setImmediate(resolve));
    }
    log.end();
    expect(await shown).toEqual(["ab\n", "cd\n"]);
  });

  test("the tail of a log that is followed", async () => {
    const log = open();
    log.begin();
    for (const line of numbered(10)) log.write(1, Buffer.from(line));
    const readers = [0, 2].map((tail) => show(log, { follow: true, tail: String(tail) }));
    await new Promise((resolve) => setTimeout(resolve, 5));
    log.write(1, Buffer.from("new\n"));
    log.end();
    expect(await Promise.all(readers)).toEqual([["new\n"], ["line 8\n", "line 9\n", "new\n"]]);
  });

  test("a follower can be closed while nothing comes", async () => {
    const log = open();
    log.begin();
    log.write(1, Buffer.from("a\n"));
    const reader = new LogReader(log);
    const shown: string[] = [];
    for await (const { data } of unframed(readLogs(reader, { stdout: true, follow: true }, true))) {
      shown.push(Buffer.from(data).toString());
      setImmediate(() => reader.close());
    }
    expect(shown).toEqual(["a\n"]);
  });

  test("a file is read to its end though it is rotated away and removed meanwhile", async () => {
    const log = open({ maxSize: 50_000, maxFiles: 2 });
    for (const line of numbered(1000)) log.write(1, Buffer.from(line));
    const reader = new LogReader(log);
    const expected = await show(log);
    for (const line of numbered(5000, 1000)) log.write(1, Buffer.from(line));
    expect(await show(log, {}, reader)).toEqual(expected);
    log.end();
  });

  test("details are the attributes of the run, as a query", async () => {
    let tag = "first run";
    const log = open({ maxSize: 3000, maxFiles: 10 }, () => ({ tag, b: "x&y" }));
    log.begin();
    for (const line of numbered(20)) log.write(1, Buffer.from(line));
    log.end();
    tag = "second";
    log.begin();
    for (const line of numbered(20, 20)) log.write(1, Buffer.from(line));
    log.end();
    const shown = await show(log, { details: true });
    expect(shown[0]).toBe("b=x%26y,tag=first+run line 0\n");
    expect(shown[19]).toBe("b=x%26y,tag=first+run line 19\n");
    expect(shown[20]).toBe("b=x%26y,tag=second line 20\n");
    expect(await show(log, { details: true, tail: "1" })).toEqual(["b=x%26y,tag=second line 39\n"]);
    const stamped = await show(log, { details: true, timestamps: true, tail: "1" });
    expect(stamped[0]).toMatch(/^2\S{29} b=x%26y,tag=second line 39\n$/);
  });

  test("half-compressed files of an engine that was killed are made again", async () => {
    const expected = await show(filled(numbered(200), { maxSize: 1000, maxFiles: 50 }));
    writeFileSync(`${path}.7.part`, "half");
    const log = open({ maxSize: 1000, maxFiles: 50, compress: true });
    log.write(1, Buffer.from("after\n"));
    log.end();
    await log.settled;
    expect(await show(log)).toEqual([...expected, "after\n"]);
    expect(files().filter((file) => !file.endsWith(extension))).toEqual(["x.log"]);
  });

  test("an engine that is killed in the middle of a line loses nothing of it", async () => {
    const killed = open();
    killed.begin();
    killed.write(1, Buffer.from("one\ntw"));
    killed.write(2, Buffer.from("err"));
    killed.taken();
    const next = open();
    next.begin(true);
    const also = open();
    // It may be killed again before anything comes.
    also.begin(true);
    also.write(1, Buffer.from("o\nthree\n"));
    also.write(2, Buffer.from("or\n"));
    also.end();
    expect(await show(also)).toEqual(["one\n", "two\n", "three\n", "error\n"]);
    expect(files()).toEqual(["x.log"]);
  });

  test("what was on its way into the log when its engine was killed is not logged twice", async () => {
    const lines = numbered(2000).join("");
    const [first, second] = [lines.slice(0, 9000), lines.slice(9000)];
    const killed = open();
    killed.begin();
    killed.write(1, Buffer.from(first));
    killed.taken();
    // It was written, but is still in the pipe.
    killed.write(1, Buffer.from(second));
    const next = open();
    next.begin(true);
    next.write(1, Buffer.from(second));
    next.taken();
    next.end();
    expect(await show(next)).toEqual(numbered(2000));
    expect(files()).toEqual(["x.log"]);
  });

  test("what a run had left of a line when it was lost is no part of the next run's", async () => {
    const killed = open();
    killed.begin();
    killed.write(1, Buffer.from("prompt> "));
    killed.taken();
    const next = open();
    next.begin();
    next.write(1, Buffer.from("hello\n"));
    next.end();
    expect((await show(next)).join("")).toBe("prompt> hello\n");
    expect(files()).toEqual(["x.log"]);
    // One that belongs to an earlier state of the log is not taken.
    const before = open();
    before.begin();
    before.write(1, Buffer.from("half"));
    before.taken();
    const kept = files().includes("x.log.unfinished") ? readFileSync(`${path}.unfinished`) : undefined;
    before.write(1, Buffer.from(" whole\n"));
    before.end();
    if (kept) writeFileSync(`${path}.unfinished`, kept);
    const after = open();
    after.begin(true);
    after.end();
    expect((await show(after)).join("")).toBe("prompt> hello\nhalf whole\n");
  });

  test("an error of the disk leaves nothing half-written", () => {
    const log = open();
    log.write(1, Buffer.from("a\n"));
    rmSync(directory, { recursive: true });
    expect(existsSync(path)).toBe(false);
    log.write(1, Buffer.from("b\n"));
    log.end();
  });
});
