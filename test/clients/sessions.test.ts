import { afterAll, beforeAll, describe, expect, test } from "bun:test";
import { command, engineForTests } from "../harness.ts";
import { Client, cannotCompare, docker, said } from "./docker.ts";

/** What goes on while somebody watches: terminals, followed logs, events, signals. Docker's command line and ours. */
const engine = cannotCompare ? undefined : engineForTests();
const DETACH = "\x10\x11";
const PROMPT = /\/ # /;
/** Says what it hears. */
const LISTENER = 'trap "echo heard; exit 6" TERM; echo up; while :; do usleep 20000; done';

for (const name of ["docker", "inro"]) {
  describe.skipIf(cannotCompare !== "")(`${name}, watched${cannotCompare && ` (${cannotCompare})`}`, () => {
    let client: Client;
    beforeAll(() => {
      client = new Client(name === "docker" ? [docker!] : command, engine!);
    });
    afterAll(() => client?.close());
    const logs = async (container: string, text: string) => {
      while (!(await client.ok("logs", container)).includes(text));
    };

    test("run -it: a shell, its size, what is typed, its status", async () => {
      const shell = client.onTerminal("run", "-it", "--rm", "busybox", "sh");
      await shell.after(PROMPT, "stty size; tty\r");
      await shell.after(/33 91\r\n\/dev\/pts\/0\r\n/);
      // A change that comes before the command listens for it is not heard.
      for (let rows = 40; ; rows = 81 - rows) {
        shell.resize(100, rows);
        await shell.after(PROMPT, "stty size\r");
        if (/^4/.test(await shell.after(/\d+ \d+\r\n/))) break;
      }
      await shell.after(PROMPT, "exit 7\r");
      expect(await shell.end()).toBe(7);
    });

    test("^C reaches the process, not the command", async () => {
      const shell = client.onTerminal("run", "-it", "--rm", "busybox", "sh");
      await shell.after(PROMPT, "cat\r");
      await shell.after(/cat\r\n/, "typed\r");
      await shell.after(/typed\r\n/, "\x03");
      await shell.after(PROMPT, "echo $?; exit\r");
      await shell.after(/130\r\n/);
      expect(await shell.end()).toBe(0);
    });

    test("detach from run, attach, detach with other keys, attach again to the end", async () => {
      const shell = client.onTerminal("run", "-it", "--name", `${name}-tty`, "busybox", "sh");
      await shell.after(PROMPT, "x=kept\r");
      await shell.after(PROMPT, DETACH);
      expect(await shell.end()).toBe(0);
      expect(await client.ok("inspect", "-f", "{{.State.Running}}", `${name}-tty`)).toBe("true");
      const again = client.onTerminal("attach", "--detach-keys", "ctrl-x,x", `${name}-tty`);
      await again.after(/(?:)/, "echo $x$x\r");
      await again.after(/keptkept\r\n/);
      await again.after(PROMPT, "\x18x");
      expect(await again.end()).toBe(1);
      const last = client.onTerminal("attach", `${name}-tty`);
      await last.after(/(?:)/, "echo; exit 3\r");
      expect(await last.end()).toBe(3);
      await client.ok("rm", `${name}-tty`);
    });

    test("exec -it, start -ai, create -it", async () => {
      await client.ok("create", "-it", "--name", `${name}-box`, "busybox", "sh");
      const first = client.onTerminal("start", "-ai", `${name}-box`);
      await first.after(PROMPT, "echo one; exit 4\r");
      await first.after(/\none\r\n/);
      expect(await first.end()).toBe(4);
      await client.ok("start", `${name}-box`);
      const shell = client.onTerminal("exec", "-it", `${name}-box`, "sh");
      await shell.after(PROMPT, "stty size; exit 5\r");
      await shell.after(/33 91\r\n/);
      expect(await shell.end()).toBe(5);
      const left = client.onTerminal("exec", "-it", "--detach-keys", "q", `${name}-box`, "sh");
      await left.after(PROMPT, "q");
      expect(await left.end()).toBe(1);
      await client.ok("rm", "-f", `${name}-box`);
    });

    test("without a terminal: -t is refused, attach carries both streams and the status, signals go through", async () => {
      expect(await client.run(["run", "-it", "--rm", "busybox", "true"])).toMatchObject({ code: 1, out: "" });
      await client.ok("run", "-d", "--name", `${name}-heard`, "busybox", "sh", "-c", LISTENER);
      await logs(`${name}-heard`, "up");
      const attached = client.start("attach", "--no-stdin", `${name}-heard`);
      const follow = client.start("logs", "-f", "--tail", "0", `${name}-heard`);
      // Attached is what the engine's events tell.
      await client.ok("events", "--since", "10m", "--until", "0s", "--filter", "event=attach");
      while (
        !/attach/.test(
          await client.ok("events", "--since", "10m", "--until", "0s", "--filter", `container=${name}-heard`),
        )
      );
      attached.kill("SIGTERM");
      expect(await said(attached)).toEqual({ code: 6, out: "heard\n", err: "" });
      expect(await said(follow)).toEqual({ code: 0, out: "heard\n", err: "" });
      await client.ok("rm", `${name}-heard`);
    });

    test("--sig-proxy=false: the command ends, the process goes on; logs -f ends at ^C", async () => {
      await client.ok("run", "-d", "--name", `${name}-deaf`, "busybox", "sh", "-c", LISTENER);
      await logs(`${name}-deaf`, "up");
      const follow = client.start("logs", "-f", `${name}-deaf`);
      const reader = follow.stdout.getReader();
      expect(new TextDecoder().decode((await reader.read()).value)).toBe("up\n");
      follow.kill("SIGINT");
      expect(await follow.exited).not.toBe(0);
      expect(await client.ok("inspect", "-f", "{{.State.Running}}", `${name}-deaf`)).toBe("true");
      await client.ok("rm", "-f", `${name}-deaf`);
    });

    test("wait and events hear of the end", async () => {
      const { Id } = JSON.parse(await client.ok("image", "inspect", "-f", "{{json .}}", "busybox"));
      const filters = ["--filter", "type=container", "--filter", `image=${Id}`, "--filter", "image=busybox"];
      const events = client.start(
        "events",
        "--since",
        "10m",
        ...filters,
        "--format",
        "{{.Action}} {{.Actor.Attributes.name}}",
      );
      const lines = reader(events.stdout);
      await client.ok("create", "-i", "--name", `${name}-wait`, "busybox", "sh", "-c", "read x; exit 9");
      await lines.until(`create ${name}-wait`);
      await client.ok("start", `${name}-wait`);
      const waiting = client.start("wait", `${name}-wait`);
      await client.ok("kill", "-s", "TERM", `${name}-wait`);
      await client.ok("kill", `${name}-wait`);
      expect(await said(waiting)).toEqual({ code: 0, out: "137\n", err: "" });
      await client.ok("rm", `${name}-wait`);
      await lines.until(`destroy ${name}-wait`);
      const seen = lines.all.filter((line) => line.endsWith(` ${name}-wait`)).map((line) => line.split(" ")[0]);
      expect(seen).toEqual(["create", "start", "kill", "kill", "die", "destroy"]);
      events.kill("SIGINT");
      await events.exited;
    });

    test("stats has docker's columns", async () => {
      await client.ok("run", "-d", "--name", `${name}-stats`, "busybox", "sleep", "1000");
      const [head, line] = (await client.ok("stats", "--no-stream", `${name}-stats`)).split("\n");
      expect(head).toMatch(
        /^CONTAINER ID {3}NAME {2,}CPU % {2,}MEM USAGE \/ LIMIT {2,}MEM % {2,}NET I\/O {2,}BLOCK I\/O {2,}PIDS$/,
      );
      expect(line).toMatch(/^[0-9a-f]{12} {3}\S+-stats +[\d.]+% +[\d.]+[KM]?i?B \/ [\d.]+GiB +[\d.]+% .* 1$/);
      await client.ok("rm", "-f", `${name}-stats`);
    });
  });
}

/** Lines of a stream as they come. */
function reader(stream: ReadableStream<Uint8Array>) {
  const all: string[] = [];
  const chunks = stream.getReader();
  let rest = "";
  return {
    all,
    async until(line: string): Promise<void> {
      while (!all.includes(line)) {
        const { value, done } = await chunks.read();
        if (done) throw new Error(`it ended without ${line}: ${all.join("; ")}`);
        const lines = (rest + new TextDecoder().decode(value)).split("\n");
        rest = lines.pop()!;
        all.push(...lines);
      }
    },
  };
}
