// biome-ignore-all lint/suspicious/noTemplateCurlyInString: words of Dockerfiles have the form
import { describe, expect, test } from "bun:test";
import fc from "fast-check";
import { InroError } from "../../base/errors.ts";
import { DockerfileError, SyntaxFault } from "./error.ts";
import { parseMount } from "./mounts.ts";
import { parseDockerfile, parseInstruction } from "./parse.ts";
import { heredocProgram } from "./run.ts";

const shell = (text: string) => ({ command: { form: "shell", text } });
const exec = (...args: string[]) => ({ command: { form: "exec", args } });
const pairs = (...list: [string, string][]) => ({ pairs: list.map(([name, value]) => ({ name, value })) });

/** An instruction, and what it must hold. */
const INSTRUCTIONS: readonly (readonly [string, object])[] = [
  ["RUN echo hi", { kind: "run", ...shell("echo hi"), network: "default", security: "sandbox", mounts: [] }],
  ["run echo hi", { kind: "run", ...shell("echo hi") }],
  ["  RUN\techo hi  ", shell("echo hi")],
  ['RUN ["a", "b c"]', exec("a", "b c")],
  ['RUN [ "a" ,"\\u0041" ]', exec("a", "A")],
  ["RUN ['a']", shell("['a']")],
  ["RUN [ -f x ] && y", shell("[ -f x ] && y")],
  ['RUN ["a" b]', shell('["a" b]')],
  ["RUN a \\\n b", shell("a  b")],
  ["RUN a \\ \t\n b", shell("a  b")],
  ["RUN a\\\nb", shell("ab")],
  ["RUN a\\\r\nb\r\n", shell("ab")],
  ["RUN a \\\n# no\n  # no\nb", shell("a b")],
  ["RUN a \\\n\n\nb", shell("a b")],
  ["RUN a \\", shell("a")],
  ["RUN a \\\\", shell("a \\\\")],
  ["RUN echo # no comment", shell("echo # no comment")],
  ["RUN echo '$v' \"x\"", shell("echo '$v' \"x\"")],
  ["RUN --network=none x", { network: "none", ...shell("x") }],
  ["RUN --network=host --security=insecure x", { network: "host", security: "insecure" }],
  ["RUN --mount=type=tmpfs,target=/t --mount=target=/u x", { mounts: ["type=tmpfs,target=/t", "target=/u"] }],
  ["RUN --mount=type=$T,target=/t x", { mounts: ["type=$T,target=/t"] }],
  ["RUN --device=vendor.com/gpu=0,required x", { devices: [{ name: "vendor.com/gpu=0", required: true }] }],
  ["RUN -- --flag", shell("--flag")],
  ["RUN x --flag", shell("x --flag")],
  ["RUN <<EOF\na\nb\nEOF", { ...shell("<<EOF"), heredocs: [{ name: "EOF", content: "a\nb\n", expand: true }] }],
  ["RUN <<EOF\nEOF", { heredocs: [{ content: "" }] }],
  ["RUN <<-EOF\n\ta\n\t\tb\n\tEOF", { heredocs: [{ content: "a\nb\n", chomp: true }] }],
  ["RUN <<'EOF'\n$a\nEOF", { heredocs: [{ name: "EOF", expand: false }] }],
  ['RUN <<"EOF"\n$a\nEOF', { heredocs: [{ name: "EOF", expand: false }] }],
  ['RUN <<E"O"F\nx\nEOF', { heredocs: [{ name: "EOF", expand: false }] }],
  [
    "RUN cat <<A 3<<B\na\nA\nb\nB",
    {
      heredocs: [
        { name: "A", fd: 0 },
        { name: "B", fd: 3, content: "b\n" },
      ],
    },
  ],
  ["RUN <<EOF cat\nx \\\n# y\nEOF", { heredocs: [{ content: "x \\\n# y\n" }] }],
  ["RUN echo '<<EOF'", { heredocs: [], ...shell("echo '<<EOF'") }],
  ["RUN cat <<<x", { heredocs: [] }],
  ["RUN x << 1", { heredocs: [] }],
  ['RUN ["<<EOF"]', { heredocs: [], ...exec("<<EOF") }],
  ["CMD a b", { kind: "cmd", ...shell("a b") }],
  ['CMD ["a"]', { kind: "cmd", ...exec("a") }],
  ["CMD []", exec()],
  ["CMD", shell("")],
  ["CMD <<EOF", shell("<<EOF")],
  ['ENTRYPOINT ["a", "b"]', { kind: "entrypoint", ...exec("a", "b") }],
  ["ENTRYPOINT a b", { kind: "entrypoint", ...shell("a b") }],
  ["ENV a=b", { kind: "env", ...pairs(["a", "b"]) }],
  ["ENV a=b c=d", pairs(["a", "b"], ["c", "d"])],
  ["ENV a=", pairs(["a", ""])],
  ["ENV a=b=c", pairs(["a", "b=c"])],
  ["ENV a=\"b c\" d=e\\ f g='h i'", pairs(["a", '"b c"'], ["d", "e\\ f"], ["g", "'h i'"])],
  ['ENV a="b\\" c"', pairs(["a", '"b\\" c"'])],
  ["ENV a b c", pairs(["a", "b c"])],
  ["ENV a b=c", pairs(["a", "b=c"])],
  ["ENV a  'b' ", pairs(["a", "'b'"])],
  ["ENV a=b \\\n  c=d", pairs(["a", "b"], ["c", "d"])],
  ["LABEL a=b", { kind: "label", ...pairs(["a", "b"]) }],
  ['LABEL "a b"="c"', pairs(['"a b"', '"c"'])],
  ["LABEL a.b c d", pairs(["a.b", "c d"])],
  ["ARG a", { kind: "arg", args: [{ name: "a" }] }],
  ["ARG a=b", { args: [{ name: "a", value: "b" }] }],
  ["ARG a= b=$c d", { args: [{ name: "a", value: "" }, { name: "b", value: "$c" }, { name: "d" }] }],
  ['ARG a="b c"', { args: [{ name: "a", value: '"b c"' }] }],
  ["COPY a b", { kind: "copy", sources: ["a"], destination: "b", link: false, parents: false, excludes: [] }],
  ["COPY a b c/", { sources: ["a", "b"], destination: "c/" }],
  ['COPY ["a b", "c d"]', { sources: ["a b"], destination: "c d" }],
  ['COPY ["a", b]', { sources: ['["a",'], destination: "b]" }],
  ["COPY --from=x --chown=1:2 --chmod=u=rwX a b", { from: "x", chown: "1:2", chmod: "u=rwX" }],
  ["COPY --link --parents a b", { link: true, parents: true }],
  ["COPY --link=false --parents=TRUE a b", { link: false, parents: true }],
  ["COPY --exclude=*.md --exclude=x a b", { excludes: ["*.md", "x"] }],
  ["COPY --chown='a b' c d", { chown: "a b" }],
  ["COPY <<a.txt b /c/\nx\na.txt", { sources: ["b"], heredocs: [{ name: "a.txt", content: "x\n" }] }],
  ["ADD a b", { kind: "add", sources: ["a"], destination: "b" }],
  ["ADD --checksum=sha256:00 https://x/y z", { checksum: "sha256:00", sources: ["https://x/y"] }],
  ["ADD --keep-git-dir --unpack=false a b", { keepGitDir: true, unpack: false }],
  ["ADD <<EOF /x\na\nEOF", { sources: [], heredocs: [{ name: "EOF" }] }],
  ["EXPOSE 80", { kind: "expose", ports: ["80"] }],
  ["EXPOSE 80/tcp 53/udp $P", { ports: ["$P", "53/udp", "80/tcp"] }],
  ["VOLUME /a /b", { kind: "volume", paths: ["/a", "/b"] }],
  ['VOLUME ["/a b"]', { paths: ["/a b"] }],
  ["USER a:b", { kind: "user", user: "a:b" }],
  ["WORKDIR /a b", { kind: "workdir", path: "/a b" }],
  ["STOPSIGNAL SIGTERM", { kind: "stopsignal", signal: "SIGTERM" }],
  ["MAINTAINER a b", { kind: "maintainer", maintainer: "a b" }],
  ['SHELL ["a", "-c"]', { kind: "shell", shell: ["a", "-c"] }],
  ["HEALTHCHECK NONE", { kind: "healthcheck", test: "NONE" }],
  ["HEALTHCHECK none", { test: "NONE" }],
  ["HEALTHCHECK CMD a b", { test: { form: "shell", text: "a b" } }],
  ['HEALTHCHECK cmd ["a"]', { test: { form: "exec", args: ["a"] } }],
  ["HEALTHCHECK --interval=1m30s --timeout=1.5s CMD a", { interval: 90e9, timeout: 1.5e9 }],
  ["HEALTHCHECK --start-period=1ms --start-interval=1h CMD a", { startPeriod: 1e6, startInterval: 3600e9 }],
  ["HEALTHCHECK --retries=3 CMD a", { retries: 3 }],
  ["ONBUILD RUN a", { kind: "onbuild", trigger: "RUN a" }],
  ["ONBUILD COPY --from=x a b", { trigger: "COPY --from=x a b" }],
  ["ONBUILD RUN <<-E\n\tx\nE", { trigger: "RUN <<-E\n\tx\nE" }],
];

