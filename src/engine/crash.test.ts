import { afterEach, beforeEach, describe, expect, test } from "bun:test";
import { existsSync, mkdirSync, mkdtempSync, readdirSync, rmdirSync, rmSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { basename, join } from "node:path";
import { detectHierarchy } from "../cgroups/hierarchy.ts";
import { Engine } from "./engine.ts";

const root = process.getuid?.() === 0;

describe.skipIf(!root)("an engine that is killed (needs root)", () => {
  let directory: string;
  const options = () => ({
    defaultBridge: false,
    dataRoot: join(directory, "data"),
    execRoot: join(directory, "run"),
    log: console.error,
  });
  beforeEach(() => {
    directory = mkdtempSync(join(tmpdir(), "inro-crash-"));
    mkdirSync(join(directory, "go"));
  });
  afterEach(() => rmSync(directory, { recursive: true, force: true }));

  /** An engine in a process of its own that runs `script`, and the lines it prints. */
  const spawn = (script: string) => {
    const source = `
      const { Engine } = await import(${JSON.stringify(join(import.meta.dir, "engine.ts"))});
      const engine = await Engine.open({ ...${JSON.stringify(options())}, log: console.error });
      const create = async (script, more = {}) =>
        (await engine.containers.create({ Image: "host", Cmd: ["sh", "-c", script], ...more })).Id;
      ${script}
    `;
    const child = Bun.spawn([process.execPath, "-e", source], { stdout: "pipe", stderr: "inherit" });
    const reader = child.stdout
      .pipeThrough(new TextDecoderStream() as never)
      .getReader() as ReadableStreamDefaultReader<string>;
    return { child, line: async () => ((await reader.read()).value ?? "").trim() };
  };
  const close = async (engine: Engine) => {
    for (const { Id } of await engine.containers.list({ all: true })) {
      // With AutoRemove it may be gone, or on its way, by itself.
      await engine.containers.remove(Id, { force: true, volumes: true }).catch(({ kind }) => {
        expect(["notFound", "conflict"]).toContain(kind);
      });
    }
    expect(await engine.check({ repair: false })).toEqual([]);
    expect(await engine.containers.list({ all: true })).toEqual([]);
    expect(engine.volumes.list()).toEqual([]);
    await engine.close();
  };
  const logOf = async (engine: Engine, id: string) => {
    let text = "";
    const { output } = await engine.containers.logs(id, { stdout: true });
    for await (const { data } of output) text += Buffer.from(data).toString();
    return text;
  };

  test("loses no container, no exit code and no line", async () => {
    const { child, line } = spawn(`
      const counting = await create("i=0; while [ ! -e /go/end ]; do echo $i; i=$((i+1)); sleep 0.002; done; exit 4", {
        HostConfig: { Binds: ["${directory}/go:/go"] },
      });
      const ending = await create("while [ ! -e /go/on ]; do sleep 0.01; done; echo bye; exit 6", {
        HostConfig: { Binds: ["${directory}/go:/go"] },
      });
      const never = await create("true");
      await engine.containers.start(counting);
      await engine.containers.start(ending);
      const { output } = await engine.containers.logs(counting, { stdout: true, follow: true });
      let lines = 0;
      for await (const _ of output) if (++lines === 30) console.log([counting, ending, never].join(" "));
    `);
    const [counting, ending, never] = (await line()).split(" ") as [string, string, string];
    child.kill("SIGKILL");
    await child.exited;
    writeFileSync(join(directory, "go/on"), "");

    const engine = await Engine.open(options());
    expect(await engine.containers.wait(ending).result).toEqual({ StatusCode: 6 });
    expect(await logOf(engine, ending)).toBe("bye\n");
    expect((await engine.containers.inspect(never)).State.Status).toBe("created");
    expect((await engine.containers.inspect(counting)).State.Running).toBe(true);
    const { Id } = await engine.execs.create(counting, { AttachStdout: true, Cmd: ["sh", "-c", "echo again"] });
    const exec = (await engine.execs.start(Id, {}))!;
    for await (const { data } of exec.output) expect(Buffer.from(data).toString()).toBe("again\n");
    expect(engine.execs.inspect(Id).ExitCode).toBe(0);
    writeFileSync(join(directory, "go/end"), "");
    expect(await engine.containers.wait(counting).result).toEqual({ StatusCode: 4 });
    const numbers = (await logOf(engine, counting)).trim().split("\n").map(Number);
    expect(numbers.length).toBeGreaterThan(29);
    expect(numbers).toEqual(numbers.map((_, i) => i));
    await close(engine);
  });

  test("at any moment of create, start, exit and remove leaves nothing that cannot be mended", async () => {
    // A parent of their own shows cgroups that no record knows any more.
    const cgroups = `/inro/${basename(directory)}`;
    const { unified, controllers } = detectHierarchy();
    const parents = [...new Set([...(unified ? [unified] : []), ...controllers.values()])].map((at) => at + cgroups);
    const made = () => parents.filter((path) => existsSync(path));
    const left = () =>
      made().flatMap((path) => readdirSync(path, { withFileTypes: true }).filter((entry) => entry.isDirectory()));
    // On a busy machine the first kills come before there is anything to leave.
    for (let round = 0; round < 6 || (made().length === 0 && round < 60); round++) {
      const { child, line } = spawn(`
        console.log("ready");
        await Promise.all([0, 1, 2].map(async (n) => {
          for (;;) {
            const AutoRemove = n === 0;
            const id = await create(n === 1 ? "sleep 100" : "echo x", { HostConfig: { AutoRemove, CgroupParent: "${cgroups}" }, Volumes: { "/v": {} } });
            const removed = engine.containers.wait(id, "removed");
            await engine.containers.start(id);
            if (!AutoRemove) await engine.containers.remove(id, { force: true, volumes: true });
            await removed.result;
          }
        }));
      `);
      expect(await line()).toBe("ready");
      await Bun.sleep(Math.random() * 150);
      child.kill("SIGKILL");
      await child.exited;
      const engine = await Engine.open(options());
      for (const { State } of await engine.containers.list({ all: true })) {
        expect(["created", "running", "exited", "removing"]).toContain(State);
      }
      await close(engine);
      expect(left().map(({ name }) => name)).toEqual([]);
    }
    expect(made().length).toBeGreaterThan(0);
    for (const path of made()) rmdirSync(path);
  }, 30_000);
});
