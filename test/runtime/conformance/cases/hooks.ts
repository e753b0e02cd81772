import { expect } from "bun:test";
import { existsSync, readFileSync, writeFileSync } from "node:fs";
import { join } from "node:path";
import { eventually } from "../../bundle.ts";
import { type FullSpec, section } from "../case.ts";
import type { Container, Context } from "../context.ts";

const { refuses, does } = section("config.md#posix-platform-hooks");
const KINDS = ["prestart", "createRuntime", "createContainer", "startContainer", "poststart", "poststop"] as const;

/** A shell as a hook: busybox is at /bin in the runtime's namespaces and in the container's. */
const sh = (script: string, more: object = {}) => ({
  path: "/bin/sh",
  args: ["sh", "-c", `cat > /dev/null; ${script}`],
  env: ["PATH=/bin:/usr/bin", "HOOK=1"],
  ...more,
});
const hooks = (given: Partial<Record<(typeof KINDS)[number], object[]>>) => ({ hooks: given });
const writable = { root: { readonly: false } };

interface Line {
  kind: string;
  /** Of the hook, in its pid namespace. */
  pid: number;
  state: { id: string; status: string; pid: number; bundle: string; annotations?: object; ociVersion: string };
}

/** A container with a hook of each kind that appends a line about itself to a file; startContainer's is in the root. */
function observed(c: Context, script = "exec sleep 1000"): { container: Container; lines(): Line[] } {
  const container = c.container(script);
  const log = join(container.bundle, "hooks");
  c.edit(container, (text) => {
    const spec = JSON.parse(text) as FullSpec;
    spec.hostname = "inside";
    spec.annotations = { "org.example": "1" };
    spec.root!.readonly = false;
    const entry = (kind: string, file: string) => ({
      path: "/bin/sh",
      args: ["sh", "-c", `read -r x || true; echo "${kind} $$ $x" >> ${file}`],
    });
    spec.hooks = Object.fromEntries(
      KINDS.map((kind) => [kind, [entry(kind, kind === "startContainer" ? "/hooks" : log)]]),
    );
    return JSON.stringify(spec);
  });
  const read = (path: string) => (existsSync(path) ? readFileSync(path, "utf8").trim().split("\n") : []);
  return {
    container,
    lines: () =>
      [...read(log), ...read(join(container.rootfs, "hooks"))].map((line) => {
        const [kind = "", pid, ...json] = line.split(" ");
        return { kind, pid: Number(pid), state: JSON.parse(json.join(" ")) };
      }),
  };
}

async function failing(c: Context, kind: (typeof KINDS)[number]): Promise<Container> {
  return c.container("exec sleep 1000", hooks({ [kind]: [sh("exit 3")] }));
}

const fails = (kind: "prestart" | "createRuntime" | "createContainer") =>
  does(`hooks.${kind}: one that fails undoes create`, (c) =>
    c.refuses(new RegExp(`hooks\\.${kind}\\[0\\]`), hooks({ [kind]: [sh("exit 3")] })),
  );

