import { afterAll, beforeAll, describe, expect, test } from "bun:test";
import { command, engineForTests } from "../harness.ts";
import { Client, cannotCompare, docker, type Said } from "./docker.ts";
import { comparable, play, STEPS } from "./steps.ts";

const why = cannotCompare;

describe.skipIf(why !== "")(`docker's command line and ours, each with an engine${why && ` (${why})`}`, () => {
  const engines = why ? [] : [0, 1].map(() => engineForTests([], { networks: true }));
  let clients: Client[] = [];
  let said: Promise<Said>[][];
  beforeAll(() => {
    clients = [new Client([docker!], engines[0]!), new Client(command, engines[1]!)];
    said = clients.map((client) => play(client, STEPS));
  });
  afterAll(async () => {
    for (const client of clients) client.close();
    await Promise.allSettled(said.flat());
  });

  STEPS.forEach(({ name, code, out, differs }, i) => {
    test(`${name}${differs ? `: ${differs}` : ""}`, async () => {
      const [theirs, ours] = (await Promise.all(said.map((steps) => steps[i]!))) as [Said, Said];
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
