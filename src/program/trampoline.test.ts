import { afterAll, expect, test } from "bun:test";
import { existsSync, mkdtempSync, rmSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { trampoline } from "./trampoline.ts";

const dir = mkdtempSync(join(tmpdir(), "inro-trampoline-"));
afterAll(() => rmSync(dir, { recursive: true }));
const QEMU = "/usr/bin/qemu-aarch64-static";

for (const machine of ["x86_64", "aarch64"] as const) {
  const native = machine === (process.arch === "arm64" ? "aarch64" : "x86_64");
  const runner = native ? [] : machine === "aarch64" && existsSync(QEMU) ? [QEMU] : undefined;
  const why = runner ? "" : ` (skipped: no ${QEMU})`;
  const run = (path: string, words: string[], args: string[]) => {
    const file = join(dir, `${machine}-${words.length}`);
    writeFileSync(file, trampoline(machine, path, words), { mode: 0o755 });
    return Bun.spawnSync([...(runner ?? []), file, ...args], { env: { GIVEN: "kept" } });
  };

  test.skipIf(!runner)(`${machine}: words, then the caller's, and its environment${why}`, () => {
    for (const words of [
      ["sh"],
      ["sh", "-c", 'echo "$0 $# $* $GIVEN"'],
      ["sh", "-c", 'echo "$0 $# $* $GIVEN"', "name"],
    ]) {
      for (const args of [[], ["a"], ["a b", "", "c"]]) {
        if (words.length === 1) continue;
        const [zero = "sh", ...rest] = [...words.slice(3), ...args];
        expect(run("/bin/sh", words, args).stdout.toString()).toBe(`${zero} ${rest.length} ${rest.join(" ")} kept\n`);
      }
    }
  });

  test.skipIf(!runner)(`${machine}: what cannot be executed is status 127${why}`, () => {
    expect(run("/nothing/there", ["x"], []).exitCode).toBe(127);
  });
}
