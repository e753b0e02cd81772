import { describe, expect, test } from "bun:test";
import { readFileSync, statSync } from "node:fs";
import { join } from "node:path";
import { engineForTests, hasBusybox, isRoot } from "../harness.ts";

const why = !isRoot ? "needs root" : !hasBusybox ? "no busybox-static" : "";

describe.skipIf(why !== "")(`an engine that leaves${why && ` (${why})`}`, async () => {
  if (why) return;
  const engine = engineForTests();

  test("takes no output with it: a container that floods has every line in its log, in order, once", async () => {
    const last = 120_000;
    const id = await engine.ok("run", "-d", "busybox", "seq", "0", String(last));
    const path = join(engine.dataRoot, "containers", id, `${id}-json.log`);
    const size = () => statSync(path, { throwIfNoEntry: false })?.size ?? 0;
    for (let round = 1; round <= 4; round++) {
      while (size() < round * 1_000_000) await Bun.sleep(5);
      await engine.kill("SIGTERM");
      await engine.start();
    }
    expect(await engine.ok("wait", id)).toBe("0");
    // A record may end in the middle of a line, where an engine left.
    const records = readFileSync(path, "utf8").trimEnd().split("\n");
    const lines = records
      .map((record) => JSON.parse(record).log as string)
      .join("")
      .trimEnd()
      .split("\n");
    const wrong = lines.findIndex((line, i) => line !== String(i));
    expect([wrong, lines[wrong - 1], lines[wrong], lines.length]).toEqual([-1, undefined, undefined, last + 1]);
    await engine.ok("rm", id);
  });
});
