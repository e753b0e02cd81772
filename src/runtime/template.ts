import { encode } from "../program/elf.ts";
import type { Program } from "../program/ir.ts";
import type { Machine } from "../program/layout.ts";
import type { Filter } from "../security/seccomp/compile.ts";
import { type Plan, prepare } from "./plan.ts";
import { kernelPath } from "./restricted-paths.ts";
import { compose } from "./setup.ts";

/** An executable, and the program in it for whoever wants to read it. */
export interface Encoded {
  elf: Uint8Array;
  program(): Program;
}

/** An executable made for one container, and where the container's id stands in it. */
interface Template {
  elf: Uint8Array;
  long: number[];
  short: number[];
}

const CAPACITY = 64;
const SHORT = 12;
const templates = new Map<string, Template>();
/** The same by the kind of launch, in the caller's words. */
const kinds = new Map<string, Template>();
const filterNumbers = new WeakMap<Filter, number>();
let filterCount = 0;

/**
 * The executable of a launch. Two launches that differ in nothing but the container's id, of 64 hex digits, come to the
 * same rows, with the id (whole in paths, its first 12 digits as a host name) in the same places: the program is built
 * for the first, and for the others the id is written over. With `kind` {@link encodeKnown} then knows it too.
 */
export function encodeLaunch(plan: Plan, id: string, machine: Machine, kind?: string): Encoded {
  const prepared = prepare(plan);
  const program = () => compose(prepared);
  if (!/^[0-9a-f]{64}$/.test(id)) return { elf: encode(program(), machine), program };
  const { seccomp: _, ...linux } = plan.spec.linux ?? {};
  const { spec: __, filter, ...rest } = plan;
  const paths = [...(linux.maskedPaths ?? []), ...(linux.readonlyPaths ?? [])].map(kernelPath);
  const key = JSON.stringify([
    { ...plan.spec, mounts: undefined, linux },
    { ...rest, filter: filter && numberOf(filter) },
    prepared.mounts,
    prepared.devices,
    prepared.cwd,
    paths,
  ])
    .replaceAll(id, LONG_MARK)
    .replaceAll(id.slice(0, SHORT), SHORT_MARK);
  const template = templates.get(key) ?? makeTemplate(encode(program(), machine), id);
  keep(templates, key, template);
  if (kind !== undefined) keep(kinds, kind, template);
  return { elf: fill(template, id), program };
}

/** The executable of a launch of a kind that was launched before; undefined where that is too long ago. */
export function encodeKnown(kind: string, id: string, program: () => Program): Encoded | undefined {
  const template = kinds.get(kind);
  if (!template) return undefined;
  keep(kinds, kind, template);
  return { elf: fill(template, id), program };
}

/** As the most recently used; the least recently used goes. */
function keep(map: Map<string, Template>, key: string, template: Template): void {
  if (!map.delete(key) && map.size === CAPACITY) map.delete(map.keys().next().value!);
  map.set(key, template);
}

/** What no JSON text holds. */
const LONG_MARK = "\u0000id";
const SHORT_MARK = "\u0000short";

function numberOf(filter: Filter): number {
  let number = filterNumbers.get(filter);
  if (number === undefined) {
    number = ++filterCount;
    filterNumbers.set(filter, number);
  }
  return number;
}

function makeTemplate(elf: Uint8Array, id: string): Template {
  const bytes = Buffer.from(elf.buffer, elf.byteOffset, elf.length);
  const short = id.slice(0, SHORT);
  const template: Template = { elf, long: [], short: [] };
  for (let at = bytes.indexOf(short); at >= 0; at = bytes.indexOf(short, at + SHORT)) {
    const whole = bytes.toString("latin1", at, at + id.length) === id;
    (whole ? template.long : template.short).push(at);
  }
  return template;
}

function fill({ elf, long, short }: Template, id: string): Uint8Array {
  const copy = Buffer.from(elf);
  for (const at of long) copy.write(id, at, "latin1");
  for (const at of short) copy.write(id.slice(0, SHORT), at, "latin1");
  return copy;
}