export const hookCases = [
  does(
    "hooks: in the order of the life cycle",
    async (c) => {
      const { container, lines } = observed(c);
      await container.ok("create");
      expect(lines().map(({ kind }) => kind)).toEqual(["prestart", "createRuntime", "createContainer"]);
      await container.does("start");
      expect(lines().map(({ kind }) => kind)).toEqual([
        "prestart",
        "createRuntime",
        "createContainer",
        "poststart",
        "startContainer",
      ]);
      await container.does("delete", ["--force"]);
      expect(lines().map(({ kind }) => kind)).toEqual([
        "prestart",
        "createRuntime",
        "createContainer",
        "poststart",
        "poststop",
        "startContainer",
      ]);
    },
    { differs: { runc: "1.1.5 runs poststart at create" } },
  ),
  does("hooks: the state on stdin", async (c) => {
    const { container, lines } = observed(c);
    await container.ok("create");
    const { pid } = await container.state();
    for (const { kind, state } of lines())
      expect(state).toMatchObject({
        id: container.id,
        // createContainer sees it from inside.
        ...(kind !== "createContainer" && { pid }),
        bundle: container.bundle,
        annotations: { "org.example": "1" },
      });
  }),
  does(
    "hooks: the status in the state",
    async (c) => {
      const { container, lines } = observed(c);
      await container.ok("run", ["--detach"]);
      await container.does("delete", ["--force"]);
      expect(Object.fromEntries(lines().map(({ kind, state }) => [kind, state.status]))).toEqual({
        prestart: "creating",
        createRuntime: "creating",
        createContainer: "creating",
        startContainer: "created",
        poststart: "running",
        poststop: "stopped",
      });
    },
    { spec: "runc", differs: { crun: "1.8.1 says other ones", runc: "1.1.5 runs poststart at create" } },
  ),
  does("hooks: in which namespaces", async (c) => {
    const { container, lines } = observed(c);
    await container.ok("run", ["--detach"]);
    await container.does("delete", ["--force"]);
    const inside = lines()
      // The pid namespace of a container is young.
      .filter(({ pid }) => pid < 30)
      .map(({ kind }) => kind);
    expect(inside).toEqual(["createContainer", "startContainer"]);
  }),
  does("hooks: several of a kind in their order", async (c) => {
    const container = c.container("true");
    const log = join(container.bundle, "order");
    c.edit(container, (text) =>
      JSON.stringify({
        ...JSON.parse(text),
        hooks: { createRuntime: [sh(`echo 1 >> ${log}`), sh(`echo 2 >> ${log}`)] },
      }),
    );
    await container.ok("create");
    expect(readFileSync(log, "utf8")).toBe("1\n2\n");
  }),
  does("hooks: args and env are the hook's alone", async (c) => {
    const container = c.container("true");
    const log = join(container.bundle, "env");
    const entry = { path: "/bin/busybox", args: ["sh", "-c", `echo "$0 $A $HOME" > ${log}`], env: ["A=b"] };
    c.edit(container, (text) => JSON.stringify({ ...JSON.parse(text), hooks: { createRuntime: [entry] } }));
    await container.ok("create");
    expect(readFileSync(log, "utf8").trim()).toBe("sh b");
  }),
  does("hooks.startContainer: runs at start, in the container", async (c) => {
    const container = await c.created("cat /made", {
      ...writable,
      ...hooks({ startContainer: [sh("echo made > /made")] }),
    });
    expect(existsSync(join(container.rootfs, "made"))).toBe(false);
    await container.does("start");
    await container.stopped();
    expect(container.output()).toBe("made\n");
  }),
  fails("prestart"),
  fails("createRuntime"),
  fails("createContainer"),
  does(
    "hooks.startContainer: one that fails ends the container",
    async (c) => {
      const container = await c.created("echo ran", hooks({ startContainer: [sh("exit 3")] }));
      await container.fails("start");
      if (existsSync(join(c.runtime.root, container.id))) await container.stopped();
      expect(container.output()).not.toContain("ran\n");
    },
    { differs: { crun: "start has returned by then", runc: "start has returned by then" } },
  ),
  does(
    "hooks.poststart: one that fails ends the container",
    async (c) => {
      const container = await (await failing(c, "poststart")).ok("create");
      await container.fails("start");
      if (existsSync(join(c.runtime.root, container.id))) await container.stopped();
    },
    { differs: { crun: "1.8.1 passes over it", runc: "1.1.5 runs poststart at create" } },
  ),
  does("hooks.poststop: one that fails is only warned of", async (c) => {
    const container = await (await failing(c, "poststop")).ok("run", ["--detach"]);
    await container.does("delete", ["--force"]);
    await c.nothingLeft(container);
  }),
  does("hooks.timeout", async (c) => {
    const container = c.container("true", hooks({ createRuntime: [sh("exec sleep 50", { timeout: 1 })] }));
    const start = performance.now();
    expect((await container.launch("create")).code).not.toBe(0);
    expect(performance.now() - start).toBeLessThan(30_000);
    await c.nothingLeft(container);
  }),
  refuses("hooks.path: relative", hooks({ createRuntime: [{ path: "bin/true" }] }), /hooks\.createRuntime\[0\]\.path/),
  refuses(
    "hooks.path: missing",
    hooks({ createRuntime: [{ args: ["x"] }] }),
    /hooks\.createRuntime\[0\]\.path: required/,
  ),
  refuses("hooks.path: no such program", hooks({ createRuntime: [{ path: "/nowhere/hook" }] }), /\/nowhere\/hook/),
  refuses("hooks.timeout: 0", hooks({ createRuntime: [sh("true", { timeout: 0 })] }), /timeout/, {
    differs: { crun: "takes it for none" },
  }),
  refuses("hooks.timeout: negative", hooks({ createRuntime: [sh("true", { timeout: -1 })] }), /timeout/),
  does("hooks.createRuntime: before pivot_root, the bundle's files are there", async (c) => {
    const container = c.container("cat /by-hook", writable);
    c.edit(container, (text) =>
      JSON.stringify({
        ...JSON.parse(text),
        hooks: { createRuntime: [sh(`echo hook > ${join(container.rootfs, "by-hook")}`)] },
      }),
    );
    expect(await container.says()).toBe("hook\n");
  }),
  does("hooks.poststop: once the container is gone", async (c) => {
    const container = c.container("true");
    const log = join(container.bundle, "gone");
    writeFileSync(log, "");
    c.edit(container, (text) =>
      JSON.stringify({ ...JSON.parse(text), hooks: { poststop: [{ ...sh(""), args: ["sh", "-c", `cat > ${log}`] }] } }),
    );
    expect((await container.launch("run")).code).toBe(0);
    await eventually("it ran", () => readFileSync(log, "utf8").includes('"stopped"'));
  }),
];
