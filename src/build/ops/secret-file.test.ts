import { describe, expect, test } from "bun:test";
import { existsSync, readFileSync, statSync } from "node:fs";
import { onSharedMount, removeLeftSecrets, secretFile } from "./secret-file.ts";

const isRoot = process.getuid?.() === 0;

describe.skipIf(!isRoot)("a secret as a file (needs root)", () => {
  for (const [name, make] of Object.entries({ secretFile, onSharedMount })) {
    test(`${name}: its value, its owner, and gone when it is closed`, () => {
      const { path, close } = make(Buffer.from("hush"), { mode: 0o440, uid: 7, gid: 8 });
      expect(readFileSync(path, "utf8")).toBe("hush");
      const { mode, uid, gid } = statSync(path);
      expect([mode & 0o7777, uid, gid]).toEqual([0o440, 7, 8]);
      close();
      expect(existsSync(path)).toBeFalse();
    });
  }

  test("what a killed process left is removed, and nobody else's", async () => {
    const script = `const { onSharedMount } = await import(${JSON.stringify(`${import.meta.dir}/secret-file.ts`)});
      console.log(onSharedMount(Buffer.from("left"), { mode: 0o400, uid: 0, gid: 0 }).path);
      await new Promise((resolve) => setTimeout(resolve, 60_000));`;
    const child = Bun.spawn([process.execPath, "-e", script], { stdout: "pipe" });
    const { value } = await child.stdout.getReader().read();
    const left = Buffer.from(value!).toString().trim();
    const ours = onSharedMount(Buffer.from("ours"), { mode: 0o400, uid: 0, gid: 0 });
    try {
      removeLeftSecrets();
      expect(readFileSync(left, "utf8")).toBe("left");
      child.kill("SIGKILL");
      await child.exited;
      removeLeftSecrets();
      expect(existsSync(left)).toBeFalse();
      expect(readFileSync(ours.path, "utf8")).toBe("ours");
    } finally {
      ours.close();
    }
  });
});
