import { afterAll, describe, expect, test } from "bun:test";
import { chmodSync, mkdirSync, mkdtempSync, rmSync, writeFileSync } from "node:fs";
import { join } from "node:path";
import { engineForTests } from "../harness.ts";
import { missing } from "./container.ts";

/** The first 64 bytes of an executable for `machine` (elf(5)). */
function elfHeader(machine: number): Buffer {
  const header = Buffer.alloc(4096);
  header.write("\x7fELF\x02\x01\x01", "latin1");
  header.writeUInt16LE(2, 16);
  header.writeUInt16LE(machine, 18);
  header.writeUInt32LE(1, 20);
  header.writeUInt16LE(64, 52);
  return header;
}
const OTHER = process.arch === "arm64" ? { machine: 62, name: "amd64" } : { machine: 183, name: "arm64" };

describe.skipIf(missing !== "")(`errors and exit codes${missing}`, async () => {
  const engine = missing ? undefined! : engineForTests();
  const dir = mkdtempSync("/var/tmp/inro-errors-");
  afterAll(() => rmSync(dir, { recursive: true, force: true }));
  const run = (...args: string[]) => engine.inro(["run", "--rm", ...args]);
  mkdirSync(join(dir, "bin"));
  const program = (name: string, content: string | Buffer, mode = 0o755) => {
    writeFileSync(join(dir, "bin", name), content);
    chmodSync(join(dir, "bin", name), mode);
  };
  program("plain", "text", 0o644);
  program("foreign", elfHeader(OTHER.machine));
  program("script", "#!/nope/interpreter -x\n");
  program("no-shebang", "echo x\n");
  program("empty", "");
  program("ok", "#!/bin/sh\necho ran\n");

  test.each([
    ["nope", 127, /nope.*(not found|\$PATH)/],
    ["/nope", 127, /\/nope.*no such file or directory/],
    ["/etc/passwd/x", 127, /\/etc\/passwd\/x/],
    ["/etc", 126, /\/etc.*directory/],
    ["/bin/../etc/passwd", 126, /passwd.*permission denied/],
    ["/b/plain", 126, /\/b\/plain.*permission denied/],
    ["/b/foreign", 126, new RegExp(`/b/foreign.*exec format error.*${OTHER.name}`)],
    ["/b/script", 127, /\/b\/script.*\/nope\/interpreter/],
    ["/b/no-shebang", 126, /\/b\/no-shebang.*exec format error.*#!/],
    ["/b/empty", 126, /\/b\/empty.*exec format error.*empty/],
  ])("%s ends in %i and says why", async (command, code, message) => {
    const result = await run("-v", `${dir}/bin:/b`, "busybox", command);
    expect(result.stdout).toBe("");
    expect([result.code, result.stderr.toLowerCase()]).toEqual([code, expect.stringMatching(message)]);
    expect(result.stderr).not.toContain("\n    at ");
  });

  test("a script with its interpreter runs", async () => {
    expect((await run("-v", `${dir}/bin:/b`, "busybox", "/b/ok")).stdout).toBe("ran\n");
  });

  test("a command that fails to start leaves its state", async () => {
    const { code } = await engine.inro(["run", "--name", "failed", "busybox", "nope"]);
    expect(code).toBe(127);
    expect(await engine.ok("inspect", "-f", "{{.State.Status}} {{.State.ExitCode}}", "failed")).toBe("created 127");
    expect(await engine.ok("inspect", "-f", "{{.State.Error}}", "failed")).toContain("nope");
    await engine.ok("rm", "failed");
  });

  test("an unknown image is 125", async () => {
    const { code, stderr } = await run("--pull", "never", "no-such-image", "true");
    expect([code, stderr]).toEqual([125, expect.stringContaining("No such image: no-such-image:latest")]);
  });

  test("a name that no image can have is 125", async () => {
    const { code, stderr } = await run("--pull", "never", "UPPER", "true");
    expect([code, stderr]).toEqual([125, expect.stringContaining("invalid reference format")]);
  });

  test.each([
    [["--memory", "x"], "invalid size: 'x'"],
    [["--memory", "1k"], "minimum memory limit"],
    [["--memory-swap", "32m"], "memory"],
    [["-m", "64m", "--memory-swap", "32m"], "minimum memoryswap limit should be larger than memory limit"],
    [["--cpus", "many"], "many"],
    [["--cpus", "10000"], "CPUs"],
    [["--cpuset-cpus", "9999"], "9999"],
    [["--pids-limit", "x"], "x"],
    [["--ulimit", "nope=1"], "invalid ulimit type: nope"],
    [["--ulimit", "nofile=2:1"], "ulimit soft limit must be less than or equal to hard limit"],
    [["-v", "a:b:c:d"], "too many colons"],
    [["-v", "relative/path:/x"], "relative/path"],
    [["-v", "/x:relative"], "relative"],
    [["-v", "/var/tmp:/x:nope"], "nope"],
    [["--mount", "type=nope,dst=/x"], "nope"],
    [["--mount", "type=bind,dst=/x,nope=1"], "nope"],
    [["--mount", "type=bind,src=/var/tmp"], "target is required"],
    [["--pid", "foo"], "invalid PID mode"],
    [["--uts", "foo"], "invalid UTS mode"],
    [["--userns", "foo"], "invalid USER mode"],
    [["--network", "nope"], "nope"],
    [["-e", "=x"], "invalid environment variable"],
    [["--stop-signal", "NOPE"], "NOPE"],
    [["--hostname", "a b"], "a b"],
    [["--name", "a/b"], "a/b"],
    [["--tmpfs", "relative"], "relative"],
    [["--restart", "always"], "conflicting options"],
    [["--nope"], "nope"],
    [["--memroy", "1g"], "--memory"],
  ])("%p is refused with 125", async (flags, message) => {
    const { code, stderr, stdout } = await run(...flags, "busybox", "true");
    expect([code, stdout, stderr]).toEqual([125, "", expect.stringContaining(message)]);
  });

  test("a name that exists is a conflict, and the container stays", async () => {
    const id = await engine.ok("create", "--name", "taken", "busybox", "true");
    const { code, stderr } = await run("--name", "taken", "busybox", "true");
    expect(code).toBe(125);
    expect(stderr).toContain(`The container name "/taken" is already in use by container "${id}"`);
    expect(await engine.ok("ps", "-aq", "--no-trunc")).toBe(id);
    await engine.ok("rm", "taken");
  });

  test("an id may be short, but not ambiguous", async () => {
    const ids: string[] = [];
    const same = () => ids.find((a, i) => ids.some((b, j) => i !== j && a[0] === b[0]));
    while (!same()) ids.push(await engine.ok("create", "busybox", "true"));
    const prefix = same()!.slice(0, 1);
    const { code, stderr } = await engine.inro(["inspect", prefix]);
    expect([code, stderr]).toEqual([1, expect.stringMatching(/multiple ids found/i)]);
    expect((await engine.inro(["rm", prefix])).code).toBe(1);
    expect(await engine.ok("inspect", "-f", "{{.Id}}", ids[0]!.slice(0, 12))).toBe(ids[0]!);
    await engine.ok("rm", ...ids);
  });

  test("what does not exist is named", async () => {
    for (const command of ["start", "stop", "kill", "rm", "logs", "wait", "diff", "attach"]) {
      const { code, stderr } = await engine.inro([command, "missing"]);
      expect([command, code, stderr]).toEqual([command, 1, expect.stringContaining("No such container: missing")]);
    }
  });

  test("a failed start leaves no run directory, cgroup or mount", async () => {
    await run("busybox", "nope");
    await run("-v", "/var/tmp:/proc/1", "busybox", "true");
    await run("-m", "64m", "-w", "/etc/passwd", "busybox", "true");
    const { code, stdout, stderr } = await engine.inro(["system", "check"]);
    expect([code, stdout, stderr]).toEqual([0, stdout, ""]);
    expect(await engine.ok("ps", "-aq")).toBe("");
  });
});
