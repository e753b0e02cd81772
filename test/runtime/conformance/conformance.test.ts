import { afterAll, beforeAll, describe, expect, test } from "bun:test";
import { cannotRun } from "../bundle.ts";
import { CASES } from "./cases.ts";
import { Suite } from "./run.ts";
import { runtimeNamed } from "./runtimes.ts";

/** The cases as tests of one runtime: INRO_TEST_RUNTIME, by default this checkout's. */
const name = process.env.INRO_TEST_RUNTIME ?? "inro";
const named = runtimeNamed(name);
const no = cannotRun ?? (named ? undefined : `${name} is not installed`);

describe.skipIf(no !== undefined)(`conformance of ${name}${no ? ` (skipped: ${no})` : ""}`, () => {
  let suite: Suite;
  beforeAll(async () => {
    suite = await Suite.open(named!);
  });
  afterAll(() => suite.close());

  for (const one of CASES) {
    const why = one.missing ?? one.differs?.[named!.kind];
    if (why) test.skip(`${one.name} (${why})`, () => {});
    else test.concurrent(one.name, () => suite.check(one), 300_000);
  }
});

test("the cases have names of their own", () => {
  const names = CASES.map((one) => one.name);
  expect(names.filter((one, i) => names.indexOf(one) !== i)).toEqual([]);
});
