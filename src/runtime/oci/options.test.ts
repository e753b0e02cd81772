import { describe, expect, test } from "bun:test";
import { parseSignal } from "./kill.ts";
import { type Flags, parseFlags } from "./options.ts";

const flags: Flags = { "bundle,b": "text", "detach,d": "bool", "env,e": "list", "preserve-fds": "count" };

describe("flags", () => {
  test("every way to write one", () => {
    for (const argv of [["--bundle", "/b"], ["--bundle=/b"], ["-bundle", "/b"], ["-b", "/b"], ["-b=/b"]]) {
      const parsed = parseFlags([...argv, "-d", "id", "-e", "A=1", "-e=B=2"], flags, false);
      expect(parsed.texts.get("bundle")).toBe("/b");
      expect(parsed.bools).toEqual(new Set(["detach"]));
      expect(parsed.lists.get("env")).toEqual(["A=1", "B=2"]);
      expect(parsed.rest).toEqual(["id"]);
    }
  });

  test("another program's flags are its own", () => {
    expect(parseFlags(["-d", "id", "ls", "-b", "--x"], flags, true).rest).toEqual(["id", "ls", "-b", "--x"]);
    expect(parseFlags(["--", "-d"], flags, false).rest).toEqual(["-d"]);
  });

  test.each([
    [["--bundel", "x"], "flag provided but not defined: -bundel (did you mean bundle?)"],
    [["--bundle"], "flag needs an argument: --bundle"],
    [["--detach=maybe"], '--detach: "maybe" is not true or false'],
    [["--preserve-fds", "many"], '--preserve-fds: "many" is no number'],
  ])("%p is an error", (argv, message) => {
    expect(() => parseFlags(argv, flags, false)).toThrow(message);
  });
});

test("signals by name and number", () => {
  expect(["KILL", "SIGKILL", "sigkill", "9"].map(parseSignal)).toEqual([9, 9, 9, 9]);
  expect(["SIGRTMIN+3", "RTMAX", "0"].map(parseSignal)).toEqual([37, 64, 0]);
  for (const wrong of ["NOPE", "65", "-1", ""]) expect(() => parseSignal(wrong)).toThrow("unknown signal");
});
