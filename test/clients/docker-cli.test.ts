import { afterAll, beforeAll, describe, expect, test } from "bun:test";
import { command, engineForTests } from "../harness.ts";
import { Client, cannotCompare, docker, type Said } from "./docker.ts";
import { STEPS, type Step } from "./steps.ts";

const why = cannotCompare;

/** All steps in order; a step that waits for something is repeated until it is there. */
async function play(client: Client, steps: readonly Step[]): Promise<Said[]> {
  const said: Said[] = [];
  for (const { words, stdin, until } of steps) {
    let one = await client.run(words, stdin);
    while (until && !until.test(one.out)) one = await client.run(words, stdin);
    said.push(one);
  }
  return said;
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
  const engines = why ? [] : [0, 1].map(() => engineForTests([], { networks: true }));
  let clients: Client[] = [];
  let said: [Said[], Said[]];
  beforeAll(async () => {
    clients = [new Client([docker!], engines[0]!), new Client(command, engines[1]!)];
    said = (await Promise.all(clients.map((client) => play(client, STEPS)))) as [Said[], Said[]];
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