describe("an instruction", () => {
  for (const [text, expected] of INSTRUCTIONS) {
    test(JSON.stringify(text), () => expect(parseInstruction(text)).toMatchObject(expected));
  }
});

/** A Dockerfile behind `FROM a`, the place of its error, what it says, and the word it offers. */
const WRONG: readonly (readonly [string, number, number, string, string?])[] = [
  ["FORM x", 2, 1, "unknown instruction: FORM", "FROM"],
  ["  RNU x", 2, 3, "unknown instruction: RNU", "RUN"],
  ["Zebra", 2, 1, "unknown instruction: Zebra"],
  ["RUN", 2, 1, "RUN requires at least one argument"],
  ["RUN --nework=none x", 2, 5, "unknown flag: --nework", "--network"],
  ["RUN --network=hots x", 2, 15, "invalid network mode", "host"],
  ["RUN --security=x y", 2, 16, "invalid security"],
  ["RUN --mount=type=cahe,target=/x y", 2, 13, "unsupported mount type", "cache"],
  ["RUN --mount=tagret=/x y", 2, 13, "unexpected key 'tagret'", "target"],
  ["RUN --mount=from=$x,target=/y z", 2, 13, "doesn't support variable expansion"],
  ["RUN --mount y", 2, 5, "missing a value on flag: mount"],
  ["RUN <<EOF\nx", 2, 5, "unterminated heredoc EOF"],
  ['RUN ["a", 1]', 2, 5, "comprised of strings only"],
  ["COPY a", 2, 6, "at least two arguments"],
  ["COPY", 2, 1, "at least one source and a destination"],
  ["COPY --from a b", 2, 6, "missing a value on flag: from"],
  ["COPY --link=maybe a b", 2, 6, "expecting boolean value for flag link"],
  ["COPY --chown=1 --chown=2 a b", 2, 16, "duplicate flag specified: chown"],
  ["COPY --checksum=x a b", 2, 6, "unknown flag: --checksum"],
  ["COPY a <<EOF\nEOF", 2, 8, "cannot accept a heredoc as a destination"],
  ["ADD --from=x a b", 2, 5, "unknown flag: --from"],
  ["ADD --parents a b", 2, 5, "unknown flag: --parents"],
  ["ENV", 2, 1, "ENV requires at least one argument"],
  ["ENV a", 2, 5, "ENV must have two arguments"],
  ["ENV =b", 2, 5, "ENV names can not be blank"],
  ["ENV a=b c", 2, 9, 'can\'t find = in "c"'],
  ["ENV --x=y a=b", 2, 5, "unknown flag: --x"],
  ["LABEL a=b c", 2, 11, 'can\'t find = in "c"'],
  ["LABEL", 2, 1, "LABEL requires at least one argument"],
  ["ARG", 2, 1, "ARG requires at least one argument"],
  ["ARG =x", 2, 5, "ARG names can not be blank"],
  ["EXPOSE", 2, 1, "EXPOSE requires at least one argument"],
  ["VOLUME", 2, 1, "VOLUME requires at least one argument"],
  ['VOLUME [""]', 2, 1, "can not be an empty string"],
  ["USER", 2, 1, "USER requires exactly one argument"],
  ["WORKDIR", 2, 1, "WORKDIR requires exactly one argument"],
  ["STOPSIGNAL", 2, 1, "STOPSIGNAL requires exactly one argument"],
  ["MAINTAINER", 2, 1, "MAINTAINER requires exactly one argument"],
  ["SHELL /bin/sh", 2, 7, "SHELL requires the arguments to be in JSON form"],
  ["SHELL []", 2, 7, "SHELL requires at least one argument"],
  ["HEALTHCHECK", 2, 1, "HEALTHCHECK requires at least one argument"],
  ["HEALTHCHECK CMD", 2, 1, "Missing command after HEALTHCHECK CMD"],
  ["HEALTHCHECK CMD []", 2, 1, "Missing command after HEALTHCHECK CMD"],
  ["HEALTHCHECK NONE x", 2, 18, "HEALTHCHECK NONE takes no arguments"],
  ["HEALTHCHECK RUN x", 2, 13, 'Unknown type "RUN"', "CMD"],
  ["HEALTHCHECK --interval=soon CMD x", 2, 24, "invalid duration"],
  ["HEALTHCHECK --interval=1us CMD x", 2, 24, "cannot be less than 1ms"],
  ["HEALTHCHECK --retries=-1 CMD x", 2, 23, "cannot be negative"],
  ["HEALTHCHECK --retries=x CMD x", 2, 23, "invalid --retries"],
  ["HEALTHCHECK --retrys=1 CMD x", 2, 13, "unknown flag: --retrys", "--retries"],
  ["ONBUILD", 2, 1, "ONBUILD requires at least one argument"],
  ["ONBUILD ONBUILD RUN x", 2, 9, "Chaining ONBUILD"],
  ["ONBUILD FROM x", 2, 9, "FROM isn't allowed as an ONBUILD trigger"],
  ["ONBUILD maintainer x", 2, 9, "MAINTAINER isn't allowed as an ONBUILD trigger"],
  ["FROM", 2, 1, "FROM requires either one or three arguments"],
  ["FROM a as", 2, 1, "FROM requires either one or three arguments"],
  ["FROM a sa b", 2, 8, "FROM requires either one or three arguments", "AS"],
  ["FROM a AS 1b", 2, 11, "invalid name for build stage"],
  ["FROM a AS b/c", 2, 11, "invalid name for build stage"],
  ["FROM --platfrom=x a", 2, 6, "unknown flag: --platfrom", "--platform"],
  ["RUN \\\n  x\nCOPY \\\n  --chmdo=1 a b", 5, 3, "unknown flag: --chmdo", "--chmod"],
  ["RUN a\0b", 2, 6, "NUL character"],
];

