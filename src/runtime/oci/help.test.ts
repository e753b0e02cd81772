import { expect, test } from "bun:test";
import { COMMANDS } from "./commands.ts";
import { commandHelp, describeFlag, generalHelp, isDescribed } from "./help.ts";

test.each(Object.keys(COMMANDS))("help of %s: every flag, and an example", (name) => {
  expect(isDescribed(name)).toBe(true);
  for (const key in COMMANDS[name]!.flags) {
    const flag = key.split(",")[0]!;
    expect([flag, describeFlag(name, flag)?.[1]]).toEqual([flag, expect.stringMatching(/./)]);
    const takes = describeFlag(name, flag)![0] !== "";
    expect([flag, takes]).toEqual([flag, COMMANDS[name]!.flags[key] !== "bool"]);
  }
  expect(generalHelp()).toContain(`\n  ${name} `);
  for (const line of commandHelp(name).split("\n")) expect(line.length).toBeLessThanOrEqual(130);
});

test("help of exec", () => {
  const text = commandHelp("exec");
  expect(text).toContain("usage: inro-runtime exec [--process FILE]");
  expect(text).toContain("  -u, --user UID[:GID] ");
  expect(text).toContain("examples:\n  inro-runtime exec web ps ax\n");
});
