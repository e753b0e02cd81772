import { afterAll, beforeAll, describe, expect, test } from "bun:test";
import { chmodSync, existsSync, mkdirSync, readFileSync, renameSync, rmSync, statSync, watch } from "node:fs";
import { connect } from "node:net";
import { join } from "node:path";
import { connect as tlsConnect } from "node:tls";
import { command, hasBusybox, isRoot, TestEngine, temporary } from "../harness.ts";
import { authority, certificate, OPENSSL } from "./certificates.ts";
import { until } from "./until.ts";

const DOCKER = Bun.which("docker");
const why = !isRoot ? "needs root" : !hasBusybox ? "no busybox-static" : "";

/** Runs `inro serve` with what must be refused; answers what it says. */
async function refused(...args: string[]): Promise<string> {
  const dir = temporary();
  const own = ["--data-root", join(dir, "data"), "--exec-root", join(dir, "exec")];
  const child = Bun.spawn([...command, "serve", ...own, ...args], { stdio: ["ignore", "ignore", "pipe"] });
  const [text, code] = await Promise.all([new Response(child.stderr).text(), child.exited]);
  expect(code).not.toBe(0);
  expect(existsSync(join(dir, "data"))).toBe(false);
  rmSync(dir, { recursive: true });
  return text;
}

test.each(["tcp://127.0.0.1:0", "tcp://0.0.0.0:2375", "tcp://localhost"])("plain TCP is refused: %s", async (host) => {
  expect(await refused("--host", host)).toContain("with client certificates only");
});

test("what makes no sense is refused before anything is made", async () => {
  expect(await refused("--host", "fd://")).toContain("no socket was passed on");
  expect(await refused("--host", "http://127.0.0.1:1")).toContain("use unix:///PATH");
  expect(await refused("--group", "no-such-group")).toContain("there is no such group on this machine");
  expect(await refused("--tlscert", "/x.pem")).toContain("TLS needs all of tlscacert");
  expect(await refused("--access-log-format", "xml")).toContain("none of text, json");
});

