import { expect, test } from "bun:test";
import { mkdtempSync, rmSync, statSync } from "node:fs";
import { createServer } from "node:http";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { listen } from "./listen.ts";

test("the socket is at no moment open to more than its owner and group", async () => {
  const dir = mkdtempSync(join(tmpdir(), "inro-serve-"));
  const path = join(dir, "sock");
  const server = createServer();
  const umask = process.umask(0);
  try {
    const listening = listen(server, { kind: "unix", path });
    // Nothing has run in between: this is the mode it was bound with.
    expect(statSync(path).mode & 0o7777).toBe(0o660);
    await listening;
    expect(statSync(path).mode & 0o7777).toBe(0o660);
    expect(process.umask()).toBe(0);
  } finally {
    process.umask(umask);
    server.close();
    rmSync(dir, { recursive: true });
  }
});
