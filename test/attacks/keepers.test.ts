import { expect, test } from "bun:test";
import { mkdirSync, mkdtempSync, rmSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { findKeepers, KEEPER_ARGV0, STATUS_FILE } from "../../src/runtime/running.ts";

/** A process that calls itself the keeper of `runDir`. */
async function impostor(runDir: string): Promise<Bun.Subprocess> {
  const child = Bun.spawn({
    cmd: [process.execPath, runDir],
    argv0: KEEPER_ARGV0,
    env: { ...process.env, BUN_OPTIONS: "" },
    stdio: ["pipe", "pipe", "ignore"],
  });
  return child;
}

test("a process with a keeper's name is not taken for one (cf. CVE-2020-15257)", async () => {
  const dir = mkdtempSync(join(tmpdir(), "inro-attack-"));
  const runDir = join(dir, "containers");
  mkdirSync(runDir);
  writeFileSync(join(runDir, STATUS_FILE), "");
  writeFileSync(
    join(runDir, "index.ts"),
    "console.log('up'); await new Promise(() => {}); setInterval(() => {}, 1e6);",
  );
  const child = await impostor(runDir);
  try {
    const reader = (child.stdout as ReadableStream<Uint8Array>).getReader();
    expect(Buffer.from((await reader.read()).value ?? []).toString()).toContain("up");
    const name = Buffer.from(await Bun.file(`/proc/${child.pid}/cmdline`).bytes()).toString();
    expect(name).toBe(`${KEEPER_ARGV0}\0${runDir}\0`);
    expect(findKeepers().has(runDir)).toBe(false);
  } finally {
    child.kill();
    await child.exited;
    rmSync(dir, { recursive: true });
  }
});