describe.skipIf(why !== "")(`the engine's doors${why && ` (${why})`}`, () => {
  const dir = temporary();
  const log = join(dir, "access.log");
  const GID = 54321;
  let engine: TestEngine;
  beforeAll(async () => {
    engine = await new TestEngine(["--access-log", log, "--access-log-format", "json", "--group", String(GID)]).start();
    await engine.busybox();
  });
  afterAll(async () => {
    await engine.stop();
    rmSync(dir, { recursive: true });
  });
  const entries = (text: string) =>
    text
      .trimEnd()
      .split("\n")
      .map((line) => JSON.parse(line));

  test("the socket is its group's, 0660", () => {
    const { mode, gid, uid } = statSync(engine.socket);
    expect([mode & 0o7777, uid, gid]).toEqual([0o660, 0, GID]);
  });

  test("a line for each call: who, what, how it ended; no secret", async () => {
    const secret = Buffer.from('{"username":"u","password":"hunter2"}').toString("base64url");
    const path = "/images/create?fromImage=127.0.0.1:1/none&tag=latest&token=hunter3";
    await (await engine.api("POST", path, undefined, { "X-Registry-Auth": secret })).text();
    await engine.api("GET", "/containers/nope%0a/json");
    await engine.ok("run", "--rm", "-e", "PASSWORD=hunter4", "busybox", "echo", "hello");
    const text = await until(log, (now) => now.includes("/inro/run"));
    expect(text).not.toMatch(/hunter|X-Registry|token/i);
    expect(text).not.toContain(secret);
    const all = entries(text);
    const own = { socket: engine.host, uid: 0, gid: 0 };
    expect(all.findLast(({ path }) => path.endsWith("/images/create"))).toMatchObject({
      ...own,
      pid: process.pid,
      method: "POST",
    });
    const missing = all.find(({ path }) => path === "/v1.51/containers/nope%0a/json");
    expect(missing).toMatchObject({ status: 404, pid: process.pid });
    expect(missing.bytes).toBeGreaterThan(10);
    const run = all.find(({ path }) => path === "/inro/run");
    expect(run).toMatchObject({ ...own, status: 101 });
    expect(run.pid).not.toBe(process.pid);
    expect(run.ms).toBeGreaterThan(0);
    expect(run.bytes).toBeGreaterThan("hello\n".length);
  });

  test("renamed, then SIGHUP: it goes on in a new file, and no line is lost", async () => {
    renameSync(log, `${log}.1`);
    await engine.api("GET", "/_ping?before");
    const made = new Promise<void>((resolve) => {
      const watcher = watch(dir, (_, name) => {
        if (name !== "access.log" || !existsSync(log)) return;
        watcher.close();
        resolve();
      });
    });
    process.kill(engine.pid, "SIGHUP");
    await made;
    await engine.api("GET", "/version");
    expect(entries(await until(log, (text) => text !== "")).map(({ path }) => path)).toContain("/v1.51/version");
    expect(readFileSync(`${log}.1`, "utf8")).toContain("/v1.51/_ping");
  });

  test("a body that comes in parts after the header of an upgrade is put together", async () => {
    const id = await engine.ok("run", "-d", "busybox", "sleep", "1000");
    const created = await engine.api("POST", `/containers/${id}/exec`, {
      AttachStdin: true,
      AttachStdout: true,
      Cmd: ["cat"],
    });
    const { Id } = (await created.json()) as { Id: string };
    const body = '{"Detach":false,"Tty":false}';
    const head = `POST /v1.51/exec/${Id}/start HTTP/1.1\r\nHost: x\r\nContent-Type: application/json\r\nConnection: Upgrade\r\nUpgrade: tcp\r\nContent-Length: ${body.length}\r\n\r\n`;
    const socket = connect({ path: engine.socket, allowHalfOpen: true });
    let answer = "";
    socket.on("data", (data) => {
      answer += data.toString("latin1");
    });
    const flushed = (text: string) => new Promise<void>((resolve) => socket.write(text, () => setImmediate(resolve)));
    await flushed(head + body.slice(0, 5));
    await flushed(body.slice(5, 9));
    await flushed(`${body.slice(9)}input`);
    socket.end(" more");
    await new Promise((resolve) => socket.once("end", resolve));
    socket.destroy();
    expect(answer).toStartWith("HTTP/1.1 101");
    const stdout = answer.slice(answer.indexOf("\r\n\r\n") + 4).replaceAll(/\x01\0{6}[\s\S]/g, "");
    expect(stdout).toBe("input more");
    await engine.ok("rm", "-f", id);
  });
});

