import { afterEach, beforeEach, describe, expect, test } from "bun:test";
import type { ServerResponse } from "node:http";
import type { Socket } from "node:net";
import { FakeEngine, frame, inro, readAll, type Seen, sendJson, spawnInro, UPGRADED } from "./testing.ts";

const ID = "c".repeat(64);
let engine: FakeEngine;

beforeEach(async () => {
  engine = await FakeEngine.start();
  engine.on("POST /containers/create", (_: Seen, response: ServerResponse) =>
    sendJson(response, 201, { Id: ID, Warnings: [] }),
  );
});
afterEach(() => engine.stop());

function asked(action: string): URLSearchParams {
  return engine.seen.find(({ path }) => path.endsWith(`/${action}`))!.query;
}

/** A container that runs `process` once it is started; its wait then answers with what that gives. */
function script(process: (socket: Socket) => Promise<number>): void {
  let socket: Socket;
  let wait: ServerResponse | undefined;
  engine.onHijack("POST /containers/*/attach", (_, attached) => {
    socket = attached;
    socket.write(UPGRADED);
  });
  engine.on("POST /containers/*/wait", (_: Seen, response: ServerResponse) => {
    wait = response;
    response.writeHead(200, { "Content-Type": "application/json" });
    response.flushHeaders();
  });
  engine.on("POST /containers/*/start", async (_: Seen, response: ServerResponse) => {
    response.writeHead(204).end();
    const status = await process(socket);
    socket?.end();
    wait?.end(JSON.stringify({ StatusCode: status, Error: null }));
  });
}

