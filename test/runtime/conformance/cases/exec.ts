import { expect } from "bun:test";
import { closeSync, openSync, readFileSync, writeFileSync } from "node:fs";
import { join } from "node:path";
import { ConsoleSocket, readTerminal } from "../../console-socket.ts";
import { section } from "../case.ts";
import { noAppArmor } from "../machine.ts";

const { does } = section("runc");
const PROCESS = {
  user: { uid: 7, gid: 8 },
  args: ["sh", "-c", "id; pwd; echo $A"],
  cwd: "/bin",
  env: ["PATH=/bin", "A=b"],
};

export const execCases = [
  does("exec: output and status", async (c) => {
    const container = await c.up();
    expect(await container.command("exec", [], "sh", "-c", "echo out; echo err >&2; exit 6")).toEqual({
      code: 6,
      out: "out\n",
      err: "err\n",
    });
  }),
  does("exec: 128 and the signal", async (c) => {
    expect((await (await c.up()).command("exec", [], "sh", "-c", "kill -TERM $$")).code).toBe(143);
  }),
  does("exec: in all namespaces", async (c) => {
    const container = await c.up();
    expect(
      await container.sh(
        "for n in pid net mnt ipc uts; do test $(readlink /proc/1/ns/$n) = $(readlink /proc/self/ns/$n) || echo $n; done",
      ),
    ).toBe("");
  }),
  does(
    "exec: as the container's process",
    async (c) => {
      const container = await c.up({
        process: { user: { uid: 5, gid: 6, additionalGids: [9], umask: 0o27 }, cwd: "/bin", env: ["PATH=/bin", "A=b"] },
      });
      expect(await container.sh("id -u; id -G; pwd; echo $A; umask")).toBe("5\n6 9\n/bin\nb\n0027");
    },
    { differs: { crun: "1.8.1 has the umask of its own", runc: "1.1.5 has the umask of its own" } },
  ),
  does(
    "exec: rights and limits of the container's process",
    async (c) => {
      const container = await c.up();
      const status = await container.sh("cat /proc/self/status; grep 'open files' /proc/self/limits");
      expect(status).toContain("CapBnd:\t0000000020000420");
      expect(status).toContain("NoNewPrivs:\t1");
      expect(status).toMatch(/open files +1024 +1024/);
    },
    { differs: { crun: "1.8.1 has no no_new_privs of the container's" } },
  ),
  does("exec --user", async (c) => expect(await (await c.up()).sh("id -u; id -g", "--user", "12:34")).toBe("12\n34")),
  does(
    "exec --additional-gids",
    async (c) =>
      expect(
        await (await c.up()).sh("id -G", "--user", "1:2", "--additional-gids", "3", "--additional-gids", "4"),
      ).toBe("2 3 4"),
    { differs: { crun: "1.8.1 does not know it" } },
  ),
  does(
    "exec --env",
    async (c) => expect(await (await c.up()).sh("echo $A$B", "--env", "A=1", "--env", "B=2")).toBe("12"),
    { differs: { crun: "1.8.1 drops the container's own variables" } },
  ),
  does("exec --cwd", async (c) => expect(await (await c.up()).sh("pwd", "--cwd", "/bin")).toBe("/bin")),
  does("exec --cap", async (c) => {
    expect(await (await c.up()).sh("grep CapEff /proc/self/status", "--cap", "CAP_CHOWN")).toMatch(/1$/);
  }),
  does("exec --no-new-privs", async (c) => {
    const container = await c.up({ process: { noNewPrivileges: false } });
    expect(await container.sh("grep NoNewPrivs /proc/self/status", "--no-new-privs")).toMatch(/1$/);
  }),
  does("exec --process", async (c) => {
    const container = await c.up();
    const file = join(container.bundle, "process.json");
    writeFileSync(file, JSON.stringify(PROCESS));
    expect((await container.command("exec", ["--process", file])).out).toBe("uid=7 gid=8\n/bin\nb\n");
  }),
  does("exec --process: bad JSON", async (c) => {
    const container = await c.up();
    const file = join(container.bundle, "process.json");
    writeFileSync(file, "{");
    await container.fails("exec", ["--process", file]);
    await container.fails("exec", ["--process", join(container.bundle, "nowhere")]);
  }),
  does(
    "exec --process: rlimits, oomScoreAdj, capabilities",
    async (c) => {
      const container = await c.up();
      const file = join(container.bundle, "process.json");
      writeFileSync(
        file,
        JSON.stringify({
          ...PROCESS,
          user: { uid: 0, gid: 0 },
          oomScoreAdj: 700,
          rlimits: [{ type: "RLIMIT_NOFILE", soft: 50, hard: 60 }],
          capabilities: { bounding: ["CAP_KILL"] },
          args: [
            "sh",
            "-c",
            "cat /proc/self/oom_score_adj; grep 'open files' /proc/self/limits; grep CapBnd /proc/self/status",
          ],
        }),
      );
      const { out } = await container.command("exec", ["--process", file]);
      expect(out).toMatch(/^700\n.* 50 +60 .*\nCapBnd:\t0{14}20\n/);
    },
    { differs: { crun: "1.8.1 leaves the score", runc: "1.1.5 leaves the score" } },
  ),
  does("exec --detach --pid-file", async (c) => {
    const container = await c.up();
    const file = join(container.bundle, "pid");
    await container.does("exec", ["--detach", "--pid-file", file], "sleep", "1000");
    const pid = Number(readFileSync(file, "utf8"));
    expect(readFileSync(`/proc/${pid}/cmdline`, "utf8")).toBe("sleep\x001000\0");
  }),
  does("exec --tty --console-socket", async (c) => {
    const container = await c.up();
    const path = join(container.bundle, "console");
    const socket = new ConsoleSocket(path);
    await container.does(
      "exec",
      ["--detach", "--tty", "--console-socket", path],
      "sh",
      "-c",
      "test -t 1 && readlink /proc/self/fd/0",
    );
    const master = socket.receive();
    expect(await readTerminal(master)).toBe("/dev/pts/0\r\n");
    closeSync(master);
  }),
  does("exec --preserve-fds", async (c) => {
    const container = await c.up();
    const file = join(container.bundle, "kept");
    writeFileSync(file, "kept");
    const [fd, out] = [openSync(file, "r"), openSync(join(container.bundle, "exec-out"), "w")];
    await c.runtime.spawn(
      ["exec", "--preserve-fds", "1", container.id, "sh", "-c", "cat <&3"],
      ["ignore", out, "inherit", fd],
    ).exited;
    closeSync(fd);
    closeSync(out);
    expect(readFileSync(join(container.bundle, "exec-out"), "utf8")).toBe("kept");
  }),
  does(
    "exec --apparmor",
    async (c) => {
      const container = await c.up();
      expect(await container.sh("cat /proc/self/attr/current", "--apparmor", "unconfined")).toBe("unconfined");
    },
    { missing: noAppArmor, vm: true },
  ),
  does(
    "exec: no such program",
    async (c) => {
      const container = await c.up();
      const { code, err } = await container.command("exec", [], "nope");
      expect(code).toBe(255);
      expect(err).toMatch(/executable file not found in \$PATH/);
    },
    { differs: { crun: "its status is 1" } },
  ),
  does("exec: no command", async (c) => void (await (await c.up()).fails("exec"))),
  does("exec: stopped", async (c) => {
    const container = await c.up();
    await container.does("kill", [], "KILL");
    await container.stopped();
    expect((await container.command("exec", [], "true")).code).not.toBe(0);
  }),
  does(
    "exec: created",
    async (c) => {
      const container = await c.created();
      expect((await container.command("exec", [], "true")).code).toBe(0);
    },
    {},
  ),
  does("exec: unknown id", async (c) => expect((await c.runtime.run(["exec", "nobody", "true"])).code).not.toBe(0)),
  does(
    "exec: paused",
    async (c) => {
      const container = await c.up();
      await container.does("pause");
      expect(await container.fails("exec", [], "true")).toMatch(/paused/);
    },
    {},
  ),
  does(
    "exec --ignore-paused",
    async (c) => {
      const container = await c.up();
      await container.does("pause");
      const child = c.runtime.spawn(
        ["exec", "--ignore-paused", container.id, "sh", "-c", "exit 4"],
        ["ignore", "ignore", "ignore"],
      );
      await container.does("resume");
      expect(await child.exited).toBe(4);
    },
    { differs: { crun: "1.8.1 does not know it" } },
  ),
];
