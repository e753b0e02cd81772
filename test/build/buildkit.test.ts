import { describe, expect, test } from "bun:test";
import { spawn, spawnSync } from "node:child_process";
import { mkdirSync, mkdtempSync, readdirSync, readFileSync, writeFileSync } from "node:fs";
import { connect, createServer } from "node:net";
import { join } from "node:path";
import { engineForTests, hasBusybox, isRoot } from "../harness.ts";

/** Docker's command line had BuildKit's client in it up to 22; a later one needs buildx. */
function docker(): string | undefined {
  const candidates = ["/usr/bin/docker", Bun.which("docker")].filter((path) => path !== null);
  return candidates.find((path) => {
    const version = spawnSync(path, ["--version"], { encoding: "utf8" }).stdout ?? "";
    return Number(/version (\d+)\./.exec(version)?.[1] ?? 99) < 23;
  });
}

const client = docker();
const why = !isRoot
  ? "needs root"
  : !hasBusybox
    ? "no busybox-static"
    : client
      ? ""
      : "no docker command line before 23, which has BuildKit's client in it";

describe.skipIf(why !== "")(`BuildKit's protocol, by docker's command line${why && ` (${why})`}`, () => {
  if (why) return;
  const engine = engineForTests();
  const context = (files: Record<string, string>) => {
    const directory = mkdtempSync(join(engine.dir, "context-"));
    for (const [name, text] of Object.entries(files)) {
      mkdirSync(join(directory, name, ".."), { recursive: true });
      writeFileSync(join(directory, name), text);
    }
    return directory;
  };
  const env = () => ({ PATH: process.env.PATH!, HOME: engine.dir, DOCKER_HOST: engine.host, DOCKER_BUILDKIT: "1" });
  const build = (directory: string, ...args: string[]) =>
    new Promise<{ code: number; text: string }>((resolve) => {
      const child = spawn(client!, ["build", "--progress", "plain", ...args, directory], { env: env() });
      let text = "";
      for (const stream of [child.stdout, child.stderr]) stream.on("data", (data) => (text += data));
      child.on("close", (code) => resolve({ code: code ?? -1, text }));
    });

  const agents = () => readdirSync(engine.execRoot).filter((name) => name.startsWith("agent-"));

  test("stages, a context less what is ignored, arguments, labels and a tag", async () => {
    const directory = context({
      Dockerfile:
        "ARG BASE\nFROM $BASE AS one\nWORKDIR /app\nCOPY . .\nRUN ls -A > /list\nFROM busybox\nARG SAY\nCOPY --from=one /list /app/f /\nENV SAID=$SAY\n",
      ".dockerignore": "# a comment\nignored\n*.log\n!keep.log\n",
      f: "content\n",
      ignored: "x",
      "a.log": "x",
      "keep.log": "x",
      "deep/empty": "",
    });
    const built = await build(
      directory,
      "-t",
      "built:1",
      "--build-arg",
      "BASE=busybox",
      "--build-arg",
      "SAY=hi",
      "--label",
      "l=v",
    );
    expect(built).toMatchObject({ code: 0 });
    expect(built.text).toContain("[one 3/4] COPY . .");
    const shown = await engine.ok("run", "--rm", "built:1", "sh", "-c", "cat /list /f; echo $SAID");
    expect(shown).toBe(".dockerignore\nDockerfile\ndeep\nf\nkeep.log\ncontent\nhi");
    expect(JSON.parse(await engine.ok("image", "inspect", "built:1"))[0].Config.Labels).toEqual({ l: "v" });
  });

  test("a second build takes all from the cache; one file changed is all that is sent", async () => {
    const files: Record<string, string> = { Dockerfile: "FROM busybox\nCOPY . /app\n" };
    for (let i = 0; i < 50; i++) files[`dir/f${i}`] = `${i} ${"x".repeat(1000)}\n`;
    const directory = context(files);
    expect((await build(directory)).code).toBe(0);
    const again = await build(directory);
    expect(again.text).toMatch(/COPY \. \/app\n(?:#\d+ sha256.*\n)?#\d+ CACHED/);
    writeFileSync(join(directory, "dir/f7"), "changed\n");
    const changed = await build(directory, "-t", "changed");
    expect(changed.code).toBe(0);
    expect(changed.text).not.toContain("CACHED\n\n#5");
    expect(await engine.ok("run", "--rm", "changed", "sh", "-c", "cat /app/dir/f7; ls /app/dir | wc -l")).toBe(
      "changed\n50",
    );
  });

  test("a secret is the command's alone", async () => {
    const value = `secret-${crypto.randomUUID()}`;
    const directory = context({
      Dockerfile:
        "FROM busybox\nRUN --mount=type=secret,id=it [ -s /run/secrets/it ] && cat /run/secrets/it | wc -c > /length\n",
    });
    const file = join(engine.dir, "a-secret");
    writeFileSync(file, value);
    expect((await build(directory, "--secret", `id=it,src=${file}`, "-t", "secret")).code).toBe(0);
    expect(await engine.ok("run", "--rm", "secret", "cat", "/length")).toBe(String(value.length));
    const within = (path: string): string[] =>
      readdirSync(path, { withFileTypes: true }).flatMap((entry) => {
        const one = join(path, entry.name);
        return entry.isDirectory() ? within(one) : entry.isFile() && readFileSync(one).includes(value) ? [one] : [];
      });
    expect(within(engine.dataRoot)).toEqual([]);
    const missing = await build(directory, "--no-cache");
    expect(missing.code).not.toBe(0);
  });

  test("an agent is reached through the session", async () => {
    const path = join(engine.dir, "agent.sock");
    // The list of its keys, of which it has none (draft-miller-ssh-agent): clients pass on nothing else than that protocol.
    const question = Buffer.from("000000010b", "hex");
    const none = Buffer.from("000000050c00000000", "hex");
    const heard: string[] = [];
    const agent = createServer((socket) => {
      socket.on("data", (data) => {
        heard.push(data.toString("hex"));
        socket.write(none);
      });
    });
    await new Promise<void>((resolve) => agent.listen(path, resolve));
    const directory = context({
      Dockerfile: "FROM busybox\nRUN --mount=type=ssh [ -S $SSH_AUTH_SOCK ] && echo started && sleep 1000\n",
    });
    const before = agents();
    const child = spawn(client!, ["build", "--progress", "plain", "--ssh", `default=${path}`, directory], {
      env: env(),
    });
    await new Promise<void>((resolve) =>
      child.stderr.on("data", (data) => /\d started/.test(String(data)) && resolve()),
    );
    const [socket] = agents().filter((name) => !before.includes(name));
    // What the step has mounted; nothing in the image could speak to it.
    const connection = connect(join(engine.execRoot, socket!), () => connection.write(question));
    let answer = "";
    await new Promise<void>((resolve) => {
      connection.on("data", (data) => {
        answer += data.toString("hex");
        if (answer.length >= 2 * none.length) resolve();
      });
    });
    connection.destroy();
    expect([answer, heard]).toEqual([none.toString("hex"), [question.toString("hex")]]);
    child.kill("SIGKILL");
    await new Promise((resolve) => child.on("close", resolve));
    while (agents().length > before.length) await new Promise(setImmediate);
    agent.close();
  });

  test("a step that fails: its output, its place in the file, and no image", async () => {
    const directory = context({ Dockerfile: "FROM busybox\nRUN echo before the end; exit 3\n" });
    const { code, text } = await build(directory, "-t", "broken");
    expect(code).toBe(1);
    expect(text).toContain("before the end");
    expect(text).toContain(
      'process "/bin/sh -c echo before the end; exit 3" did not complete successfully: exit code: 3',
    );
    expect(text).toContain(">>> RUN echo before the end; exit 3");
    expect((await engine.inro(["image", "inspect", "broken"])).code).not.toBe(0);
    const nothing = await build(context({ Other: "FROM busybox\n" }));
    expect(nothing.text).toContain("Dockerfile");
    expect(nothing.code).toBe(1);
  });

  test("a client that leaves ends its build", async () => {
    const directory = context({ Dockerfile: "FROM busybox\nRUN echo started; sleep 1000\n" });
    const child = spawn(client!, ["build", "--progress", "plain", directory], { env: env() });
    await new Promise<void>((resolve) =>
      child.stderr.on("data", (data) => String(data).includes("started") && resolve()),
    );
    child.kill("SIGKILL");
    await new Promise((resolve) => child.on("close", resolve));
    // The step's directory goes when its processes have: this ends, or the test's time does.
    while (readdirSync(join(engine.dataRoot, "build/steps")).length > 0) await new Promise(setImmediate);
  });

  test("what is wrong with a session is said", async () => {
    const plain = await engine.api("POST", "/session");
    expect(plain.status).toBe(400);
    const none = await engine.api("POST", "/build?version=2&remote=client-session");
    expect([none.status, await none.text()]).toEqual([400, expect.stringContaining("needs a session")]);
    const bad = await engine.api("POST", "/build?version=2&remote=client-session&session=../x");
    expect(bad.status).toBe(400);
    const output = await engine.api(
      "POST",
      `/build?version=2&remote=client-session&session=x&outputs=${encodeURIComponent('[{"Type":"local"}]')}`,
    );
    expect(output.status).toBe(501);
  });
});
