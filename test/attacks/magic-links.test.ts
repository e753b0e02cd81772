import { afterAll, describe, expect, test } from "bun:test";
import { mkdtempSync, rmSync, writeFileSync } from "node:fs";
import { join } from "node:path";
import { engineForTests } from "../harness.ts";
import { Box, missing } from "../isolation/container.ts";

describe.skipIf(missing !== "")(`other roots in a shared pid namespace${missing}`, async () => {
  const engine = missing ? undefined! : engineForTests();
  const dir = mkdtempSync("/var/tmp/inro-attack-");
  afterAll(() => rmSync(dir, { recursive: true, force: true }));
  writeFileSync(join(dir, "marker"), "of the host");
  /** What a working directory may not be: the root and the directory of a process of the host. */
  const ways = ["root", "cwd", `root${dir}`].map((name) => `/proc/${process.pid}/${name}`);
  const look = `cat marker .${dir}/marker ../marker; ls`;

  test("--pid host: -w does not follow the kernel's links (CVE-2024-21626)", async () => {
    for (const way of ways) {
      const { code, stdout, stderr } = await engine.sh(look, "--pid", "host", "-w", way);
      expect(code, way).not.toBe(0);
      expect(stdout, way).not.toContain("of the host");
      expect(stderr, way).toContain(`/proc/${process.pid}`);
    }
  });

  test("--pid host: neither does exec -w, nor by a link of the container", async () => {
    await using box = await Box.run(engine, ["--pid", "host"]);
    await box.sh(`ln -s /proc/${process.pid}/root /tmp/out`);
    for (const way of [...ways, "/tmp/out"]) {
      const { code, stdout } = await box.exec(["sh", "-c", look], "-w", way);
      expect(code, way).not.toBe(0);
      expect(stdout, way).not.toContain("of the host");
    }
  });

  test("--pid host: root of the container has no way to the host's files in /proc", async () => {
    const { stdout } = await engine.sh(
      `cd /proc/${process.pid}; cat root${dir}/marker environ maps mem; readlink exe cwd root; echo done`,
      "--pid",
      "host",
    );
    expect(stdout).toBe("done\n");
  });

  test("--pid container: -w does not lead into the other container", async () => {
    await using victim = await Box.run(engine, [], "echo secret > /mine; exec sleep 1000");
    const { code, stdout } = await engine.sh("cat mine", "--pid", `container:${victim.id}`, "-w", "/proc/1/root");
    expect(code).not.toBe(0);
    expect(stdout).not.toContain("secret");
  });
});