describe("run", () => {
  test("attaches and waits before it starts, splits the streams, gives the status", async () => {
    script(async (socket) => {
      // Frames cut in the middle of a header and of a payload.
      const bytes = Buffer.concat([frame(1, "out\n"), frame(2, "err\n"), frame(1, "more\n")]);
      for (const byte of bytes) await new Promise((done) => socket.write(Buffer.of(byte), done));
      return 7;
    });
    const result = await inro(["run", "--rm", "host", "sh"], engine.url);
    expect(result).toEqual({ status: 7, stdout: "out\nmore\n", stderr: "err\n" });
    expect(engine.calls.slice(1, 3).toSorted()).toEqual([
      `POST /containers/${ID}/attach`,
      `POST /containers/${ID}/wait`,
    ]);
    expect([engine.calls[0], engine.calls[3]]).toEqual(["POST /containers/create", `POST /containers/${ID}/start`]);
    expect(asked("attach").toString()).toBe("stream=1&stdin=0&stdout=1&stderr=1");
    expect(asked("wait").get("condition")).toBe("removed");
  });

  test("half-closes at the end of stdin and still reads the output", async () => {
    script(async (socket) => {
      socket.write(frame(1, (await readAll(socket)).toUpperCase()));
      return 0;
    });
    const result = await inro(["run", "-i", "host", "cat"], engine.url, { stdin: new Blob(["hello ", "there"]) });
    expect(result).toEqual({ status: 0, stdout: "HELLO THERE", stderr: "" });
    expect(asked("wait").get("condition")).toBe("next-exit");
  });

  test("loses nothing of a large output", async () => {
    const block = Buffer.alloc(1 << 20, "x");
    script(async (socket) => {
      for (let i = 0; i < 32; i++) {
        if (!socket.write(frame(1, block))) await new Promise((done) => socket.once("drain", done));
      }
      return 0;
    });
    const child = spawnInro(["run", "host", "yes"], engine.url);
    let size = 0;
    for await (const chunk of child.stdout as unknown as AsyncIterable<Uint8Array>) size += chunk.length;
    expect(await child.exited).toBe(0);
    expect(size).toBe(32 << 20);
  });

  test("ends quietly when the reader of its output goes away", async () => {
    script(async (socket) => {
      const gone = new Promise((done) => socket.once("close", done));
      const block = frame(1, Buffer.alloc(1 << 16, "y"));
      let open = true;
      void gone.then(() => {
        open = false;
      });
      socket.on("error", () => {});
      while (open) {
        if (!socket.write(block)) await Promise.race([gone, new Promise((done) => socket.once("drain", done))]);
      }
      return 0;
    });
    const child = spawnInro(["run", "host", "yes"], engine.url);
    const reader = child.stdout.getReader();
    await reader.read();
    await reader.cancel();
    expect(await new Response(child.stderr).text()).toBe("");
    expect(await child.exited).toBe(141);
  });

  test("passes signals on and gives the process's status", async () => {
    let killed: (signal: string) => void = () => {};
    const signal = new Promise<string>((done) => {
      killed = done;
    });
    engine.on("POST /containers/*/kill", ({ query }: Seen, response: ServerResponse) => {
      response.writeHead(204).end();
      killed(query.get("signal") ?? "");
    });
    script(async (socket) => {
      socket.write(frame(1, "ready\n"));
      return (await signal) === "SIGTERM" ? 143 : 1;
    });
    const child = spawnInro(["run", "host", "sleep", "9"], engine.url);
    await child.stdout.getReader().read();
    child.kill("SIGTERM");
    expect(await child.exited).toBe(143);
  });

  test.each([
    [400, 'exec: "nope": executable file not found in $PATH', 127],
    [400, 'exec: "/etc": is a directory', 126],
    [400, 'exec: "/etc/passwd": permission denied', 126],
    [500, "no space left", 125],
  ])("a start that fails with %d %p exits with %d", async (status, message, expected) => {
    script(async () => 0);
    engine.on("POST /containers/*/start", (_: Seen, response: ServerResponse) =>
      sendJson(response, status, { message }),
    );
    const result = await inro(["run", "host", "nope"], engine.url);
    expect(result.status).toBe(expected);
    expect(result.stderr).toStartWith(`inro: Error response from daemon: ${message}\n`);
  });

  test("takes 126 from the recorded state when the text does not tell", async () => {
    script(async () => 0);
    engine.on("POST /containers/*/start", (_: Seen, response: ServerResponse) =>
      sendJson(response, 400, { message: "execve /x: something else" }),
    );
    engine.on("GET /containers/*/json", { State: { ExitCode: 126 } });
    expect((await inro(["run", "host", "x"], engine.url)).status).toBe(126);
  });

  test("pulls a missing image once, with progress on stderr", async () => {
    let asked = 0;
    script(async () => 0);
    engine.on("POST /containers/create", (_: Seen, response: ServerResponse) =>
      asked++ === 0
        ? sendJson(response, 404, { message: "No such image: alpine:latest" })
        : sendJson(response, 201, { Id: ID, Warnings: ["slow"] }),
    );
    engine.on("POST /images/create", (_: Seen, response: ServerResponse) => {
      response.write(
        '{"status":"Pulling from library/alpine","id":"latest"}\r\n{"status":"Pulling fs layer","id":"ab"}',
      );
      response.end('{"status":"Pulling fs layer","id":"ab"}{"status":"Pull complete","id":"ab"}\n');
    });
    const result = await inro(["run", "alpine"], engine.url);
    expect(result.status).toBe(0);
    expect(result.stderr).toBe(
      "Unable to find image 'alpine:latest' locally\nlatest: Pulling from library/alpine\nab: Pulling fs layer\nab: Pull complete\nWARNING: slow\n",
    );
    const pull = engine.seen.find(({ path }) => path === "/images/create")!;
    expect(pull.query.toString()).toBe("fromImage=alpine&tag=latest");
  });

  test("--pull never leaves it missing, --pull always pulls first", async () => {
    engine.on("POST /containers/create", (_: Seen, response: ServerResponse) =>
      sendJson(response, 404, { message: "No such image: a:latest" }),
    );
    const never = await inro(["run", "--pull", "never", "a"], engine.url);
    expect(never.status).toBe(125);
    expect(never.stderr).toStartWith("inro: Error response from daemon: No such image: a:latest\n");
    engine.on("POST /images/create", (_: Seen, response: ServerResponse) => {
      response.end('{"errorDetail":{"message":"no route"},"error":"no route"}');
    });
    const always = await inro(["run", "--pull", "always", "a"], engine.url);
    expect(always.stderr).toContain("no route");
    expect(engine.calls).toEqual(["POST /containers/create", "POST /images/create"]);
  });

  test("-d prints the id; --cidfile gets it and must not exist", async () => {
    script(async () => 0);
    const file = `${engine.directory}/cid`;
    const detached = await inro(["run", "-d", "--cidfile", file, "host"], engine.url);
    expect(detached).toEqual({ status: 0, stdout: `${ID}\n`, stderr: "" });
    expect(await Bun.file(file).text()).toBe(ID);
    const again = await inro(["run", "-d", "--cidfile", file, "host"], engine.url);
    expect(again.status).toBe(125);
    expect(engine.calls.filter((call) => call === "POST /containers/create")).toHaveLength(1);
  });

  test("-t needs a terminal on stdin", async () => {
    const result = await inro(["run", "-it", "host"], engine.url);
    expect(result).toEqual({ status: 1, stdout: "", stderr: "the input device is not a TTY\n" });
    expect(engine.calls).toEqual([]);
  });

  test("an engine that is not there is 125", async () => {
    const result = await inro(["run", "host"], `unix://${engine.directory}/none.sock`);
    expect(result.status).toBe(125);
    expect(result.stderr).toStartWith(
      `inro: cannot connect to the inro engine at unix://${engine.directory}/none.sock`,
    );
  });
});