describe("a wrong instruction", () => {
  for (const [text, line, column, message, hint] of WRONG) {
    test(JSON.stringify(text), () => {
      const wrong = caught(() => parseDockerfile(`FROM a\n${text}\n`));
      expect({ line: wrong.line, column: wrong.column, hint: wrong.hint }).toEqual({ line, column, hint });
      expect(wrong.message).toContain(message);
    });
  }
});

function caught(work: () => unknown): DockerfileError {
  try {
    work();
  } catch (error) {
    if (error instanceof DockerfileError) return error;
    throw error;
  }
  throw new Error("nothing was thrown");
}

const FILES: readonly (readonly [string, object])[] = [
  ["FROM a", { directives: { escape: "\\" }, stages: [{ index: 0, from: { reference: "a" } }] }],
  ["\uFEFFFROM a", { stages: [{ from: { reference: "a" } }] }],
  ["from a as B\nFROM --platform=$X b", { stages: [{ name: "b" }, { index: 1, from: { platform: "$X" } }] }],
  ["ARG a=1\nARG b\nFROM x:$a\nARG b", { globalArgs: [{}, {}], stages: [{ instructions: [{ kind: "arg" }] }] }],
  ["# syntax=x/y:1\n# escape=`\nFROM a\nRUN b `\nc", { directives: { syntax: "x/y:1", escape: "`" } }],
  ["#escape = `\nFROM a\nRUN b `\nc", { stages: [{ instructions: [shell("b c")] }] }],
  ["# ESCAPE=`\nFROM a\nENV x=y` z", { stages: [{ instructions: [pairs(["x", "y` z"])] }] }],
  ["# comment\n# escape=`\nFROM a", { directives: { escape: "\\" } }],
  ["\n# escape=`\nFROM a", { directives: { escape: "\\" } }],
  ["# unknown=1\n# escape=`\nFROM a", { directives: { escape: "\\" } }],
  ["# check=skip=A,B;error=true\nFROM a", { directives: { check: { skip: ["A", "B"], error: true } } }],
  ["# check=skip=all\nFROM a", { directives: { check: { skipAll: true } } }],
  ["# what it is\nFROM a AS b", { stages: [{ comment: "what it is" }] }],
  ["FROM a\nRUN x \\\n  y\n", { stages: [{ instructions: [{ source: { line: 2, endLine: 3, column: 1 } }] }] }],
];

