import { closeSync, existsSync, type FSWatcher, mkdirSync, openSync, readFileSync, statSync, watch } from "node:fs";
import { codeOf, InroError, unavailable } from "../base/errors.ts";
import { COMPILER_OPTIONS } from "./compiler-options.ts";
import { connect } from "./connection.ts";
import { defaultUrl, type Endpoint, runDirectory } from "./endpoint.ts";

const LIMIT_MS = 10_000;
/** Nobody asked for an engine that stays. */
const IDLE_TIMEOUT = "1m";
const GLANCE_MS = 300;

/**
 * Starts an engine for `endpoint` when nobody answers there. True once one accepts connections; false when the failure
 * has another cause than a missing engine (`error` then stands). Throws InroError `unavailable` with the last line of
 * the log when the engine does not come up within ten seconds.
 *
 * Nothing is locked here: commands that race each start an engine, the engines' own lock lets one of them serve and the
 * others leave, and everybody connects to the winner. The child says "ready" on descriptor 3 (INRO_READY_FD) as soon as
 * it listens, so nobody polls; only a loser of the race watches the socket's directory for the winner.
 */
export async function startEngine(endpoint: Endpoint, error: unknown, extraArguments: string[] = []): Promise<boolean> {
  if (!endpoint.default || endpoint.kind !== "unix") return false;
  const code = codeOf(error);
  if (code !== "ENOENT" && code !== "ECONNREFUSED") return false;

  const directory = socketDirectory(endpoint.path);
  const log = `${directory}/engine.log`;
  makeRunDirectory(directory);
  const logFd = openSync(log, "a", 0o600);
  // The usual socket needs no word, which a configuration file may have said.
  const host = endpoint.url === defaultUrl() ? [] : ["--host", endpoint.url];
  let child: Bun.Subprocess;
  try {
    child = Bun.spawn([...engineCommand(), "serve", ...host, "--idle-timeout", IDLE_TIMEOUT, ...extraArguments], {
      cwd: "/",
      env: engineEnvironment(process.env),
      // A session of its own: the terminal's ctrl-c and hang-up are for the command, not for the engine.
      detached: true,
      stdio: ["ignore", logFd, logFd, "pipe"],
    });
  } finally {
    closeSync(logFd);
  }
  const outcome = await Promise.race([
    readySignal(child.stdio[3] as number),
    child.exited.then(() => "exited" as const),
    later(LIMIT_MS).then(() => "late" as const),
  ]);
  child.unref();
  if (outcome === "ready") return true;
  const line = lastLine(log);
  // It may have lost the race against another engine, which then is about to listen. The engine's lock says so in its
  // last words; after any other ones a short look is enough.
  const lost = outcome === "exited" && /another engine|already|lock/i.test(line);
  if (await winnerListens(endpoint, directory, lost ? LIMIT_MS / 2 : GLANCE_MS)) return true;
  const what =
    outcome === "exited" ? `ended with status ${child.exitCode ?? child.signalCode}` : "is not ready after 10 s";
  throw unavailable(`start engine: it ${what}${line ? `: ${line}` : ""} (log: ${log})`);
}

/** How this very program is started again: the compiled binary, or the runtime with the program's first file. */
function engineCommand(): string[] {
  const main = process.argv[1];
  const compiled = main === undefined || main.startsWith("/$bunfs/") || !existsSync(main);
  return compiled ? [process.execPath] : [process.execPath, main];
}

// What an engine may depend on. Anything else of the first caller's environment must not live on in it.
const KEPT =
  /^(PATH|HOME|XDG_[A-Z_]+|TMPDIR|LANG|LC_[A-Z]+|TZ|(HTTPS?|NO|ALL)_PROXY|(https?|no|all)_proxy|SSL_CERT_(FILE|DIR)|INRO_[A-Z_]+)$/;
const DROPPED = new Set(["INRO_HOST", "INRO_READY_FD"]);

function engineEnvironment(env: Record<string, string | undefined>): Record<string, string> {
  const out: Record<string, string> = { INRO_READY_FD: "3", ...COMPILER_OPTIONS };
  for (const [key, value] of Object.entries(env)) {
    if (value !== undefined && KEPT.test(key) && !DROPPED.has(key)) out[key] = value;
  }
  out.PATH ??= "/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin";
  return out;
}

function socketDirectory(path: string): string {
  return path.slice(0, path.lastIndexOf("/")) || "/";
}

function makeRunDirectory(directory: string): void {
  mkdirSync(directory, { recursive: true, mode: 0o700 });
  const { uid } = statSync(directory);
  if (directory === runDirectory() && uid !== process.getuid!()) {
    throw new InroError("forbidden", `start engine: ${directory} belongs to user ${uid}`);
  }
}

/** "ready" when the child has said so; never resolves when it closes the descriptor without. */
function readySignal(fd: number): Promise<"ready"> {
  return new Promise((resolve) => {
    // The types know `fd` only for what listens.
    const options = {
      fd,
      socket: {
        data(socket: Bun.Socket) {
          resolve("ready");
          socket.end();
        },
        error() {},
      },
    };
    void Bun.connect(options as unknown as Bun.UnixSocketOptions);
  });
}

async function winnerListens(endpoint: Endpoint, directory: string, milliseconds: number): Promise<boolean> {
  const accepts = () =>
    connect(endpoint).then(
      (connection) => {
        connection.close();
        return true;
      },
      () => false,
    );
  let wake = () => {};
  let watcher: FSWatcher | undefined;
  try {
    watcher = watch(directory, () => wake());
    const deadline = performance.now() + milliseconds;
    while (!(await accepts())) {
      const left = deadline - performance.now();
      if (left <= 0) return false;
      // bind makes the file, listen follows without another event: hence the bound of 50 ms.
      await Promise.race([new Promise<void>((resolve) => (wake = resolve)), later(Math.min(left, 50))]);
    }
    return true;
  } finally {
    watcher?.close();
  }
}

function lastLine(path: string): string {
  try {
    return readFileSync(path, "utf8").trimEnd().split("\n").at(-1)!.slice(0, 500);
  } catch {
    return "";
  }
}

function later(milliseconds: number): Promise<void> {
  return new Promise((resolve) => {
    setTimeout(resolve, milliseconds).unref();
  });
}
