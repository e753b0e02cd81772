import { expect, test } from "bun:test";
import { lstatSync, mkdtempSync, readdirSync, readFileSync, rmSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { writeFile } from "./files.ts";

async function* bytes(...parts: string[]) {
  for (const part of parts) yield Buffer.from(part);
}

test("a file appears whole, a pipe stays one", async () => {
  const dir = mkdtempSync(join(tmpdir(), "inro-files-"));
  try {
    await writeFile(join(dir, "file"), bytes("one", "two"));
    expect(readFileSync(join(dir, "file"), "utf8")).toBe("onetwo");
    const failing = (async function* () {
      yield Buffer.from("half");
      throw new Error("the engine is gone");
    })();
    await expect(writeFile(join(dir, "file"), failing)).rejects.toThrow("the engine is gone");
    const pipe = join(dir, "pipe");
    expect(Bun.spawnSync(["mkfifo", pipe]).exitCode).toBe(0);
    const reader = Bun.spawn(["cat", pipe], { stdout: "pipe" });
    await writeFile(pipe, bytes("through"));
    expect(await new Response(reader.stdout).text()).toBe("through");
    expect(lstatSync(pipe).isFIFO()).toBe(true);
    expect(readFileSync(join(dir, "file"), "utf8")).toBe("onetwo");
    expect(readdirSync(dir).toSorted()).toEqual(["file", "pipe"]);
  } finally {
    rmSync(dir, { recursive: true });
  }
});