describe("a file", () => {
  for (const [text, expected] of FILES) {
    test(JSON.stringify(text), () => expect(parseDockerfile(text)).toMatchObject(expected));
  }
  const refused: readonly (readonly [string, string])[] = [
    ["", "file with no instructions"],
    ["# only\n", "file with no instructions"],
    ["ARG a", "no stages to build"],
    ["RUN x\nFROM a", "no build stage in current context"],
    ["# escape=`\n# escape=`\nFROM a", "only one escape parser directive"],
    ["# escape=x\nFROM a", "invalid escape token"],
    ["# check=what\nFROM a", "invalid check option"],
  ];
  for (const [text, message] of refused) {
    test(`${JSON.stringify(text)} is refused`, () => expect(() => parseDockerfile(text)).toThrow(message));
  }
});

const LINT: readonly (readonly [string, string[]])[] = [
  ["FROM a\nRUN x", []],
  ["FROM a\nRun x\nRUN y", ["ConsistentInstructionCasing"]],
  ["from a\nrun x\nRUN y", ["ConsistentInstructionCasing"]],
  ["FROM a as b", ["FromAsCasing"]],
  ["FROM a AS B", ["StageNameCasing"]],
  ["FROM a AS scratch", ["ReservedStageName"]],
  ["FROM a AS b\nFROM c AS b", ["DuplicateStageName"]],
  ["FROM a\nCMD x", ["JSONArgsRecommended"]],
  ['FROM a\nCMD ["x"]', []],
  ['FROM a\nCMD ["x"]\nCMD ["y"]', ["MultipleInstructionsDisallowed"]],
  ["FROM a\nENV b c", ["LegacyKeyValueFormat"]],
  ["FROM a\nMAINTAINER b", ["MaintainerDeprecated"]],
  ["FROM a\nRUN x \\\n\n y", ["NoEmptyContinuation"]],
  ["FROM --platform=$TARGETPLATFORM a", ["RedundantTargetPlatform"]],
  ["FROM --platform=linux/amd64 a", ["FromPlatformFlagConstDisallowed"]],
  ["FROM --platform=$BUILDPLATFORM a", []],
  ["FROM a\nARG API_KEY", ["SecretsUsedInArgOrEnv"]],
  ["FROM a\nENV PUBLIC_KEY=x", []],
  ["FROM a\nENV MONKEY=x", []],
  ["FROM $A", ["UndefinedArgInFrom", "InvalidDefaultArgInFrom"]],
  ["ARG A\nFROM a:$A", ["InvalidDefaultArgInFrom"]],
  ["ARG A=b\nFROM $A", []],
  ["FROM a\nWORKDIR b", ["WorkdirRelativePath"]],
  ["FROM a\nWORKDIR /b\nWORKDIR c", []],
  ["FROM a\nEXPOSE 80/TCP", ["ExposeProtoCasing"]],
  ["FROM a\nEXPOSE 127.0.0.1:80:80", ["ExposeInvalidFormat"]],
  ["# check=skip=JSONArgsRecommended\nFROM a\nCMD x", []],
  ["# check=skip=all\nFROM a as B\nCMD x", []],
  ["# other\nFROM a AS b", []],
  ["# check=experimental=all\n# other\nFROM a AS b", ["InvalidDefinitionDescription"]],
  ["# check=experimental=all\n# b is it\nFROM a AS b\n# c\nARG d", ["InvalidDefinitionDescription"]],
];

