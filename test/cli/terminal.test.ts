import { describe, expect, test } from "bun:test";
import { command, engineForTests, hasBusybox, isRoot } from "../harness.ts";

const why = !isRoot ? "needs root" : !hasBusybox ? "no busybox-static" : "";

describe.skipIf(why !== "")(`inro on a terminal${why && ` (${why})`}`, async () => {
  if (why) return;
  const engine = engineForTests();

  /** A command line on a terminal of its own, below a shell that shows the terminal's mode when it is over. */
  const onTerminal = (...args: string[]) => {
    let text = "";
    let look = () => {};
    const terminal = new Bun.Terminal({
      cols: 91,
      rows: 33,
      data(_, chunk) {
        text += new TextDecoder().decode(chunk);
        look();
      },
    });
    const shell =
      'trap : INT QUIT; "$@"; echo "status $?"; stty -a | grep -o -- "-\\?icanon"; stty -a | grep -o -- "-\\?echo "; echo over';
    // -c: it is the controlling terminal, so that ^C and a new size become signals.
    const child = Bun.spawn(["setsid", "-cw", "/bin/sh", "-c", shell, "sh", ...command, ...args], {
      env: { ...process.env, INRO_HOST: engine.host, TERM: "xterm-test" },
      terminal,
    });
    const shows = (wanted: string) =>
      new Promise<void>((resolve) => {
        look = () => {
          if (text.includes(wanted)) resolve();
        };
        look();
      });
    const end = async () => {
      await shows("over\r\n");
      await child.exited;
      terminal.close();
      return text;
    };
    return { terminal, shows, end, type: (keys: string) => terminal.write(keys) };
  };
  const restored = "icanon\r\necho ";

  test("-it: a shell with echo, the size at the start and after a resize, its status, the mode restored", async () => {
    const on = onTerminal("run", "--rm", "-it", "busybox", "sh");
    await on.shows("/ # ");
    on.type("stty size; echo $TERM; tty\r");
    await on.shows("33 91");
    await on.shows("xterm\r");
    await on.shows("/dev/pts/0");
    on.terminal.resize(100, 40);
    // The new size arrives a moment later.
    for (let seen = false; !seen; ) {
      on.type("stty size\r");
      seen = await Promise.race([on.shows("40 100").then(() => true), Bun.sleep(50).then(() => false)]);
    }
    // The container's terminal makes a line end of two characters, and ours no more of it.
    on.type("echo one; echo two\r");
    await on.shows("\r\none\r\ntwo\r\n");
    on.type("exit 7\r");
    expect(await on.end()).toContain(`status 7\r\n${restored}`);
  });

  test("^C is the foreground command's: the shell goes on, and says 130", async () => {
    const on = onTerminal("run", "--rm", "-it", "busybox", "sh");
    await on.shows("/ # ");
    on.type("echo star$((1))ed; sleep 1000\r");
    await on.shows("star1ed");
    // The shell gives the terminal to its command a moment after the echo: ^C until it has arrived.
    for (let dead = false; !dead; ) {
      on.type("\x03");
      on.type("echo ended with $?.\r");
      dead = await Promise.race([on.shows("ended with 130.").then(() => true), Bun.sleep(100).then(() => false)]);
    }
    on.type("exit 0\r");
    expect(await on.end()).toContain(`status 0\r\n${restored}`);
  });

  test("^C without a terminal in the container: the signal is passed on, 130", async () => {
    const script = 'trap "exit 42" INT; echo ready; while :; do usleep 10000; done';
    const on = onTerminal("run", "--rm", "-i", "busybox", "sh", "-c", script);
    await on.shows("ready");
    on.type("\x03");
    expect(await on.end()).toContain(`status 42\r\n${restored}`);
    const plain = onTerminal("run", "--rm", "--init", "busybox", "sh", "-c", "echo ready; exec sleep 1000");
    await plain.shows("ready");
    plain.type("\x03");
    expect(await plain.end()).toContain(`status 130\r\n${restored}`);
  });

  test("the detach keys leave the container running; attach comes back to it; others can be chosen", async () => {
    const on = onTerminal("run", "-it", "--name", "detach", "busybox", "sh");
    await on.shows("/ # ");
    on.type("echo v$((1))alue\r");
    await on.shows("v1alue");
    on.type("\x10\x11");
    expect(await on.end()).toContain(`status 0\r\n${restored}`);
    expect(await engine.ok("ps", "--format", "{{.Names}} {{.State}}")).toBe("detach running");
    const again = onTerminal("attach", "--detach-keys", "ctrl-a,d", "detach");
    again.type("\r");
    await again.shows("/ # ");
    again.type("echo ag$((1))ain\r");
    await again.shows("ag1ain");
    again.type("\x01d");
    expect(await again.end()).toContain(`status 1\r\n${restored}`);
    const exec = onTerminal("exec", "-it", "detach", "sh");
    await exec.shows("/ # ");
    exec.type("stty size; exit 3\r");
    await exec.shows("33 91");
    expect(await exec.end()).toContain(`status 3\r\n${restored}`);
    const last = onTerminal("attach", "detach");
    last.type("\r");
    await last.shows("/ # ");
    last.type("exit 5\r");
    expect(await last.end()).toContain(`status 5\r\n${restored}`);
    await engine.ok("rm", "detach");
  });

  test("-t without a terminal is refused; a command that cannot be started leaves the mode as it was", async () => {
    const { code, stderr } = await engine.inro(["run", "--rm", "-it", "busybox", "true"]);
    expect(code).toBe(1);
    expect(stderr).toContain("the input device is not a TTY");
    expect(await engine.ok("ps", "-aq")).toBe("");
    const on = onTerminal("run", "--rm", "-it", "busybox", "/no/such/command");
    expect(await on.end()).toContain(`status 127\r\n${restored}`);
  });
});
