import type { Linux, Mount, Process, Spec } from "../../../src/spec/oci-runtime.ts";
import type { Context } from "./context.ts";

/** The runtimes whose behaviour a case may know to differ; another binary is taken for `inro`. */
export type Kind = "inro" | "crun" | "runc";

export type FullSpec = Spec & { process: Process; linux: Linux; mounts: Mount[] };

/**
 * How a case's config differs from the usual one: an edit, or properties to be merged into it (objects by property,
 * lists as a whole, undefined removes). Properties may be wrong on purpose, so they are not typed.
 */
export type Change = ((spec: FullSpec) => void) | { readonly [property: string]: unknown };

/** One property, command or error of the specification or of runc's command line. */
export interface Case {
  /** Property or command, then what is asked of it. Unique. */
  name: string;
  /** Where that is said: a file of the runtime-spec and its section, or `runc` for what only runc's manual says. */
  spec: string;
  change?: Change;
  /** Throws when the runtime does not do it. */
  run(context: Context): Promise<unknown>;
  /** What this machine lacks for it. */
  missing?: string | undefined;
  /** The runtimes that fail it, and why. */
  differs?: Partial<Record<Kind, string>>;
  /** Also run on Debian's kernel with AppArmor and cgroup v2 alone: it behaves differently there. */
  vm?: true;
}

type Rest = Omit<Case, "name" | "spec" | "run" | "change"> & { spec?: string };

/** What a container's output must be: the whole but for its last newline, or a pattern in it. */
export type Expected = string | RegExp;

/** Rows for the cases of one section of the specification. */
export function section(spec: string) {
  return {
    /** A container with this config that runs `script` ends with 0 and says `expected`. */
    shows: (name: string, change: Change, script: string, expected: Expected, rest: Rest = {}): Case => ({
      name,
      spec,
      change,
      run: (context) => context.shows(script, expected),
      ...rest,
    }),
    /** `create` fails, leaves nothing, and inro's message matches `says`. */
    refuses: (name: string, change: Change, says: RegExp, rest: Rest = {}): Case => ({
      name,
      spec,
      change,
      run: (context) => context.refuses(says),
      ...rest,
    }),
    /** Anything else. */
    does: (name: string, run: Case["run"], rest: Rest & { change?: Change } = {}): Case => ({
      name,
      spec,
      run,
      ...rest,
    }),
  };
}

export function applyChange(spec: FullSpec, change: Change): void {
  if (typeof change === "function") change(spec);
  else merge(spec as unknown as Record<string, unknown>, change);
}

const isObject = (value: unknown): value is Record<string, unknown> =>
  typeof value === "object" && value !== null && !Array.isArray(value);

function merge(into: Record<string, unknown>, from: { readonly [property: string]: unknown }): void {
  for (const key in from) {
    const [value, old] = [from[key], into[key]];
    if (isObject(value) && isObject(old)) merge(old, value);
    else into[key] = value;
  }
}