const whyNot = why || (OPENSSL ? "" : "no openssl");
describe.skipIf(whyNot !== "")(`TCP with certificates${whyNot && ` (${whyNot})`}`, () => {
  const dir = temporary();
  const log = join(dir, "access.log");
  let engine: TestEngine;
  let port: number;
  beforeAll(async () => {
    authority(dir);
    const own = certificate(dir, "engine");
    certificate(dir, "client-7");
    mkdirSync(join(dir, "others"));
    authority(join(dir, "others"));
    certificate(join(dir, "others"), "stranger");
    chmodSync(own.key, 0o600);
    const tls = ["--tlscacert", join(dir, "ca.pem"), "--tlscert", own.cert, "--tlskey", own.key];
    engine = await new TestEngine(["--host", "tcp://127.0.0.1:0", ...tls, "--access-log", log]).start();
    port = Number(
      /tcp:\/\/127\.0\.0\.1:(\d+)/.exec(await until(join(engine.dir, "log"), (now) => now.includes("serves")))![1],
    );
    await engine.busybox();
  });
  afterAll(async () => {
    await engine?.stop();
    rmSync(dir, { recursive: true });
  });

  /** One request; the answer's text, or "" when the connection is refused. */
  function ask(files: { ca: string; cert?: string; key?: string }, request: string): Promise<string> {
    const read = (path?: string) => (path ? readFileSync(join(dir, path)) : undefined);
    const options = { host: "127.0.0.1", port, ca: read(files.ca), cert: read(files.cert), key: read(files.key) };
    const socket = tlsConnect(options as Parameters<typeof tlsConnect>[0]);
    let text = "";
    socket.on("data", (data) => {
      text += data.toString();
    });
    socket.on("error", () => {});
    socket.write(request);
    return new Promise((resolve) => socket.once("close", () => resolve(text)));
  }
  const ping = "GET /_ping HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n";

  test("only who has a certificate of the authority gets an answer", async () => {
    const good = { ca: "ca.pem", cert: "client-7.pem", key: "client-7-key.pem" };
    expect(await ask(good, ping)).toStartWith("HTTP/1.1 200");
    expect(await ask({ ca: "ca.pem" }, ping)).toBe("");
    const stranger = { ca: "ca.pem", cert: "others/stranger.pem", key: "others/stranger-key.pem" };
    expect(await ask(stranger, ping)).toBe("");
    const plain = connect({ host: "127.0.0.1", port });
    let text = "";
    plain.on("data", (data) => {
      text += data.toString("latin1");
    });
    plain.on("error", () => {});
    plain.write(ping);
    await new Promise((resolve) => plain.once("close", resolve));
    expect(text).not.toContain("HTTP/1.1 200");
    expect(await until(log, (now) => now.includes("_ping"))).toMatch(
      / cn="client-7" from=127\.0\.0\.1 "GET \/_ping" 200 /,
    );
  });

  test.skipIf(!DOCKER)(
    `the docker command: an attached run, its input closed half-way${DOCKER ? "" : " (no docker)"}`,
    async () => {
      const tls = ["--tlsverify", "--tlscacert", "ca.pem", "--tlscert", "client-7.pem", "--tlskey", "client-7-key.pem"];
      const words = ["run", "--rm", "-i", "--network", "none", "busybox", "wc", "-c"];
      const child = Bun.spawn([DOCKER!, "-H", `tcp://127.0.0.1:${port}`, ...tls, ...words], {
        cwd: dir,
        env: { PATH: process.env.PATH ?? "", HOME: dir },
        stdin: Buffer.alloc(300_000, "x"),
        stdout: "pipe",
        stderr: "pipe",
      });
      const [stdout, stderr] = await Promise.all([
        new Response(child.stdout).text(),
        new Response(child.stderr).text(),
      ]);
      expect([stdout, stderr, await child.exited]).toEqual(["300000\n", "", 0]);
    },
  );
});

// As systemd does it: the socket is descriptor 3 of a process whose pid is LISTEN_PID.
const ACTIVATE = `
import os, socket, sys
s = socket.socket(socket.AF_UNIX if sys.argv[1][0] == "/" else socket.AF_INET)
s.bind(sys.argv[1] if sys.argv[1][0] == "/" else ("127.0.0.1", 0)); s.listen(16)
os.dup2(s.fileno(), 3); os.set_inheritable(3, True)
os.environ.update(LISTEN_PID=str(os.getpid()), LISTEN_FDS="1")
os.execv(sys.argv[2], sys.argv[2:])
`;
const PYTHON = existsSync("/usr/bin/python3") ? "/usr/bin/python3" : undefined;
const noActivation = why || (PYTHON ? "" : "no python3");
describe.skipIf(noActivation !== "")(`a socket of systemd's${noActivation && ` (${noActivation})`}`, () => {
  test("is served, and a TCP one is not", async () => {
    const dir = temporary();
    const path = join(dir, "activated.sock");
    const serve = ["serve", "--host", "fd://", "--data-root", join(dir, "data"), "--exec-root", join(dir, "exec")];
    const start = (what: string, env: Record<string, string>) =>
      Bun.spawn([PYTHON!, "-c", ACTIVATE, what, ...command, ...serve], {
        env: { ...(process.env as Record<string, string>), ...env },
        stdio: ["ignore", "ignore", "pipe", "ignore", "pipe"],
      });
    const tcp = start("tcp", {});
    expect(await new Response(tcp.stderr as ReadableStream).text()).toContain("descriptor 3 is no unix socket");
    expect(await tcp.exited).not.toBe(0);

    const engine = start(path, { INRO_READY_FD: "4" });
    expect(await new Response(Bun.file(engine.stdio[4] as number).stream()).text()).toContain("ready");
    const answer = await fetch("http://inro/_ping", { unix: path });
    expect([answer.status, await answer.text()]).toEqual([200, "OK"]);
    engine.kill("SIGTERM");
    expect(await engine.exited).toBe(0);
    rmSync(dir, { recursive: true });
  });
});