describe("run in one request", () => {
  const message = (stream: number, value: unknown) => frame(stream, JSON.stringify(value));
  const created = message(4, { Id: ID, Warnings: ["slow"] });

  test("output of both streams, warnings, the status; nothing else is asked", async () => {
    engine.onHijack("POST /inro/run", async ({ query, body }, socket) => {
      socket.write(UPGRADED);
      const asked = `${query} ${JSON.parse(body).Image} ${await readAll(socket)}`;
      const bytes = Buffer.concat([created, frame(1, asked), frame(2, "err\n"), message(6, { StatusCode: 9 })]);
      for (const byte of bytes) await new Promise((done) => socket.write(Buffer.of(byte), done));
      // The status is enough: the client does not wait for the connection's end.
    });
    const result = await inro(["run", "-i", "--name", "n", "host", "cat"], engine.url, { stdin: new Blob(["typed"]) });
    expect(result).toEqual({ status: 9, stdout: "name=n host typed", stderr: "WARNING: slow\nerr\n" });
    expect(engine.calls).toEqual(["POST /inro/run"]);
  });

  test.each([125, 126, 127])("a failed start is %d", async (exitCode) => {
    engine.onHijack("POST /inro/run", (_, socket) => {
      socket.end(Buffer.concat([Buffer.from(UPGRADED), created, message(5, { message: "no way", exitCode })]));
    });
    const result = await inro(["run", "host"], engine.url);
    expect(result.status).toBe(exitCode);
    expect(result.stderr).toStartWith("WARNING: slow\ninro: Error response from daemon: no way\n");
  });

  test("an end without a status is a failure", async () => {
    engine.onHijack("POST /inro/run", (_, socket) => void socket.end(Buffer.concat([Buffer.from(UPGRADED), created])));
    const result = await inro(["run", "host"], engine.url);
    expect(result.status).toBe(125);
    expect(result.stderr).toContain("inro: the connection to the engine broke off before the container's end\n");
  });

  test("a missing image is pulled, then it is asked again", async () => {
    let asked = 0;
    const refusal = JSON.stringify({ message: "No such image: alpine:latest" });
    engine.onHijack("POST /inro/run", (_, socket) => {
      if (asked++ > 0) socket.end(Buffer.concat([Buffer.from(UPGRADED), created, message(6, { StatusCode: 0 })]));
      else
        socket.end(
          `HTTP/1.1 404 404\r\nServer: inro/0.1.0 (linux)\r\nContent-Length: ${refusal.length}\r\n\r\n${refusal}`,
        );
    });
    engine.on("POST /images/create", (_: Seen, response: ServerResponse) => void response.end("{}"));
    expect((await inro(["run", "-q", "alpine"], engine.url)).status).toBe(0);
    expect(engine.calls).toEqual(["POST /inro/run", "POST /images/create", "POST /inro/run"]);
  });

  test("a signal before the container is known reaches it", async () => {
    let killed: (signal: string) => void = () => {};
    const signal = new Promise<string>((done) => {
      killed = done;
    });
    engine.on("POST /containers/*/kill", ({ query }: Seen, response: ServerResponse) => {
      response.writeHead(204).end();
      killed(query.get("signal") ?? "");
    });
    const child = Promise.withResolvers<ReturnType<typeof spawnInro>>();
    engine.onHijack("POST /inro/run", async (_, socket) => {
      // Output shows that the client listens for signals; a real engine names the container before it.
      socket.write(Buffer.concat([Buffer.from(UPGRADED), frame(1, "ready\n")]));
      const process = await child.promise;
      await process.stdout.getReader().read();
      process.kill("SIGTERM");
      socket.write(created);
      socket.end(message(6, { StatusCode: (await signal) === "SIGTERM" ? 143 : 1 }));
    });
    child.resolve(spawnInro(["run", "host", "sleep", "9"], engine.url));
    expect(await (await child.promise).exited).toBe(143);
  });
});

