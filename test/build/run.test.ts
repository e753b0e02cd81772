import { afterAll, beforeAll, describe, expect, test } from "bun:test";
import { existsSync, mkdirSync, readdirSync, readFileSync, statSync, writeFileSync } from "node:fs";
import { createServer } from "node:net";
import { join } from "node:path";
import { StepFailed } from "../../src/build/ops/failed.ts";
import { runStep } from "../../src/build/ops/run.ts";
import { SCRATCH, type Snapshot } from "../../src/build/step.ts";
import type { StoredLayer } from "../../src/images/store.ts";
import { readTar } from "../../src/layers/tar-read.ts";
import { hasBusybox, isRoot, leftovers } from "../harness.ts";
import { command, Lab } from "./lab.ts";

const why = !isRoot ? "needs root" : !hasBusybox ? "no busybox-static" : "";

describe.skipIf(why !== "")(`RUN${why && ` (${why})`}`, () => {
  let lab: Lab;
  let base: Snapshot;
  beforeAll(async () => {
    lab = new Lab();
    base = await lab.busybox();
  });
  afterAll(() => {
    const left = [...readdirSync(lab.directory), ...leftovers(lab.bench.dir), ...cgroups()];
    lab.close();
    expect(left).toEqual([]);
  });
  const cgroups = () =>
    ["/sys/fs/cgroup", "/sys/fs/cgroup/unified"]
      .flatMap((root) => {
        const path = join(root, `inro/lab-${process.pid}`);
        return existsSync(path) ? readdirSync(path, { withFileTypes: true }).filter((one) => one.isDirectory()) : [];
      })
      .map(({ name }) => name);

  async function names(layer: StoredLayer | undefined): Promise<string[]> {
    if (!layer) return [];
    const found: string[] = [];
    for await (const entry of readTar(Bun.file(lab.bench.content.path(layer.diffId)).stream())) {
      found.push(`${entry.type[0]} ${Buffer.from(entry.name).toString()}`);
    }
    return found;
  }
  const on = (layer: StoredLayer | undefined): Snapshot => ({ layers: [...base.layers, ...(layer ? [layer] : [])] });

  test("what a command changes is its layer, and the next stands on it", async () => {
    const layer = await runStep(command("mkdir /a; echo one > /a/b; rm /etc/group; ln -s b /a/c"), base, lab.context());
    expect(await names(layer)).toEqual(["d a/", "f a/b", "s a/c", "d etc/", "f etc/.wh.group"]);
    await runStep(command("cat /a/c; ls /etc/group"), on(layer), lab.context()).catch(() => {});
    expect(lab.output()).toContain("one\n");
  });

  test("a command that changes nothing has no layer", async () => {
    expect(await runStep(command("true"), base, lab.context())).toBeUndefined();
  });

  test("equal steps at different times make equal layers", async () => {
    const script = "mkdir /x; echo same > /x/y; touch /z";
    const [first, second] = [
      await runStep(command(script), base, lab.context()),
      await runStep(command(script), base, lab.context()),
    ];
    expect(first!.diffId).toBe(second!.diffId);
  });

  test("a command that fails is told with its exit code, and leaves nothing", async () => {
    const failure = await runStep(command("echo to stderr >&2; exit 7"), base, lab.context()).catch((error) => error);
    expect(failure).toBeInstanceOf(StepFailed);
    expect(failure.exitCode).toBe(7);
    expect(failure.message).toBe(
      'process "/bin/sh -c echo to stderr >&2; exit 7" did not complete successfully: exit code: 7',
    );
    expect(lab.output()).toBe("to stderr\n");
  });

  test("too much memory", async () => {
    const step = command("exec dd if=/dev/zero of=/dev/null bs=200M count=1", {
      limits: { memory: 32 << 20, memorySwap: 32 << 20 },
    });
    const failure = await runStep(step, base, lab.context()).catch((error) => error);
    expect(failure.message).toEndWith("exit code: 137: killed, out of memory");
  });

  test("an abort ends the processes", async () => {
    const context = lab.context({ log: () => lab.abort() });
    const failure = await runStep(command("(trap '' TERM; sleep 1000) & echo up; sleep 1000"), base, context).catch(
      (error) => error,
    );
    expect(failure.message).toBe("aborted by the test");
  });

  test("what it leaves running ends with it", async () => {
    await runStep(command("sleep 1000 & echo gone"), base, lab.context());
    expect(lab.output()).toBe("gone\n");
  });

  test("docker's defaults: capabilities, seccomp, user by name, cwd made", async () => {
    const script = "grep -E '^(CapEff|Seccomp):' /proc/self/status; pwd; hostname; cat /proc/sys/kernel/hostname";
    await runStep(command(script, { cwd: "/new/dir" }), base, lab.context());
    const lines = lab.output().split("\n");
    expect(lines).toContain("CapEff:\t00000000a80425fb");
    expect(lines).toContain("Seccomp:\t2");
    expect(lines).toContain("/new/dir");
    expect(lines.filter((line) => line === "buildkitsandbox").length).toBe(2);
    await runStep(command("id -u", { user: "1234:5" }), base, lab.context());
    expect(lab.output()).toBe("1234\n");
  });

  test("a base without a shell says what is missing", async () => {
    const failure = await runStep(command("true"), SCRATCH, lab.context()).catch((error) => error);
    expect(failure.message).toContain("/bin/sh");
  });

  describe("mounts", () => {
    test("a bind is read-only; what is written to a read-write one goes", async () => {
      const source = lab.files({ "sub/file": "from the context\n" });
      const bind = { type: "bind", target: "/ctx", source, path: "sub" } as const;
      const read = command("cat /ctx/file; echo x > /ctx/no || echo refused", {
        mounts: [{ ...bind, readOnly: true }],
      });
      expect(await runStep(read, base, lab.context())).toBeUndefined();
      expect(lab.output()).toContain("from the context\n");
      const write = command("cat /ctx/file; echo x > /ctx/new; echo changed > /ctx/file; cat /ctx/*", {
        mounts: [{ ...bind, readOnly: false }],
      });
      expect(await runStep(write, base, lab.context())).toBeUndefined();
      expect(lab.output()).toBe("from the context\nchanged\nx\n");
      expect(readFileSync(join(source.path, "sub/file"), "utf8")).toBe("from the context\n");
      expect(existsSync(join(source.path, "sub/new"))).toBe(false);
    });

    test("a file, and a directory of another stage", async () => {
      const other = await runStep(command("mkdir /out; echo built > /out/it"), base, lab.context());
      const source = { kind: "snapshot", snapshot: on(other) } as const;
      for (const readOnly of [true, false]) {
        const mounts = [
          { type: "bind", target: "/from", source, path: "/out", readOnly },
          { type: "bind", target: "/one/file", source, path: "/out/it", readOnly },
        ] as const;
        expect(
          await runStep(
            command(readOnly ? "cat /from/it /one/file" : "echo x > /from/new; cat /from/it /one/file", { mounts }),
            base,
            lab.context(),
          ),
        ).toBeUndefined();
        expect(lab.output()).toBe("built\nbuilt\n");
      }
    });

    test("CVE-2024-23651: a source that is a symlink leads into the source, not to the host", async () => {
      writeFileSync(join(lab.bench.dir, "secret-of-host"), "host\n");
      const hostile = await runStep(command(`ln -s ${lab.bench.dir} /leak`), base, lab.context());
      const source = { kind: "snapshot", snapshot: on(hostile) } as const;
      const mounts = [{ type: "bind", target: "/m", source, path: "/leak", readOnly: false }] as const;
      const failure = await runStep(command("cat /m/*", { mounts }), base, lab.context()).catch((error) => error);
      expect(failure.message).toBe('"/leak": not found');
      expect(lab.output()).toBe("");
    });

    test("CVE-2024-23652: what was made for mounts is not removed by its path, which the command may have changed", async () => {
      const outside = join(lab.bench.dir, "outside");
      // As empty as a mount point: what is taken away by name would be this.
      const victims = [join(outside, "deep"), join(outside, "file")] as const;
      mkdirSync(victims[0], { recursive: true });
      writeFileSync(victims[1], "");
      lab.secrets.set("s", Buffer.from("x"));
      const secret = { type: "secret", id: "s", required: true, mode: 0o400, uid: 0, gid: 0 } as const;
      const mounts = [
        { type: "tmpfs", target: "/stub/deep" },
        { ...secret, target: "/stub/file" },
      ] as const;
      const swap = command(`mv /stub /moved && ln -s ${outside} /stub`, { mounts });
      const layer = await runStep(swap, base, lab.context());
      // The command had its way.
      expect(await names(layer)).toContain("s stub");
      for (const victim of victims) expect(existsSync(victim)).toBe(true);
    });

    test("CVE-2024-23653: nothing of a step asks for more rights than the request gave", async () => {
      const insecure = await runStep(command("grep CapEff /proc/self/status", { insecure: true }), base, lab.context());
      expect(insecure).toBeUndefined();
      expect(lab.output()).not.toContain("00000000a80425fb");
      await runStep(command("grep CapEff /proc/self/status"), base, lab.context());
      expect(lab.output()).toContain("00000000a80425fb");
    });

    test("a cache outlives its step, and is in no layer", async () => {
      const mounts = [
        {
          type: "cache",
          target: "/root/.cache",
          id: "c",
          sharing: "shared",
          readOnly: false,
          mode: 0o711,
          uid: 5,
          gid: 6,
        },
      ] as const;
      const write = command("stat -c '%a %u %g' /root/.cache; echo kept > /root/.cache/f", { mounts });
      expect(await runStep(write, base, lab.context())).toBeUndefined();
      expect(await runStep(command("cat /root/.cache/f", { mounts }), base, lab.context())).toBeUndefined();
      expect(lab.output()).toBe("711 5 6\nkept\n");
    });

    test("a cache begins with a directory of a stage", async () => {
      const from = { source: lab.files({ "seed/a": "seeded\n" }), path: "seed" };
      const mounts = [
        {
          type: "cache",
          target: "/c",
          id: "seeded",
          from,
          sharing: "shared",
          readOnly: false,
          mode: 0o755,
          uid: 0,
          gid: 0,
        },
      ] as const;
      await runStep(command("cat /c/a", { mounts }), base, lab.context());
      expect(lab.output()).toBe("seeded\n");
    });

    test("tmpfs", async () => {
      const mounts = [{ type: "tmpfs", target: "/t", size: 1 << 20 }] as const;
      await runStep(command("grep ' /t ' /proc/mounts; echo x > /t/f", { mounts }), base, lab.context());
      expect(lab.output()).toContain("size=1024k");
    });

    test("a secret is in the file or the variable, and nowhere else", async () => {
      const value = `secret-${crypto.randomUUID()}`;
      lab.secrets.set("token", Buffer.from(value));
      const secret = { type: "secret", id: "token", required: true, mode: 0o400, uid: 7, gid: 8 } as const;
      const mounts = [{ ...secret, target: "/run/secrets/token", env: "TOKEN" }] as const;
      const script =
        'stat -c \'%a %u %g\' /run/secrets/token; [ "$(cat /run/secrets/token)" = "$TOKEN" ] && echo same; echo x > /made';
      const layer = await runStep(command(script, { mounts }), base, lab.context());
      expect(lab.output()).toBe("400 7 8\nsame\n");
      expect(await names(layer)).toEqual(["f made"]);
      expect(lab.contains(value)).toEqual([]);
      const missing = [{ ...secret, id: "none", target: "/run/secrets/none" }] as const;
      const failure = await runStep(command("true", { mounts: missing }), base, lab.context()).catch((error) => error);
      expect(failure.message).toBe("secret none: not found");
      const optional = [{ ...missing[0], required: false }];
      await runStep(command("ls /run/secrets/none || echo absent", { mounts: optional }), base, lab.context());
      expect(lab.output()).toContain("absent");
    });

    test("an agent's socket", async () => {
      const path = join(lab.bench.dir, "agent");
      const server = createServer((socket) => socket.end("agent says hello\n"));
      await new Promise<void>((resolve) => server.listen(path, resolve));
      lab.agents.set("default", path);
      const mounts = [
        {
          type: "ssh",
          id: "default",
          target: "/run/buildkit/ssh_agent.0",
          required: true,
          mode: 0o600,
          uid: 0,
          gid: 0,
        },
      ] as const;
      await runStep(
        command("nc local:$SSH_AUTH_SOCK < /dev/null; ls -l $SSH_AUTH_SOCK", { mounts }),
        base,
        lab.context(),
      );
      expect(lab.output()).toContain("/run/buildkit/ssh_agent.0");
      expect(statSync(path).mode & 0o777).toBe(0o600);
      server.close();
    });
  });
});
