import { diff, format, type Step } from "../../program/print.ts";
import { type Command, type Context, ExitError } from "../command.ts";
import { createBody } from "../create/body.ts";
import { createFlags } from "../create/flags.ts";
import { parseFlags } from "../flags.ts";
import { stdout } from "../output.ts";
import { isTerminal, terminalSize } from "../terminal.ts";

type TracedStep = Step & { microseconds?: number };

export const command: Command = {
  usage: "[OPTIONS] run [RUN OPTIONS] IMAGE [COMMAND] [ARG...]",
  flags: [
    ...createFlags,
    { name: "json", type: "bool", help: "The steps as JSON" },
    { name: "trace", type: "bool", help: "Run it once and give each step's time" },
    { name: "diff", type: "bool", help: "Compare two launches, the second after --" },
  ],
  args: [1, Number.POSITIVE_INFINITY],
  interspersed: false,
  completes: "image",
  description: `
Prints the system calls that \`inro run\` with these options would make, and why each one is
there. Nothing is started without --trace.`,
  examples: [
    ["inro explain run --read-only -m 64m host true", "The launch of a command"],
    ["inro explain --trace run host true", "Where the time goes"],
    ["inro explain --diff run host true -- run --privileged host true", "What an option changes"],
  ],
  async run(context) {
    const { options, args } = context;
    const json = options.bool("json");
    if (!options.bool("diff")) {
      const steps = await explain(context, ...launchOf(options, args));
      await stdout.line(json ? JSON.stringify({ steps }, undefined, 2) : print(steps));
      return 0;
    }
    const { first, second } = splitDiff(args);
    const before = await explain(context, ...launchOf(options, first));
    const after = await explain(context, ...launchOf(undefined, second));
    const text = diff(before, after);
    await stdout.line(json ? JSON.stringify({ before, after }, undefined, 2) : text || "no difference");
    return 0;
  },
};

/** Options and words of a launch, written `run OPTIONS IMAGE …` or, with the options already parsed, `IMAGE …`. */
function launchOf(options: Context["options"] | undefined, words: readonly string[]): [Context["options"], string[]] {
  if (options && words[0] !== "run") return [options, [...words]];
  const parsed = parseFlags(createFlags, words[0] === "run" ? words.slice(1) : [...words], false);
  if (parsed.args.length === 0) throw new ExitError(1, "explain: which image? As in: inro explain run IMAGE COMMAND");
  return [parsed.options, parsed.args];
}

/** The words before and after the last-needed `--`. */
export function splitDiff(args: readonly string[]): { first: string[]; second: string[] } {
  const at = args.indexOf("--");
  if (at < 1 || at === args.length - 1) {
    throw new ExitError(1, "explain --diff: two launches are needed: explain --diff A -- B");
  }
  return { first: args.slice(0, at), second: args.slice(at + 1) };
}

async function explain(context: Context, options: Context["options"], args: readonly string[]): Promise<TracedStep[]> {
  const [image, ...words] = args as [string, ...string[]];
  const body = createBody(options, image, words);
  const { steps } = await context.engine().json<{ steps: TracedStep[] }>("POST", "/inro/explain", {
    query: { trace: context.options.bool("trace") || undefined },
    json: body,
  });
  return steps;
}

function print(steps: readonly TracedStep[]): string {
  const width = isTerminal(1) ? (terminalSize()?.w ?? 120) : 120;
  const timed = steps.map(({ microseconds, ...step }) =>
    microseconds === undefined ? step : { ...step, why: `${microseconds.toFixed(0)} µs  ${step.why}` },
  );
  return format(timed, width);
}
