import { afterAll, beforeAll, describe, expect, test } from "bun:test";
import { busyboxTar, command, engineForTests, hasBusybox, isRoot, type Result } from "../harness.ts";
import { docker } from "./docker.ts";

const why = !isRoot ? "needs root" : hasBusybox ? "" : "no busybox-static";
const SOCKET = "unix:///var/run/docker.sock";

/** Engines seen from inside of containers. The image "host" has every program of this machine. */
describe.skipIf(why !== "")(`nested${why && ` (${why})`}`, () => {
  const engine = why ? undefined : engineForTests();

  describe("the engine's socket in a container", () => {
    const inside = (...words: string[]) =>
      engine!.inro(["run", "--rm", "--name", "inside", "--use-api-socket", "host", ...words]);

    test("inro lists, runs beside itself, and attaches", async () => {
      const inro = (...words: string[]) => inside("env", `INRO_HOST=${SOCKET}`, ...command, ...words);
      expect(await inro("ps", "--format", "{{.Names}}")).toEqual({ code: 0, stdout: "inside\n", stderr: "" });
      const beside = await inro("run", "--rm", "busybox", "sh", "-c", "echo beside; exit 4");
      expect(beside).toEqual({ code: 4, stdout: "beside\n", stderr: "" });
    });

    test.skipIf(!docker)("so does docker's command line", async () => {
      const words = ["run", "--rm", "-i", "busybox", "sh", "-c", "cat; exit 5"];
      const child = engine!.spawn([
        "run",
        "--rm",
        "-i",
        "-v",
        `${engine!.socket}:/s`,
        "host",
        docker!,
        "-H",
        "unix:///s",
        ...words,
      ]);
      child.stdin!.write("through both\n");
      child.stdin!.end();
      expect(await new Response(child.stdout).text()).toBe("through both\n");
      expect(await child.exited).toBe(5);
    });
  });

  describe("an engine in a privileged container", () => {
    const inner = (...words: string[]): Promise<Result> =>
      engine!.inro(["exec", "outer", ...command, "-H", "unix:///d/inro.sock", ...words]);
    beforeAll(async () => {
      const serve = [
        "serve",
        "-H",
        "unix:///d/inro.sock",
        "--data-root",
        "/d/data",
        "--exec-root",
        "/d/run",
        "--bridge",
        "none",
      ];
      await engine!.ok("run", "-d", "--privileged", "--name", "outer", "-v", "nested:/d", "host", ...command, ...serve);
      const tar = busyboxTar(engine!.dir);
      await engine!.ok("cp", tar, "outer:/d/busybox.tar");
      while ((await inner("version")).code !== 0);
      expect(await inner("import", "/d/busybox.tar", "busybox")).toMatchObject({ code: 0 });
    });
    afterAll(async () => {
      await engine!.inro(["rm", "-f", "outer"]);
      await engine!.inro(["volume", "rm", "nested"]);
    });

    test("runs containers: output, status, limits, layers, volumes, terminals", async () => {
      expect(await inner("run", "--rm", "busybox", "sh", "-c", "echo in in; exit 3")).toEqual({
        code: 3,
        stdout: "in in\n",
        stderr: "",
      });
      const limited = await inner(
        "run",
        "--rm",
        "-m",
        "64m",
        "--pids-limit",
        "20",
        "busybox",
        "cat",
        "/proc/self/cgroup",
      );
      expect(limited.code).toBe(0);
      expect(await inner("run", "--rm", "-v", "kept:/v", "busybox", "sh", "-c", "echo kept > /v/x")).toMatchObject({
        code: 0,
        stderr: "",
      });
      expect((await inner("run", "--rm", "-v", "kept:/v:ro", "busybox", "cat", "/v/x")).stdout).toBe("kept\n");
      expect((await inner("run", "--rm", "-t", "busybox", "tty")).stdout).toBe("/dev/pts/0\r\n");
      expect(await inner("run", "--rm", "host", "cat", "/etc/hostname")).toMatchObject({ code: 0, stderr: "" });
    });

    test("a long-running one: exec, logs, pause, stop; what is inside is not seen outside", async () => {
      expect(
        (await inner("run", "-d", "--name", "long", "--init", "busybox", "sh", "-c", "echo up; sleep 1000")).code,
      ).toBe(0);
      while ((await inner("logs", "long")).stdout !== "up\n");
      expect(await inner("exec", "long", "sh", "-c", "echo exec; exit 6")).toMatchObject({ code: 6, stdout: "exec\n" });
      expect((await inner("pause", "long")).code).toBe(0);
      expect((await inner("unpause", "long")).code).toBe(0);
      expect((await inner("stats", "--no-stream", "--format", "{{.Name}}", "long")).stdout).toBe("long\n");
      expect(await engine!.ok("ps", "--format", "{{.Names}}")).toBe("outer");
      expect(await inner("stop", "-t", "0", "long")).toMatchObject({ code: 0, stdout: "long\n" });
      expect(await inner("rm", "long")).toMatchObject({ code: 0 });
      expect(await inner("system", "check")).toMatchObject({ code: 0, stdout: "no leaks found\n" });
    });
  });
});
