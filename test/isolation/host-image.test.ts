import { afterAll, describe, expect, test } from "bun:test";
import {
  existsSync,
  mkdirSync,
  mkdtempSync,
  readFileSync,
  rmSync,
  statSync,
  symlinkSync,
  writeFileSync,
} from "node:fs";
import { hostname } from "node:os";
import { basename, join } from "node:path";
import { engineForTests } from "../harness.ts";
import { missing } from "./container.ts";

describe.skipIf(missing !== "")(`the image host${missing}`, async () => {
  const engine = missing ? undefined! : engineForTests();
  const dir = mkdtempSync("/var/tmp/inro-host-");
  afterAll(() => rmSync(dir, { recursive: true, force: true }));
  const run = (script: string, ...flags: string[]) =>
    engine.inro(["run", "--rm", ...flags, "host", "sh", "-c", script]);

  test("is the machine's own root", async () => {
    writeFileSync(join(dir, "file"), "of the host\n");
    expect((await run(`cat ${dir}/file; cat /etc/passwd`)).stdout).toBe(
      `of the host\n${readFileSync("/etc/passwd", "utf8")}`,
    );
  });

  test("what is written or removed stays in the container", async () => {
    const before = statSync("/etc/passwd").mtimeMs;
    const { stdout } = await run(
      `echo changed > ${dir}/file; rm -r /etc/passwd; touch /etc/inro-new; cat ${dir}/file; ls /etc/passwd /etc/inro-new 2>/dev/null`,
    );
    expect(stdout).toBe("changed\n/etc/inro-new\n");
    expect(readFileSync(join(dir, "file"), "utf8")).toBe("of the host\n");
    expect(statSync("/etc/passwd").mtimeMs).toBe(before);
    expect(existsSync("/etc/inro-new")).toBe(false);
  });

  test("the engine's own directories are hidden, by every way to them", async () => {
    symlinkSync(engine.dataRoot, join(dir, "link"));
    const ways = [engine.dataRoot, engine.execRoot, `${dir}/link/`, `${dir}/../${basename(engine.dir)}/data`];
    for (const way of ways) {
      const { stdout, stderr } = await run(`ls -A ${way}`);
      expect([stdout, stderr]).toEqual(["", expect.stringContaining("No such file or directory")]);
    }
    // What lies beside them is as it was.
    expect((await run(`stat -c %a ${engine.dir}; ls ${engine.dir}/log`)).stdout).toBe(`700\n${engine.dir}/log\n`);
  });

  test("no right of the container brings them back", async () => {
    const script = [
      `umount ${engine.dataRoot} ${engine.dir}`,
      `mkdir ${engine.dataRoot} && ls -A ${engine.dataRoot} && rmdir ${engine.dataRoot}`,
      `mount -o remount,ro / ; ls -A ${engine.dataRoot}`,
    ];
    const { stdout } = await run(script.join("; "), "--privileged");
    expect(stdout).toBe("");
    // Nor a second start, after it has taken away what was in its own layer.
    const remove = `rm -rf ${engine.dir}; ln -s / ${engine.dir}; ls -A ${engine.dataRoot}; true`;
    const id = await engine.ok("create", "--privileged", "host", "sh", "-c", remove);
    for (let i = 0; i < 2; i++) expect(await engine.ok("start", "-a", id)).toBe("");
    expect(existsSync(engine.dataRoot)).toBe(true);
    await engine.ok("rm", id);
  });

  test("other mounts of the machine, its processes, devices and network are not there", async () => {
    const { stdout } = await run(
      "ls -A /dev/pts | head -n 3; ls /proc | grep -c '^[0-9]'; ls /sys/class/net; ls /dev | wc -l; hostname",
    );
    expect(stdout).toMatch(/^ptmx\n[1-4]\nlo\n1\d\n[0-9a-f]{12}\n$/);
    expect(hostname()).not.toMatch(/^[0-9a-f]{12}$/);
  });

  test("diff lists exactly what changed", async () => {
    mkdirSync(join(dir, "sub"));
    for (const name of ["kept", "changed", "removed", "touched"]) writeFileSync(join(dir, "sub", name), name);
    const script = [
      "echo new > changed",
      "rm removed",
      "chmod 600 touched",
      "mkdir made",
      "echo > made/file",
      "cat kept",
    ].join(" && ");
    const id = await engine.ok("create", "-w", join(dir, "sub"), "host", "sh", "-c", script);
    await engine.ok("start", "-a", id);
    const parents = ["/var", "/var/tmp", dir, join(dir, "sub")].map((path) => `C ${path}`);
    const sub = join(dir, "sub");
    expect((await engine.ok("diff", id)).split("\n").sort()).toEqual(
      [
        ...parents,
        `C ${sub}/changed`,
        `D ${sub}/removed`,
        `C ${sub}/touched`,
        `A ${sub}/made`,
        `A ${sub}/made/file`,
      ].sort(),
    );
    await engine.ok("rm", id);
  });

  test("a container that changes nothing has no diff", async () => {
    const id = await engine.ok("create", "host", "true");
    await engine.ok("start", "-a", id);
    expect(await engine.ok("diff", id)).toBe("");
    await engine.ok("start", "-a", id);
    expect(await engine.ok("diff", id)).toBe("");
    await engine.ok("rm", id);
  });

  test("it cannot be removed, and runs read-only and as another user", async () => {
    expect((await engine.inro(["rmi", "host"])).stderr).toContain("cannot be removed");
    expect((await run("touch /x", "--read-only")).stderr).toContain("Read-only file system");
    expect((await run("id -u; touch /etc/x", "-u", "1000")).stdout).toBe("1000\n");
  });
});