describe("build checks", () => {
  for (const [text, rules] of LINT) {
    test(JSON.stringify(text), () =>
      expect(
        parseDockerfile(text)
          .warnings.map(({ rule }) => rule)
          .sort(),
      ).toEqual(rules.sort()),
    );
  }
});

const MOUNTS: readonly (readonly [string, object | string])[] = [
  ["target=/a", { type: "bind", target: "/a", readOnly: true, required: false }],
  ["type=bind,dst=/a,src=b,from=c,rw", { source: "b", from: "c", readOnly: false }],
  ["destination=/a,ro=false", { readOnly: false }],
  [
    "type=cache,target=/a,id=b,sharing=locked,mode=0700,uid=1,gid=2",
    { sharing: "locked", mode: 0o700, uid: 1, gid: 2 },
  ],
  ["type=cache,target=/a", { readOnly: false }],
  ["type=tmpfs,target=/a,size=1m", { size: 1 << 20, readOnly: false }],
  ["type=secret,id=a,env=B,required", { id: "a", env: "B", required: true }],
  ["type=ssh", { type: "ssh", readOnly: true }],
  ['type=bind,"target=/a,b"', { target: "/a,b" }],
  ["type=bind,target=$t", { target: "/T" }],
  ["type=bind", "bind mount requires a target"],
  ["type=secret", "one of source, target required"],
  ["type=secret,id=a,source=b", "both source and id"],
  ["type=bind,target=/a,mode=1", 'mode not allowed for "bind"'],
  ["type=bind,target=/a,size=1", "unexpected key 'size'"],
  ["type=bind,target=/a,sharing=shared", "invalid cache sharing"],
  ["type=cache,target=/a,sharing=x", "unsupported sharing value"],
  ["type=cache,target=/a,mode=9", "invalid value 9 for mode"],
  ["type=cache,target=/a,uid=-1", "invalid value -1 for uid"],
  ["type=bind,target", "must be a key=value pair"],
  ["target=/a,ro=x", "invalid value for ro"],
  ['"target=/a', "failed to parse csv"],
];