describe("exec", () => {
  test("carries the streams and takes the status from inspect", async () => {
    engine.on("POST /containers/*/exec", (_: Seen, response: ServerResponse) => sendJson(response, 201, { Id: "e1" }));
    engine.onHijack("POST /exec/e1/start", async (_, socket) => {
      socket.write(UPGRADED);
      socket.end(Buffer.concat([frame(1, await readAll(socket)), frame(2, "!")]));
    });
    engine.on("GET /exec/e1/json", { ExitCode: 3, Running: false });
    const result = await inro(["exec", "-i", "-e", "A=1", "-w", "/x", "web", "cat", "-n"], engine.url, {
      stdin: new Blob(["in"]),
    });
    expect(result).toEqual({ status: 3, stdout: "in", stderr: "!" });
    expect(JSON.parse(engine.seen[0]!.body)).toEqual({
      Cmd: ["cat", "-n"],
      Tty: false,
      AttachStdin: true,
      AttachStdout: true,
      AttachStderr: true,
      Env: ["A=1"],
      WorkingDir: "/x",
    });
    expect(JSON.parse(engine.seen[1]!.body)).toEqual({ Detach: false, Tty: false });
  });

  test("says what the engine says", async () => {
    const result = await inro(["exec", "web", "true"], engine.url);
    expect(result.status).toBe(1);
    expect(result.stderr).toStartWith("Error response from daemon: ");
  });
});

describe("logs", () => {
  test("splits the streams of a container without tty", async () => {
    engine.on("GET /containers/web/json", { Config: { Tty: false } });
    engine.on("GET /containers/web/logs", (_: Seen, response: ServerResponse) => {
      response.write(frame(1, "a\n").subarray(0, 5));
      response.end(Buffer.concat([frame(1, "a\n").subarray(5), frame(2, "b\n")]));
    });
    const result = await inro(["logs", "-f", "--tail", "5", "-t", "--since", "12.5", "web"], engine.url);
    expect(result).toEqual({ status: 0, stdout: "a\n", stderr: "b\n" });
    expect(engine.seen[1]!.query.toString()).toBe(
      "follow=1&stdout=1&stderr=1&since=12.5&timestamps=1&details=0&tail=5",
    );
  });
});

describe("rm", () => {
  test("goes on after a failure; a missing container is none with -f", async () => {
    engine.on("DELETE /containers/a", (_: Seen, response: ServerResponse) => void response.writeHead(204).end());
    engine.on("DELETE /containers/b", (_: Seen, response: ServerResponse) =>
      sendJson(response, 404, { message: "No such container: b" }),
    );
    const plain = await inro(["rm", "b", "a"], engine.url);
    expect(plain).toEqual({ status: 1, stdout: "a\n", stderr: "Error response from daemon: No such container: b\n" });
    expect((await inro(["rm", "-f", "b"], engine.url)).status).toBe(0);
  });
});
