import { afterAll, beforeAll, describe, expect, test } from "bun:test";
import { existsSync, mkdtempSync, readdirSync, rmSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { AT_FDCWD } from "../../src/linux/constants.ts";
import { encode } from "../../src/program/elf.ts";
import { Program } from "../../src/program/ir.ts";
import { isRoot, TestEngine } from "../harness.ts";

const [platform, machine, architecture] =
  process.arch === "x64"
    ? (["linux/arm64", "aarch64", "arm64"] as const)
    : (["linux/amd64", "x86_64", "amd64"] as const);
const QEMU = `/usr/bin/qemu-${machine}-static`;
const BINFMT = "/proc/sys/fs/binfmt_misc";

/** Whether the kernel gives programs of the other machine to an emulator already. */
const registered = existsSync(BINFMT)
  ? readdirSync(BINFMT).some((name) => name === `qemu-${machine}` || name === machine)
  : false;

describe.skipIf(!isRoot)(`RUN for another machine than this${isRoot ? "" : " (needs root)"}`, () => {
  let engine: TestEngine;
  let directory: string;
  beforeAll(async () => {
    engine = await new TestEngine().start();
    directory = mkdtempSync(join(tmpdir(), "inro-emulated-"));
    // A program of the other machine's that makes a directory.
    const p = new Program(3);
    p.call("the test", "mkdirat", [AT_FDCWD, p.text("/made"), 0o755]);
    p.exit("the test", p.bytes(new Uint8Array(4), "0"));
    writeFileSync(join(directory, "program"), encode(p, machine), { mode: 0o755 });
    writeFileSync(join(directory, "Dockerfile"), 'FROM scratch\nCOPY program /program\nRUN ["/program"]\n');
  });
  afterAll(async () => {
    await engine?.stop();
    rmSync(directory, { recursive: true, force: true });
  });
  const build = (...flags: string[]) =>
    engine.inro(["build", "--progress", "plain", "--platform", platform, ...flags, directory]);

  test.skipIf(registered)(
    `without an emulator: what it is for, and what is missing${registered ? " (one is registered)" : ""}`,
    async () => {
      const { code, stderr } = await build("-t", "never");
      expect(code).toBe(1);
      expect(stderr).toContain(`exec format error: the file is for ${architecture}`);
      expect(stderr).toContain("qemu-user-static");
      expect((await engine.inro(["image", "inspect", "never"])).code).not.toBe(0);
    },
  );

  const asked = process.env.INRO_TEST_BINFMT === "1";
  const cannot = registered
    ? ""
    : !existsSync(QEMU)
      ? `no ${QEMU}`
      : asked
        ? ""
        : "changes binfmt_misc: INRO_TEST_BINFMT=1";
  test.skipIf(cannot !== "")(`with one it runs${cannot && ` (${cannot})`}`, async () => {
    const undo = registered ? () => {} : register();
    try {
      const to = join(directory, "out");
      const { code, stderr } = await build("--no-cache", "-o", to);
      expect([code, stderr]).toEqual([0, stderr]);
      expect(readdirSync(to).sort()).toEqual(["made", "program"]);
      expect((await build("-t", "other")).code).toBe(0);
      expect(await engine.ok("image", "inspect", "--format", "{{.Architecture}}", "other")).toBe(architecture);
      // What it does is done already: it fails, and can only do so where it runs.
      expect((await engine.inro(["run", "--rm", "--platform", platform, "other", "/program"])).code).toBe(255);
    } finally {
      undo();
    }
  });
});

/** With the flag F, so that the emulator need not be in the container. */
function register(): () => void {
  const mounted = existsSync(join(BINFMT, "register"));
  const run = (...argv: string[]) => {
    const { exitCode, stderr } = Bun.spawnSync(argv);
    if (exitCode !== 0) throw new Error(`${argv.join(" ")}: ${stderr}`);
  };
  if (!mounted) run("mount", "-t", "binfmt_misc", "binfmt_misc", BINFMT);
  const elf = Buffer.from("7f454c4602010100000000000000000002000000", "hex");
  elf[18] = machine === "aarch64" ? 0xb7 : 0x3e;
  // All but the ABI; a type of 2 or 3 (binfmt-misc.rst).
  const mask = Buffer.from("ffffffffffffff00fffffffffffffffffeffffff", "hex");
  const hex = (bytes: Uint8Array) => [...bytes].map((byte) => `\\x${byte.toString(16).padStart(2, "0")}`).join("");
  const name = `inro-test-${process.pid}`;
  writeFileSync(join(BINFMT, "register"), `:${name}:M::${hex(elf)}:${hex(mask)}:${QEMU}:F`);
  return () => {
    writeFileSync(join(BINFMT, name), "-1");
    if (!mounted) run("umount", BINFMT);
  };
}
