import { describe, expect, test } from "bun:test";
import { copyFileSync, existsSync, mkdtempSync, rmSync } from "node:fs";
import { tmpdir } from "node:os";
import { join, resolve } from "node:path";
import { compile } from "../build/compile.ts";

/**
 * What this machine's kernel may lack: the conformance cases marked `vm` in a virtual machine with AppArmor and cgroup
 * v2 alone. `vm-run` boots it (`vm-run --share DIR... -- COMMAND`): INRO_VM_RUN, in PATH, or beside the checkout.
 */
const top = resolve(import.meta.dir, "..");
const beside = join(top, "../shared/vm/vm-run");
const vmRun = process.env.INRO_VM_RUN ?? Bun.which("vm-run") ?? (existsSync(beside) ? beside : undefined);
/** Its first run makes the machine's disk out of Debian's packages. */
const BOOT_MS = 400_000;
const no = process.getuid?.() !== 0 ? "not root" : vmRun ? doesNotBoot(vmRun) : "no vm-run";

function doesNotBoot(vmRun: string): string | undefined {
  const { exitCode } = Bun.spawnSync([vmRun, "--", "true"], {
    timeout: BOOT_MS,
    stdio: ["ignore", "ignore", "ignore"],
  });
  return exitCode === 0 ? undefined : `the machine does not boot: ${exitCode ?? "not in time"}`;
}

/** Seconds. The machine may be emulated, and all in it take thirty times as long. */
const LIMIT = 600;

describe.skipIf(no !== undefined)(`on another kernel${no ? ` (skipped: ${no})` : ""}`, () => {
  test(
    "conformance with AppArmor and cgroup v2",
    async () => {
      const share = mkdtempSync(join(tmpdir(), "inro-vm-"));
      try {
        // One file to read there instead of many, over a slow file system.
        await compile(join(share, "inro"));
        copyFileSync("/bin/busybox", join(share, "busybox"));
        const script = [
          `cp -f ${share}/busybox /bin/busybox`,
          `cp ${share}/inro /var/lib/inro-runtime`,
          `INRO_TEST_RUNTIME=inro INRO_RUNTIME=/var/lib/inro-runtime exec ${process.execPath} ${top}/test/runtime/conformance/main.ts --vm`,
        ].join(" && ");
        const shares = [...new Set([top, share, resolve(process.execPath, "..")])].flatMap((path) => [
          "--share",
          `${path}:ro`,
        ]);
        const child = Bun.spawn([vmRun!, "--timeout", String(LIMIT), ...shares, "--", "sh", "-c", script], {
          stdio: ["ignore", "pipe", "pipe"],
        });
        const [out, err, code] = await Promise.all([
          new Response(child.stdout).text(),
          new Response(child.stderr).text(),
          child.exited,
        ]);
        if (code !== 0) console.error(out, err);
        expect(code).toBe(0);
        expect(out).toMatch(/inro: \d+ passed, 0 failed/);
      } finally {
        rmSync(share, { recursive: true });
      }
    },
    (LIMIT + 300) * 1000,
  );
});
