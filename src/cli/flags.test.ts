import { describe, expect, test } from "bun:test";
import fc from "fast-check";
import { type Flag, parseFlags } from "./flags.ts";

const flags: Flag[] = [
  { name: "all", short: "a", type: "bool", help: "" },
  { name: "tty", short: "t", type: "bool", help: "" },
  { name: "name", short: "n", type: "string", help: "" },
  { name: "count", short: "c", type: "int", help: "", aliases: ["number"] },
  { name: "env", short: "e", type: "list", help: "" },
];
const parse = (line: string, interspersed = true) => {
  const { options, args, help } = parseFlags(flags, line === "" ? [] : line.split(" "), interspersed);
  return { ...Object.fromEntries(options.values), args, help };
};

describe("options", () => {
  test.each([
    ["", { args: [] }],
    ["--all x --name=y z", { all: true, name: "y", args: ["x", "z"] }],
    ["-at", { all: true, tty: true }],
    ["-an y", { all: true, name: "y" }],
    ["-any", { all: true, name: "y" }],
    ["-n=y", { name: "y" }],
    ["-a=false", { all: false }],
    ["--all=0 --tty=T", { all: false, tty: true }],
    ["--number 0x10", { count: 16 }],
    ["-c -7", { count: -7 }],
    ["-e a=1 -e b -e=c", { env: ["a=1", "b", "c"] }],
    ["--name --all", { name: "--all" }],
    ["--name= x", { name: "", args: ["x"] }],
    ["-a -- -t", { all: true, args: ["-t"] }],
    ["- -a", { all: true, args: ["-"] }],
    ["--help", { help: true }],
  ])("%p", (line, expected) => {
    expect(parse(line)).toMatchObject(expected);
  });

  test("the first argument ends them where a command follows", () => {
    expect<object>(parse("-a image sh -t -- x", false)).toEqual({
      all: true,
      args: ["image", "sh", "-t", "--", "x"],
      help: false,
    });
  });

  test.each([
    ["--nope", "unknown flag: --nope"],
    ["-az", "unknown shorthand flag: 'z' in -z"],
    ["--name", "flag needs an argument: --name"],
    ["-an", "flag needs an argument: 'n' in -n"],
    [
      "--all=maybe",
      'invalid argument "maybe" for "-a, --all" flag: strconv.ParseBool: parsing "maybe": invalid syntax',
    ],
    ["--count 1.5", 'strconv.ParseInt: parsing "1.5": invalid syntax'],
    ["--count 99999999999999999999", "value out of range"],
    ["--=x", "bad flag syntax: --=x"],
  ])("%p is refused", (line, message) => {
    expect(() => parse(line)).toThrow(message);
  });

  test("every value comes back as it was given, in every spelling", () => {
    fc.assert(
      fc.property(fc.array(fc.string()), fc.array(fc.string()), (values, rest) => {
        const words = values.flatMap(
          (value, i) => [["--env", value], [`--env=${value}`], ["-e", value], [`-e=${value}`]][i % 4]!,
        );
        const { options, args } = parseFlags(flags, [...words, "--", ...rest]);
        expect(options.list("env")).toEqual(values);
        expect(args).toEqual(rest);
      }),
    );
  });
});