describe("mounts", () => {
  for (const [text, expected] of MOUNTS) {
    test(text, () => {
      const parse = () => parseMount(text, (value) => value.replace("$t", "/T"));
      if (typeof expected === "string") expect(parse).toThrow(expected);
      else expect(parse()).toMatchObject(expected);
    });
  }
});

test("what a RUN with heredocs runs", () => {
  const of = (text: string) => {
    const run = parseInstruction(text);
    if (run.kind !== "run") throw new Error("no RUN");
    return heredocProgram(run);
  };
  expect(of("RUN x")).toBeUndefined();
  expect(of("RUN <<E\na\nE")).toEqual({ text: "a\n" });
  expect(of("RUN <<E cat\na\nE")).toEqual({ text: "<<E cat\na\nE" });
  expect(of("RUN <<E\n#!/bin/cat\nE")).toMatchObject({ script: { content: "#!/bin/cat\n" } });
});

test("hostile megabytes are parsed or refused", () => {
  const size = 1 << 20;
  for (const part of [
    "\\\n",
    "<<a ",
    '"',
    "[",
    "# x\n",
    "RUN a\n",
    "ENV a=b \\\n",
    "--a ",
    "a=",
    " ",
    "\t",
    "$",
    "\n",
  ]) {
    for (const start of ["", "FROM a\nRUN ", "FROM a\nENV a=", "FROM a\nCOPY ", "FROM ", "FROM a\nONBUILD RUN "]) {
      try {
        parseDockerfile(start + part.repeat(size / part.length));
      } catch (error) {
        expect(error).toBeInstanceOf(InroError);
      }
    }
  }
});

test("any text is a Dockerfile or a DockerfileError", () => {
  const words =
    "FROM a|RUN |COPY |ENV |ARG |ONBUILD |HEALTHCHECK |--mount=|<<E|E|\\|\n|\"|'|[|]|$|{|}|=|# escape=`|`| ";
  const piece = fc.oneof(fc.constantFrom(...words.split("|")), fc.string());
  fc.assert(
    fc.property(
      fc.array(piece, { maxLength: 40 }).map((parts) => parts.join("")),
      (text) => {
        try {
          expect(parseDockerfile(`FROM a\n${text}`).stages.length).toBeGreaterThan(0);
        } catch (error) {
          expect(error).toBeInstanceOf(DockerfileError);
          expect(error).not.toBeInstanceOf(SyntaxFault);
        }
      },
    ),
    { numRuns: 3000 },
  );
});
