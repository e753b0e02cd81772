import { afterAll, beforeAll, describe, expect, test } from "bun:test";
import { mkdirSync, readFileSync, statSync, writeFileSync } from "node:fs";
import { join } from "node:path";
import type { Process, Spec } from "../../src/spec/oci-runtime.ts";
import { Traces } from "../runtime/bad-input/traces.ts";
import { cannotRun, Runtime } from "../runtime/bundle.ts";

type Full = Spec & { process: Process; linux: NonNullable<Spec["linux"]> };
const main = join(import.meta.dir, "../../src/main.ts");

/** The other ways of attacks that have a name: by a script, by the pid namespace of others, by what the caller left open. */
describe.skipIf(cannotRun !== undefined)(`the runtime itself${cannotRun ? ` (skipped: ${cannotRun})` : ""}`, () => {
  let runtime: Runtime;
  let traces: Traces;
  let secret: string;
  beforeAll(() => {
    runtime = new Runtime();
    traces = new Traces(runtime, "cve");
    secret = join(runtime.dir, "secret");
    mkdirSync(secret);
    writeFileSync(join(secret, "marker"), "of the host");
  });
  afterAll(() => runtime.close());
  const config = (change: (spec: Full) => void) => (s: unknown) => change(s as Full);
  const look = "ls; cat marker ../marker; pwd";

  test("CVE-2019-5736: a script whose interpreter is /proc/self/exe runs nothing of the host's", async () => {
    const binary = () => {
      const { mtimeMs, size, ino } = statSync(process.execPath);
      return [mtimeMs, size, ino];
    };
    const before = binary();
    const prepare = (bundle: string) => {
      for (const path of ["/proc/self/exe", "/proc/1/exe"]) {
        writeFileSync(join(bundle, `rootfs${path.replaceAll("/", "-")}`), `#!${path}\n`, { mode: 0o755 });
      }
      return bundle;
    };
    for (const script of ["/-proc-self-exe", "/-proc-1-exe", "/proc/self/exe"]) {
      // It is executed as the container's process: the launch itself, with the rights of the container, and so in vain.
      const bundle = prepare(
        runtime.bundle(
          "",
          config((s) => (s.process.args = [script])),
        ),
      );
      const { code, out } = await runtime.run(["run", "-b", bundle, traces.id("script")]);
      expect({ script, ok: code !== 0, out }).toEqual({ script, ok: true, out: "" });
      await traces.settle();
    }
    const id = traces.id("script");
    await runtime.ok("run", "-d", "-b", prepare(runtime.bundle("sleep 1000")), id);
    for (const script of ["/-proc-self-exe", "/proc/self/exe"]) {
      const { code, out } = await runtime.run(["exec", id, script]);
      expect({ script, ok: code !== 0, out }).toEqual({ script, ok: true, out: "" });
    }
    await runtime.ok("delete", "-f", id);
    await traces.settle();
    expect(binary()).toEqual(before);
  }, 60_000);

  test("CVE-2024-21626: in the host's pid namespace, no working directory is a process's of the host", async () => {
    const host = config((s) => {
      s.linux.namespaces = s.linux.namespaces!.filter(({ type }) => type !== "pid");
    });
    const id = traces.id("pids");
    await runtime.ok("run", "-d", "-b", runtime.bundle("sleep 1000", host), id);
    for (const way of ["root", "cwd", `root${secret}`, "fd/0"].map((name) => `/proc/${process.pid}/${name}`)) {
      const bundle = runtime.bundle(
        look,
        config((s) => {
          host(s);
          s.process.cwd = way;
        }),
      );
      const run = await runtime.run(["run", "-b", bundle, traces.id("cwd")]);
      expect({ way, code: run.code, out: run.out }).toEqual({ way, code: 1, out: "" });
      const exec = await runtime.run(["exec", "--cwd", way, id, "sh", "-c", look]);
      expect({ way, code: exec.code, out: exec.out }).toEqual({ way, code: 255, out: "" });
    }
    await runtime.ok("delete", "-f", id);
    await traces.settle();
  }, 60_000);

  test("CVE-2024-21626: what the caller left open is not the container's", async () => {
    const id = traces.id("open");
    /** The runtime with the host's directory open as 3, 9 and 200, as a careless caller has it. */
    const careless = async (...args: string[]) => {
      const script = `exec 3<${secret} 9<${secret}; exec "$@"`;
      const command = [process.execPath, main, "--root", runtime.root, ...args];
      const child = Bun.spawn(["/bin/busybox", "sh", "-c", script, "sh", ...command], {
        env: { ...process.env, INRO_DOOR: "inro-runtime" },
        stdio: ["ignore", "pipe", "ignore"],
      });
      return { out: await new Response(child.stdout).text(), code: await child.exited };
    };
    const list = runtime.bundle("ls /proc/$$/fd; cat /proc/self/fd/3/marker /proc/self/fd/9/marker; exit 5");
    expect(await careless("run", "-b", list, id)).toEqual({ code: 5, out: "0\n1\n2\n" });
    for (const way of ["/proc/self/fd/3", "/proc/self/fd/9", "/proc/self/fd/9/.."]) {
      const bundle = runtime.bundle(
        look,
        config((s) => (s.process.cwd = way)),
      );
      expect({ way, ...(await careless("run", "-b", bundle, id)) }).toEqual({ way, code: 1, out: "" });
    }
    await runtime.ok("run", "-d", "-b", runtime.bundle("sleep 1000"), id);
    expect(await careless("exec", id, "sh", "-c", "ls /proc/$$/fd; exit 6")).toEqual({ code: 6, out: "0\n1\n2\n" });
    expect(await careless("exec", "--cwd", "/proc/self/fd/9", id, "sh", "-c", look)).toEqual({ code: 255, out: "" });
    await runtime.ok("delete", "-f", id);
    await traces.settle();
    expect(readFileSync(join(secret, "marker"), "utf8")).toBe("of the host");
  }, 60_000);
});
