import { expect } from "bun:test";
import { closeSync, openSync, readFileSync, readlinkSync, writeFileSync } from "node:fs";
import { join } from "node:path";
import { ConsoleSocket, readTerminal } from "../../console-socket.ts";
import { section } from "../case.ts";

const terminal = section("config.md#process");

export const terminalCases = [
  terminal.does("process.terminal: over the console socket", async (c) => {
    const container = c.container(
      "readlink /proc/self/fd/0; test -t 1 && test -t 2 && echo tty; echo x > /dev/console; ls -l /dev/console | cut -c1",
      { process: { terminal: true } },
    );
    const path = join(container.bundle, "console");
    const socket = new ConsoleSocket(path);
    await container.ok("create", ["--console-socket", path]);
    const master = socket.receive();
    expect(readlinkSync(`/proc/self/fd/${master}`)).toMatch(/ptmx$/);
    await container.does("start");
    expect(await readTerminal(master)).toBe("/dev/pts/0\r\ntty\r\nx\r\nc\r\n");
    closeSync(master);
  }),
  terminal.does("process.consoleSize", async (c) => {
    const container = c.container("stty size", { process: { terminal: true, consoleSize: { height: 33, width: 77 } } });
    const path = join(container.bundle, "console");
    const socket = new ConsoleSocket(path);
    await container.ok("run", ["--detach", "--console-socket", path]);
    const master = socket.receive();
    expect(await readTerminal(master)).toBe("33 77\r\n");
    closeSync(master);
  }),
  terminal.does("process.terminal: controlling", async (c) => {
    const container = c.container("echo x > /dev/tty", { process: { terminal: true } });
    const path = join(container.bundle, "console");
    const socket = new ConsoleSocket(path);
    await container.ok("run", ["--detach", "--console-socket", path]);
    const master = socket.receive();
    expect(await readTerminal(master)).toBe("x\r\n");
    closeSync(master);
  }),
  terminal.does(
    "create: a terminal needs --console-socket",
    async (c) => {
      const container = c.container("true", { process: { terminal: true } });
      expect((await container.launch("create")).code).not.toBe(0);
      await c.nothingLeft(container);
    },
    { spec: "runc" },
  ),
  terminal.does(
    "create --console-socket: nobody listens",
    async (c) => {
      const container = c.container("true", { process: { terminal: true } });
      expect((await container.launch("create", ["--console-socket", "/nowhere/console"])).code).not.toBe(0);
      await c.nothingLeft(container);
    },
    { spec: "runc" },
  ),
  terminal.does(
    "create --preserve-fds",
    async (c) => {
      const container = c.container("ls /proc/$$/fd; cat <&3");
      const file = join(container.bundle, "kept");
      writeFileSync(file, "kept");
      const fd = openSync(file, "r");
      await container.ok("run", ["--preserve-fds", "1"], { fds: [fd] });
      closeSync(fd);
      expect(container.output()).toBe("0\n1\n2\n3\nkept");
    },
    { spec: "runc" },
  ),
  terminal.does(
    "LISTEN_FDS",
    async (c) => {
      const container = c.container('echo "$LISTEN_FDS $LISTEN_PID"; cat <&3');
      const file = join(container.bundle, "kept");
      writeFileSync(file, "kept");
      const fd = openSync(file, "r");
      // LISTEN_PID is the runtime's own pid (sd_listen_fds(3)).
      const wrap = ["/bin/busybox", "sh", "-c", 'LISTEN_FDS=1 LISTEN_PID=$$ exec "$@"', "sh"];
      await container.ok("run", [], { fds: [fd], wrap });
      closeSync(fd);
      expect(container.output()).toBe("1 1\nkept");
    },
    { spec: "runc", differs: { crun: "1.8.1 gives LISTEN_PID alone" } },
  ),
  terminal.does(
    "create --pidfd-socket",
    async (c) => {
      const container = c.container("exec sleep 1000");
      const path = join(container.bundle, "pidfd");
      const socket = new ConsoleSocket(path);
      await container.ok("create", ["--pidfd-socket", path]);
      const { fd } = socket.receiveAll();
      const info = readFileSync(`/proc/self/fdinfo/${fd}`, "utf8");
      closeSync(fd);
      expect(info).toContain(`Pid:\t${(await container.state()).pid}\n`);
    },
    { spec: "runc", differs: { crun: "1.8.1 does not know it", runc: "1.1.5 does not know it" } },
  ),
  terminal.does(
    "exec --pidfd-socket",
    async (c) => {
      const container = await c.up();
      const path = join(container.bundle, "pidfd");
      const socket = new ConsoleSocket(path);
      const file = join(container.bundle, "pid");
      await container.does("exec", ["--detach", "--pid-file", file, "--pidfd-socket", path], "sleep", "1000");
      const { fd } = socket.receiveAll();
      const info = readFileSync(`/proc/self/fdinfo/${fd}`, "utf8");
      closeSync(fd);
      expect(info).toContain(`Pid:\t${readFileSync(file, "utf8")}\n`);
    },
    { spec: "runc", differs: { crun: "1.8.1 does not know it", runc: "1.1.5 does not know it" } },
  ),
];
