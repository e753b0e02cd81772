import { afterEach, beforeEach, expect, test } from "bun:test";
import { mkdtempSync, readFileSync, renameSync, rmSync, statSync } from "node:fs";
import { tmpdir } from "node:os";
import { type Access, AccessLog } from "./access-log.ts";

let dir: string;
let path: string;
beforeEach(() => {
  dir = mkdtempSync(`${tmpdir()}/inro-access-`);
  path = `${dir}/log`;
});
afterEach(() => rmSync(dir, { recursive: true }));

const access: Access = {
  time: 0,
  socket: "unix:///s",
  peer: { kind: "unix", uid: 7, gid: 8, pid: 9 },
  method: "GET",
  path: "/info",
  status: 200,
  bytes: 5,
  duration: 1.234,
};
const complain = (line: string) => {
  throw new Error(line);
};

test("a line of text: nothing of a path or a certificate's name can end it or begin another", async () => {
  const log = await AccessLog.open(path, "text", complain);
  log.write(access);
  log.write({ ...access, peer: { kind: "tls", name: 'a"\nb', address: "::1" }, path: '/x\n"2 y\x1b[0m' });
  log.write({ ...access, peer: undefined, path: `/${"a".repeat(5000)}` });
  await log.close();
  expect(statSync(path).mode & 0o777 & ~0o640).toBe(0);
  const lines = readFileSync(path, "utf8").split("\n");
  expect(lines.slice(0, 2)).toEqual([
    '1970-01-01T00:00:00.000Z unix:///s uid=7 gid=8 pid=9 "GET /info" 200 5 1.23ms',
    '1970-01-01T00:00:00.000Z unix:///s cn="a\\"\\nb" from=::1 "GET /x\\n\\"2 y\\u001b[0m" 200 5 1.23ms',
  ]);
  expect(lines[2]!.length).toBeLessThan(1200);
  expect(lines).toHaveLength(4);
});

test("a line of JSON", async () => {
  const log = await AccessLog.open(path, "json", complain);
  log.write(access);
  log.write({ ...access, peer: { kind: "tls", name: "me", address: "127.0.0.1" } });
  await log.close();
  const [first, second] = readFileSync(path, "utf8")
    .trim()
    .split("\n")
    .map((line) => JSON.parse(line));
  expect(first).toEqual({
    time: "1970-01-01T00:00:00.000Z",
    socket: "unix:///s",
    ...{ uid: 7, gid: 8, pid: 9, method: "GET", path: "/info", status: 200, bytes: 5, ms: 1.23 },
  });
  expect(second).toMatchObject({ cn: "me", from: "127.0.0.1" });
});

test("lines are in order over renames, and none is in both files or in neither", async () => {
  const log = await AccessLog.open(path, "json", complain);
  for (let i = 0; i < 3000; i++) {
    log.write({ ...access, status: i });
    if (i !== 1000) continue;
    renameSync(path, `${path}.1`);
    await log.reopen();
  }
  await log.close();
  const read = (file: string) =>
    readFileSync(file, "utf8")
      .trim()
      .split("\n")
      .map((line) => JSON.parse(line).status);
  const [old, young] = [read(`${path}.1`), read(path)];
  expect([...old, ...young]).toEqual(Array.from({ length: 3000 }, (_, i) => i));
  expect(young[0]).toBe(1001);
});

test("what a disk does not take in time is counted, not kept", async () => {
  const log = await AccessLog.open(path, "text", complain);
  // All in one turn of the event loop: nothing can have been written meanwhile.
  for (let i = 0; i < 10_000; i++) log.write({ ...access, path: `/${"a".repeat(1000)}` });
  await log.close();
  const text = readFileSync(path, "utf8");
  const dropped = Number(/ (\d+) lines dropped/.exec(text)![1]);
  expect(text.split("\n").filter((line) => line.includes("GET")).length).toBe(10_000 - dropped);
});
