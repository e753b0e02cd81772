import { spawn } from "node:child_process";
import { InroError } from "../base/errors.ts";
import { type Connection, Inbox } from "./connection.ts";
import type { Endpoint } from "./endpoint.ts";

const CONNECT_SECONDS = 30;
const LONGEST_STDERR = 4096;

/** What the other machine's shell is to run: an inro there, else a docker, that joins us with its engine. */
function remoteCommand(path: string | undefined): string {
  const host = path === undefined ? "" : ` --host=unix://${path}`;
  const dial = (program: string) => `exec ${program}${host} system dial-stdio`;
  return `sh -c 'if command -v inro >/dev/null 2>&1; then ${dial("inro")}; else ${dial("docker")}; fi'`;
}

/**
 * A connection by ssh(1), which asks the user what it must on the terminal. Its end before the first answer is an
 * InroError `unavailable` with its last words.
 */
export async function connectSsh(endpoint: Endpoint & { kind: "ssh" }): Promise<Connection> {
  const { host, user, port, path, url } = endpoint;
  const options = [
    ...["-o", `ConnectTimeout=${CONNECT_SECONDS}`, "-T"],
    ...(user === undefined ? [] : ["-l", user]),
    ...(port === undefined ? [] : ["-p", String(port)]),
  ];
  const child = spawn("ssh", [...options, "--", host, remoteCommand(path)], { stdio: ["pipe", "pipe", "pipe"] });
  let words = "";
  let answered = false;
  let failed: Error | undefined;
  const inbox = new Inbox(
    () => child.stdout.pause(),
    () => child.stdout.resume(),
  );
  child.stderr.on("data", (data: Buffer) => {
    if (words.length < LONGEST_STDERR) words += data.toString();
  });
  child.stdout.on("data", (chunk: Uint8Array) => {
    answered = true;
    inbox.push(chunk);
  });
  child.stdin.on("error", () => {});
  child.on("error", (error) => {
    const { code } = error as NodeJS.ErrnoException;
    const why = code === "ENOENT" ? "ssh is not installed" : error.message;
    failed = new InroError("unavailable", `cannot connect to the engine at ${url}: ${why}`, { cause: error });
    inbox.finish(failed);
  });
  child.on("close", (status, signal) => {
    const why = words.trim().split("\n").at(-1) || `ssh ended with ${signal ?? `status ${status}`}`;
    if (!answered) failed ??= new InroError("unavailable", `cannot connect to the engine at ${url}: ${why}`);
    inbox.finish(failed);
  });
  return {
    read: () => inbox.read(),
    write: (data) =>
      new Promise((resolve, reject) => {
        if (failed) return reject(failed);
        // A broken pipe is told by the end of ssh, and better.
        child.stdin.write(data, () => resolve());
      }),
    end: () => void child.stdin.end(),
    close() {
      child.stdin.destroy();
      child.kill();
      inbox.finish();
    },
    get usable() {
      return child.stdin.writable && child.exitCode === null && !inbox.done;
    },
    keepAlive(on) {
      const streams = [child.stdout, child.stderr, child.stdin] as unknown as { ref?(): void; unref?(): void }[];
      for (const one of [child, ...streams]) {
        if (on) one.ref?.();
        else one.unref?.();
      }
    },
  };
}
