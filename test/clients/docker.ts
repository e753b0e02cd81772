import { mkdtempSync, rmSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { hasBusybox, isRoot } from "../harness.ts";

/** Docker's own command line, where there is one. */
export const docker = Bun.which("docker") ?? undefined;

const version = docker ? Bun.spawnSync([docker, "--version"]).stdout.toString() : "";

/** Its major version; 0 without one. */
export const dockerVersion = Number(/version (\d+)/.exec(version)?.[1] ?? 0);

/** Why it cannot be compared with ours here, with an engine; "" where it can. */
export const cannotCompare = !isRoot
  ? "needs root"
  : !hasBusybox
    ? "no busybox-static"
    : !docker
      ? "no docker command"
      : dockerVersion < 28
        ? "docker is older than 28"
        : "";

export interface Said {
  code: number;
  out: string;
  err: string;
}

/** A command line and the engine that it drives; `directory` is for the files that its arguments name, as `$D`. */
export class Client {
  readonly directory = mkdtempSync(join(tmpdir(), "inro-client-"));
  #closed = false;
  constructor(
    private readonly argv: readonly string[],
    private readonly engine: { readonly host: string },
  ) {
    writeFileSync(join(this.directory, "env"), "# comment\nFROM_FILE=yes\n");
    writeFileSync(join(this.directory, "data"), "data\n");
  }

  /** Runs it to its end; `stdin` is the whole input. */
  async run(words: readonly string[], stdin?: string): Promise<Said> {
    if (this.#closed) throw new Error("the client is closed");
    return await said(
      Bun.spawn(this.#words(words), {
        env: this.#env(),
        stdin: stdin === undefined ? "ignore" : Buffer.from(stdin),
        stdout: "pipe",
        stderr: "pipe",
      }),
    );
  }

  /** Its stdout without the end of line; a status other than 0 is an error. */
  async ok(...words: string[]): Promise<string> {
    const { code, out, err } = await this.run(words);
    if (code !== 0) throw new Error(`${words.join(" ")}: ${code}: ${err}${out}`);
    return out.trimEnd();
  }

  /** Starts it; the caller waits for its end with {@link said}. */
  start(...words: string[]) {
    return Bun.spawn(this.#words(words), { env: this.#env(), stdin: "pipe", stdout: "pipe", stderr: "pipe" });
  }

  /** Starts it on a terminal of its own, 33 rows and 91 columns. */
  onTerminal(...words: string[]): Session {
    return new Session(this.#words(words), this.#env());
  }

  /** Nothing is run any more. */
  close(): void {
    this.#closed = true;
    rmSync(this.directory, { recursive: true, force: true });
  }

  #words(words: readonly string[]): string[] {
    return [...this.argv, ...words.map((word) => word.replaceAll("$D", this.directory))];
  }

  #env(): Record<string, string | undefined> {
    const { host } = this.engine;
    return {
      ...process.env,
      DOCKER_HOST: host,
      INRO_HOST: host,
      DOCKER_CONFIG: this.directory,
      DOCKER_CONTEXT: "",
      GIVEN: "given",
    };
  }
}

/** What a started one has said, at its end. */
export async function said(child: Bun.Subprocess<never, "pipe", "pipe"> | ReturnType<Client["start"]>): Promise<Said> {
  const [out, err, code] = await Promise.all([
    new Response(child.stdout).text(),
    new Response(child.stderr).text(),
    child.exited,
  ]);
  return { code, out, err };
}

/** A program on a terminal, driven as somebody would who reads before typing. */
export class Session {
  #text = "";
  #wake = () => {};
  readonly #child: Bun.Subprocess;

  constructor(argv: string[], env: Record<string, string | undefined>) {
    this.#child = Bun.spawn(argv, {
      env,
      terminal: {
        cols: 91,
        rows: 33,
        data: (_, chunk) => {
          this.#text += new TextDecoder().decode(chunk);
          this.#wake();
        },
      },
    });
  }

  /**
   * Waits until `pattern` is on the terminal, after what was waited for before, and types `keys`. Gives what matched.
   */
  async after(pattern: RegExp, keys = ""): Promise<string> {
    for (;;) {
      const match = pattern.exec(this.#text);
      if (match) {
        this.#text = this.#text.slice(match.index + match[0].length);
        if (keys) this.#child.terminal!.write(keys);
        return match[0];
      }
      const over = await Promise.race([
        this.#child.exited.then(() => true),
        new Promise<false>((resolve) => {
          this.#wake = () => resolve(false);
        }),
      ]);
      if (over && !pattern.test(this.#text))
        throw new Error(`it ended without ${pattern}: ${JSON.stringify(this.#text)}`);
    }
  }

  resize(cols: number, rows: number): void {
    this.#child.terminal!.resize(cols, rows);
  }

  /** Its exit status. */
  async end(): Promise<number> {
    const code = await this.#child.exited;
    this.#child.terminal!.close();
    return code;
  }
}
