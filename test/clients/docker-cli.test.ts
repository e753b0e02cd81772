import { afterAll, beforeAll, describe, expect, test } from "bun:test";
import { mkdtempSync, rmSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { command, engineForTests, hasBusybox, isRoot, type TestEngine } from "../harness.ts";
import { docker, dockerVersion } from "./docker.ts";
import { STEPS, type Step, type Word } from "./steps.ts";

const why = !isRoot
  ? "needs root"
  : !hasBusybox
    ? "no busybox-static"
    : !docker
      ? "no docker command"
      : dockerVersion < 28
        ? "docker is older than 28"
        : "";

interface Said {
  code: number;
  out: string;
  err: string;
}

/** A command line and the engine that it drives, with a directory of its own for the files that the steps name. */
class Client {
  readonly directory = mkdtempSync(join(tmpdir(), "inro-steps-"));
  constructor(
    private readonly argv: readonly string[],
    private readonly engine: TestEngine,
  ) {
    writeFileSync(join(this.directory, "env"), "# comment\nFROM_FILE=yes\n");
    writeFileSync(join(this.directory, "data"), "data\n");
  }

  async run(words: readonly Word[], stdin?: string): Promise<Said> {
    const child = Bun.spawn([...this.argv, ...words.map((word) => word.replaceAll("$D", this.directory))], {
      env: {
        ...process.env,
        DOCKER_HOST: this.engine.host,
        INRO_HOST: this.engine.host,
        DOCKER_CONFIG: this.directory,
        DOCKER_CONTEXT: "",
        GIVEN: "given",
      },
      stdin: stdin === undefined ? "ignore" : Buffer.from(stdin),
      stdout: "pipe",
      stderr: "pipe",
    });
    const [out, err, code] = await Promise.all([
      new Response(child.stdout).text(),
      new Response(child.stderr).text(),
      child.exited,
    ]);
    return { code, out, err };
  }

  /** All steps in order; a step that waits for something is repeated until it is there. */
  async play(steps: readonly Step[]): Promise<Said[]> {
    const said: Said[] = [];
    for (const { words, stdin, until } of steps) {
      let one = await this.run(words, stdin);
      while (until && !until.test(one.out)) one = await this.run(words, stdin);
      said.push(one);
    }
    return said;
  }

  close(): void {
    rmSync(this.directory, { recursive: true, force: true });
  }
}

/** Ids, times and the directory are each client's own. */
function comparable(text: string, directory: string): string {
  return text
    .replaceAll(directory, "$D")
    .replace(/\b(sha256:)?[0-9a-f]{64}\b/g, "ID")
    .replace(/\b(?=\d*[a-f])[0-9a-f]{12}\b/g, "ID")
    .replace(/\d{4}-\d\d-\d\d[T ]\d\d:\d\d:\d\d(\.\d+)?(Z| [+-]\d{4} \w+)?/g, "TIME")
    .replace(/(Less than a second|\d+ seconds?|About a minute)( ago)?/g, "SPAN");
}

describe.skipIf(why !== "")(`docker's command line and ours, each with an engine${why && ` (${why})`}`, () => {
  const engines = why ? [] : [engineForTests(), engineForTests()];
  let clients: Client[] = [];
  let said: [Said[], Said[]];
  beforeAll(async () => {
    clients = [new Client([docker!], engines[0]!), new Client(command, engines[1]!)];
    said = (await Promise.all(clients.map((client) => client.play(STEPS)))) as [Said[], Said[]];
  });
  afterAll(() => {
    for (const client of clients) client.close();
  });

  STEPS.forEach(({ name, code, out, differs }, i) => {
    test(`${name}${differs ? `: ${differs}` : ""}`, () => {
      const [theirs, ours] = [said[0][i]!, said[1][i]!];
      expect({ code: theirs.code, said: `${theirs.out}${theirs.err}` }).toEqual({
        code,
        said: expect.any(String),
      });
      if (out) expect(theirs.out).toMatch(out);
      const [a, b] = [theirs, ours].map((one, n) => ({
        code: one.code,
        out: comparable(one.out, clients[n]!.directory),
      }));
      if (differs) expect(b).not.toEqual(a!);
      else expect(b).toEqual(a!);
    });
  });
});
