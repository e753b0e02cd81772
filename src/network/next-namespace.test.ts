import { expect, test } from "bun:test";
import { closeSync, openSync, statSync } from "node:fs";
import { NextNamespace } from "./next-namespace.ts";

const isRoot = process.getuid?.() === 0;

test.skipIf(!isRoot)(`one is made beside a launch that is alone${isRoot ? "" : " (needs root)"}`, async () => {
  const next = new NextNamespace();
  try {
    expect(next.ready).toBe(false);
    const first = Promise.withResolvers<string>();
    const heard = next.beside(first.promise);
    expect(next.ready).toBe(true);
    next.take().close();
    // Of many at once nobody has the time.
    const failing = next.beside(Promise.reject(new Error("no such command")));
    expect(next.ready).toBe(false);
    await expect(failing).rejects.toThrow("no such command");
    first.resolve("runs");
    expect(await heard).toBe("runs");
    await next.beside(Promise.resolve());
    expect(next.ready).toBe(true);
  } finally {
    next.close();
  }
  expect(next.ready).toBe(false);
});

test.skipIf(!isRoot)(`one that is too old is not taken${isRoot ? "" : " (needs root)"}`, () => {
  const next = new NextNamespace(0);
  const held = [];
  try {
    next.prepare();
    const { fd } = next;
    const old = statSync(`/proc/self/fd/${fd}`).ino;
    // Open, so that the kernel does not give its number again.
    held.push(openSync(`/proc/self/fd/${fd}`, "r"));
    expect(next.ready).toBe(false);
    const taken = next.take();
    expect(statSync(`/proc/self/fd/${taken.fd}`).ino).not.toBe(old);
    taken.close();
    expect(next.fd).toBeUndefined();
  } finally {
    for (const fd of held) closeSync(fd);
    next.close();
  }
});
