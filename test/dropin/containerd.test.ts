import { afterAll, beforeAll, describe, expect, test } from "bun:test";
import { existsSync, readlinkSync, writeFileSync } from "node:fs";
import { busyboxRoot } from "../harness.ts";
import { eventually } from "../runtime/bundle.ts";
import { Caller, COUNTER, cannotUse, SERVER } from "./caller.ts";
import { cannotCheckpoint } from "./criu.ts";

const noCriu = cannotCheckpoint();
const cannot = cannotUse("containerd", "ctr", "containerd-shim-runc-v2");

describe.skipIf(cannot !== undefined)(
  `ctr run --runc-binary inro-runtime${cannot ? ` (skipped: ${cannot})` : ""}`,
  () => {
    let ctr: Caller;
    let root: string;
    beforeAll(async () => {
      ctr = new Caller("containerd");
      const socket = ctr.path("sock");
      const config = [
        "version = 2",
        `root = ${JSON.stringify(ctr.directory("root"))}`,
        `state = ${JSON.stringify(ctr.directory("state"))}`,
        'disabled_plugins = ["io.containerd.grpc.v1.cri"]',
        `[grpc]\naddress = ${JSON.stringify(socket)}`,
      ];
      writeFileSync(ctr.path("config.toml"), `${config.join("\n")}\n`);
      // The namespace is the parent of the containers' cgroups.
      ctr.use("ctr", "--address", socket, "--namespace", ctr.name);
      await ctr.start(["containerd", "--config", ctr.path("config.toml")], ["version"]);
      root = busyboxRoot(ctr.dir);
      ctr.undo(removeAll);
    });
    afterAll(async () => {
      expect(await ctr.close()).toEqual([]);
    });

    async function removeAll(): Promise<void> {
      for (const id of (await ctr.ok("containers", "ls", "--quiet")).split("\n").filter(Boolean)) await remove(id);
    }
    async function remove(id: string): Promise<void> {
      await ctr.run(["tasks", "delete", "--force", id]);
      await ctr.ok("containers", "delete", id);
    }
    let ids = 0;
    const options = () => ["--runc-binary", ctr.runtime, "--runc-root", ctr.path("runc"), "--rootfs"];
    const run = (flags: string[], ...command: string[]) =>
      ctr.run(["run", "--rm", ...options(), ...flags, root, `c${ids++}`, ...command]);
    const detached = async (id: string, script: string, ...flags: string[]) => {
      await ctr.ok("run", "--detach", ...options(), ...flags, root, id, "sh", "-c", script);
    };
    const status = async (id: string) =>
      new RegExp(`^${id}\\s+\\d+\\s+(\\w+)`, "m").exec(await ctr.ok("tasks", "ls"))?.[1];

    const [net, uts] = [readlinkSync("/proc/self/ns/net"), readlinkSync("/proc/self/ns/uts")];
    const cases: [what: string, flags: string[], command: string[], code: number, said: string][] = [
      ["output and exit status", [], ["sh", "-c", "echo out; exit 3"], 3, "out\n"],
      ["a command that is not there", [], ["nope"], 1, 'exec: "nope": executable file not found in $PATH'],
      ["read-only", ["--read-only"], ["touch", "/x"], 1, "Read-only file system"],
      ["the host's network", ["--net-host"], ["readlink", "/proc/self/ns/net"], 0, net],
      ["privileged", ["--privileged"], ["mount", "-t", "tmpfs", "x", "/tmp"], 0, ""],
      ["its filter", ["--seccomp"], ["grep", "Seccomp:", "/proc/self/status"], 0, "\t2\n"],
      ["capabilities", ["--cap-drop", "CAP_CHOWN"], ["chown", "1", "/tmp"], 1, "Operation not permitted"],
      ["a mount", ["--mount", "type=bind,src=/etc,dst=/x,options=rbind:ro"], ["touch", "/x/inro"], 1, "Read-only"],
      [
        "a namespace by path",
        ["--with-ns", `uts:/proc/${process.pid}/ns/uts`],
        ["readlink", "/proc/self/ns/uts"],
        0,
        uts,
      ],
      ["more memory than allowed", ["--memory-limit", "16777216"], ["tail", "/dev/zero"], 137, ""],
    ];
    for (const [what, flags, command, code, said] of cases) {
      test(what, async () => {
        const result = await run(flags, ...command);
        expect({ code: result.code, said: result.out + result.err }).toEqual({
          code,
          said: expect.stringContaining(said),
        });
      });
    }

    test("a task: exec, ps, pause, resume, kill, delete", async () => {
      await detached("life", SERVER);
      expect(await status("life")).toBe("RUNNING");
      const exec = (id: string, ...command: string[]) =>
        ctr.run(["tasks", "exec", "--exec-id", id, "life", ...command]);
      expect(await exec("e1", "sh", "-c", "echo in; exit 4")).toMatchObject({ code: 4, out: "in\n" });
      expect(await exec("e2", "nope")).toMatchObject({
        code: 1,
        err: expect.stringContaining('exec: "nope": executable file not found in $PATH'),
      });
      expect(await ctr.ok("tasks", "ps", "life")).toMatch(/^\d+ /m);
      await ctr.ok("tasks", "pause", "life");
      expect(await status("life")).toBe("PAUSED");
      await ctr.ok("tasks", "resume", "life");
      expect(await status("life")).toBe("RUNNING");
      await ctr.ok("tasks", "kill", "--signal", "TERM", "life");
      await eventually("it has stopped", async () => (await status("life")) === "STOPPED");
      expect((await ctr.run(["tasks", "delete", "life"])).err).toContain("exit code 5");
      await ctr.ok("containers", "delete", "life");
    });

    test.skipIf(noCriu !== undefined)(`tasks checkpoint${noCriu ? ` (skipped: ${noCriu})` : ""}`, async () => {
      await ctr.ok("run", "--detach", "--null-io", ...options(), root, "frozen", "sh", "-c", COUNTER);
      const paths = ["--image-path", ctr.directory("images"), "--work-path", ctr.directory("work")];
      await ctr.ok("tasks", "checkpoint", ...paths, "frozen");
      expect(existsSync(ctr.path("images/pstree.img"))).toBe(true);
      expect(await status("frozen")).toBe("RUNNING");
      await ctr.ok("tasks", "checkpoint", "--exit", ...paths, "frozen");
      await eventually("it has stopped", async () => (await status("frozen")) === "STOPPED");
      await remove("frozen");
    });

    test("metrics are the container's own", async () => {
      await detached("metrics", `dd if=/dev/zero of=/dev/shm/x bs=1M count=8; ${SERVER}`);
      const value = async (name: string) =>
        Number(new RegExp(`^${name}\\s+(\\d+)`, "m").exec(await ctr.ok("tasks", "metrics", "metrics"))?.[1]);
      const v1 = (await ctr.ok("tasks", "metrics", "metrics")).includes("memory.usage_in_bytes");
      const memory = v1 ? "memory.usage_in_bytes" : "memory.usage";
      await eventually("the 8 MB are there", async () => (await value(memory)) >= 8 << 20);
      expect(await value(memory)).toBeLessThan(64 << 20);
      expect(await value(v1 ? "cpuacct.usage" : "cpu.usage_usec")).toBeGreaterThan(0);
      await remove("metrics");
    });

    test("terminals: of the container, and of an exec", async () => {
      const run = ["run", "--rm", "--tty", ...options(), root, "terminal", "sh"];
      expect(await ctr.onTerminal(run, "/ # ", "stty size; exit 7\r")).toMatchObject({
        code: 7,
        out: expect.stringContaining("33 91"),
      });
      await detached("server", SERVER);
      const exec = ["tasks", "exec", "--tty", "--exec-id", "e", "server", "sh"];
      expect(await ctr.onTerminal(exec, "/ # ", "stty size; exit 6\r")).toMatchObject({
        code: 6,
        out: expect.stringContaining("33 91"),
      });
      await remove("server");
    });
  },
);
