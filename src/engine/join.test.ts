import { expect, test } from "bun:test";
import { fstatSync, statSync } from "node:fs";
import { close } from "../linux/file.ts";
import { pidfdOpen } from "../linux/process.ts";
import { openNamespaceOf } from "./join.ts";

test("a namespace is that of the process, never that of the next one with its number", async () => {
  const one = Bun.spawn(["sleep", "1000"]);
  const pidfd = pidfdOpen(one.pid);
  const fd = openNamespaceOf({ pid: one.pid, pidfd }, "network")!;
  expect(fstatSync(fd).ino).toBe(statSync("/proc/self/ns/net").ino);
  close(fd);
  one.kill("SIGKILL");
  await one.exited;
  // As if this process had got the number meanwhile.
  expect(openNamespaceOf({ pid: process.pid, pidfd }, "network")).toBeUndefined();
  expect(openNamespaceOf({ pid: one.pid, pidfd }, "pid")).toBeUndefined();
  close(pidfd);
});
