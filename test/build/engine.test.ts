import { afterAll, beforeAll, describe, expect, test } from "bun:test";
import { mkdirSync, mkdtempSync, rmSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { dirname, join } from "node:path";
import { hasBusybox, isRoot, type Result, TestEngine } from "../harness.ts";

/** Builds through an engine, by the command line. */
describe.skipIf(!isRoot || !hasBusybox)("inro build (needs root and busybox-static)", () => {
  const engine = new TestEngine();
  const top = mkdtempSync(join(tmpdir(), "inro-build-"));
  let count = 0;
  beforeAll(async () => {
    await engine.start();
    await engine.busybox();
  });
  afterAll(async () => {
    await engine.stop();
    rmSync(top, { recursive: true, force: true });
  });

  /** A new context directory. */
  function context(files: Record<string, string>): string {
    const directory = join(top, `context-${count++}`);
    write(directory, files);
    return directory;
  }

  function write(directory: string, files: Record<string, string>): void {
    for (const [name, text] of Object.entries(files)) {
      mkdirSync(dirname(join(directory, name)), { recursive: true });
      writeFileSync(join(directory, name), text);
    }
  }

  const build = (directory: string, ...flags: string[]): Promise<Result> =>
    engine.inro(["build", "--progress", "plain", ...flags, directory]);

  const steps = ({ stderr }: Result) => ({
    cached: (stderr.match(/CACHED/g) ?? []).length,
    ran: (stderr.match(/^#\d+ (\[.*\] RUN.*)$/gm) ?? []).length,
  });

  test("RUN and the config: an image that runs, and comes out of the cache", async () => {
    const directory = context({
      Dockerfile:
        'FROM busybox\nRUN echo made > /made && echo seen\nENV WHO=me\nCMD ["sh", "-c", "cat /made; echo $WHO"]\n',
    });
    const first = await build(directory, "-t", "one");
    expect(first).toMatchObject({ code: 0, stdout: "" });
    expect(first.stderr).toMatch(/\d seen$/m);
    expect(await engine.ok("run", "--rm", "one")).toBe("made\nme");
    const again = await build(directory, "-t", "one");
    expect(again.code).toBe(0);
    expect(steps(again).cached).toBe(2);
    expect(again.stderr).not.toMatch(/ \d seen$/m);
  });

  test("a step that fails: its output, its lines, the status", async () => {
    const directory = context({ Dockerfile: "FROM busybox\nRUN echo before; exit 3\nRUN never\n" });
    const { code, stderr } = await build(directory);
    expect(code).toBe(1);
    expect(stderr).toContain(" > [2/3] RUN echo before; exit 3:\n");
    expect(stderr).toMatch(/Dockerfile:2\n-{20}\n {3}1 \| {5}FROM busybox\n {3}2 \| >>> RUN echo before; exit 3\n/);
    expect(stderr).toContain(
      'ERROR: failed to solve: process "/bin/sh -c echo before; exit 3" did not complete successfully: exit code: 3',
    );
  });

  test("a Dockerfile with a mistake: where, and the nearest word", async () => {
    const { code, stderr } = await build(context({ Dockerfile: "FROM busybox\nRUNN x\n" }));
    expect(code).toBe(1);
    expect(stderr).toContain(
      "dockerfile parse error on line 2, column 1: unknown instruction: RUNN (did you mean RUN?)",
    );
  });

  test("the same Dockerfile on another engine is the same image", async () => {
    const directory = context({ Dockerfile: "FROM scratch\nLABEL a=b\nENV C=d\n" });
    await build(directory, "-t", "same", "--iidfile", join(top, "iid"));
    const { code } = await build(directory, "--no-cache", "--iidfile", join(top, "iid2"));
    expect(code).toBe(0);
    expect(await Bun.file(join(top, "iid")).text()).toBe(await Bun.file(join(top, "iid2")).text());
  });

  test("two stages of two seconds each take no four", async () => {
    const text =
      "FROM busybox AS a\nRUN sleep 2; echo a > /a\nFROM busybox AS b\nRUN sleep 2; echo b > /b\nFROM busybox\nRUN --mount=from=a,target=/x --mount=from=b,target=/y cat /x/a /y/b > /ab\n";
    const start = Date.now();
    const { code } = await build(context({ Dockerfile: text }), "-t", "two");
    expect(code).toBe(0);
    expect(Date.now() - start).toBeLessThan(3900);
    expect(await engine.ok("run", "--rm", "two", "cat", "/ab")).toBe("a\nb");
  });
});
