import { afterAll, beforeAll, describe, expect, test } from "bun:test";
import { chmodSync, mkdirSync, readdirSync, rmSync, symlinkSync, writeFileSync } from "node:fs";
import { join } from "node:path";
import * as k from "../../../src/linux/constants.ts";
import { makedev, mknodat } from "../../../src/linux/file.ts";
import type { Spec } from "../../../src/spec/oci-runtime.ts";
import { cannotRun, Runtime } from "../bundle.ts";
import { Traces } from "./traces.ts";

/** Root file systems whose makers mean no good: each starts as any other, or is refused, and the host stays as it is. */
describe.skipIf(cannotRun !== undefined)(`a hostile root${cannotRun ? ` (skipped: ${cannotRun})` : ""}`, () => {
  let runtime: Runtime;
  let traces: Traces;
  let outside: string;
  beforeAll(() => {
    runtime = new Runtime();
    traces = new Traces(runtime, "rootfs");
    outside = join(runtime.dir, "outside");
    mkdirSync(outside);
  });
  afterAll(() => runtime.close());

  type Change = (root: string) => void;
  async function run(change: Change, script: string, config: (spec: Spec & { process: object }) => void = () => {}) {
    const bundle = runtime.bundle(script, (s) => {
      s.root!.readonly = false;
      config(s as never);
    });
    change(join(bundle, "rootfs"));
    const result = await runtime.run(["run", "-b", bundle, traces.id("r")]);
    expect(readdirSync(outside)).toEqual([]);
    expect(readdirSync(bundle).sort()).toEqual(["config.json", "rootfs"]);
    await traces.settle();
    return result;
  }

  const link =
    (path: string, to?: string): Change =>
    (root) => {
      rmSync(join(root, path), { recursive: true, force: true });
      mkdirSync(join(root, path, ".."), { recursive: true });
      symlinkSync(to ?? outside, join(root, path));
    };
  const passwd =
    (make: (path: string) => void): Change =>
    (root) => {
      mkdirSync(join(root, "etc"));
      make(join(root, "etc/passwd"));
    };
  const node =
    (type: number, dev = 0) =>
    (path: string) =>
      mknodat(k.AT_FDCWD, path, type | 0o666, dev);

  test.each<[string, Change]>([
    ["no /proc, /sys or /dev", () => {}],
    ["a passwd that is a FIFO", passwd(node(k.S_IFIFO))],
    ["a passwd that never ends", passwd(node(k.S_IFCHR, makedev(1, 5)))],
    ["a passwd that is a directory", passwd(mkdirSync)],
    ["a passwd that leads in a circle", passwd((path) => symlinkSync("passwd", path))],
    ["a passwd that leads to the host's", passwd((path) => symlinkSync("../../../../../../etc/passwd", path))],
    ["a passwd of noise", passwd((path) => writeFileSync(path, Buffer.alloc(9999, ":::\n\0\xff", "latin1")))],
    ["a home out of the root", passwd((path) => writeFileSync(path, "x:x:0:0::/../../../..:/bin/sh\n"))],
  ])("starts: %s", async (_, change) => {
    expect(await run(change, "echo $?")).toEqual({ code: 0, out: "0\n", err: "" });
  });

  test.each<[string, Change]>([
    ["/proc is a link", link("proc")],
    ["/proc is a link to itself", link("proc", "proc")],
    ["/sys is a link", link("sys")],
    ["/proc is a file", (root) => writeFileSync(join(root, "proc"), "")],
    ["/dev is a file", (root) => writeFileSync(join(root, "dev"), "")],
    ["/dev is a link to itself", link("dev", "dev")],
    ["/bin is a link to itself", link("bin", "bin")],
    ["a passwd of 2 MiB", passwd((path) => writeFileSync(path, "x".repeat(2 << 20)))],
    ["the command is a FIFO", (root) => replaceSh(root, node(k.S_IFIFO))],
    ["the command is a device", (root) => replaceSh(root, node(k.S_IFCHR, makedev(1, 5)))],
    ["the command is a directory", (root) => replaceSh(root, mkdirSync)],
    ["the command may not be run", (root) => replaceSh(root, (path) => writeFileSync(path, "", { mode: 0o600 }))],
    ["the command has no interpreter", (root) => replaceSh(root, script("#!/nowhere\n"))],
    ["the command interprets itself", (root) => replaceSh(root, script("#!/bin/sh\n"))],
    ["the command is empty", (root) => replaceSh(root, script(""))],
    ["the command is half a file", (root) => replaceSh(root, script("\x7fELF\x02\x01\x01"))],
  ])("refused: %s", async (_, change) => {
    const { code, out, err } = await run(change, "echo ran");
    expect({ code, out, err }).toEqual({ code: 1, out: "", err: expect.stringMatching(/^inro-runtime: .+\n$/) });
  });

  const script = (text: string) => (path: string) => writeFileSync(path, text, { mode: 0o755 });
  const replaceSh = (root: string, make: (path: string) => void) => {
    rmSync(join(root, "bin/sh"));
    make(join(root, "bin/sh"));
  };

  test.each<[string, Change, RegExp]>([
    ["/dev leads out", link("dev"), /./],
    ["/dev leads out by many steps", link("dev", "../../../../../../../../../tmp"), /./],
    ["/dev/shm leads out", link("dev/shm"), /./],
    ["/tmp leads out, and a mount goes there", link("tmp"), /./],
    ["/etc leads out, and a file goes there", link("etc"), /./],
  ])("%s: not the host's", async (_, change) => {
    const { code, err } = await run(change, "exit 0", (s) => {
      s.mounts = [
        ...(s.mounts ?? []),
        { destination: "/tmp/made", type: "tmpfs", source: "tmpfs" },
        { destination: "/etc/hosts", type: "bind", source: "/etc/hosts", options: ["bind", "ro"] },
      ];
      s.process!.cwd = "/tmp/cwd";
    });
    // Where the link leads inside the root, or not at all.
    if (code !== 0) expect({ code, err }).toEqual({ code: 1, err: expect.stringMatching(/^inro-runtime: .+\n$/) });
  });

  test("directories that the user may not enter", async () => {
    const closed =
      (path: string): Change =>
      (root) => {
        mkdirSync(join(root, path), { recursive: true });
        chmodSync(join(root, path), 0o000);
      };
    const user = (s: Spec) => {
      s.process!.user = { uid: 1000, gid: 1000 };
    };
    chmodSync(runtime.dir, 0o755);
    const { code, err } = await run(closed("bin"), "true", user);
    expect({ code, err }).toEqual({ code: 1, err: expect.stringMatching(/permission denied|not found in \$PATH/) });
    expect(
      await run(closed("work"), "cd .. ; pwd", (s) => {
        user(s);
        s.process!.cwd = "/work";
      }),
    ).toMatchObject({ err: expect.not.stringContaining("TypeError") });
  });
});
