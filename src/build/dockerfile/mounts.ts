import { parseBytes } from "../../base/bytes.ts";
import { splitCsv } from "../../base/csv.ts";
import { nearest } from "../../base/nearest.ts";
import { quoted, SyntaxFault } from "./error.ts";

const TYPES = ["bind", "cache", "tmpfs", "secret", "ssh"] as const;
const SHARING = ["shared", "private", "locked"] as const;

/** One `RUN --mount`. Defaults that depend on the type alone are filled in; ids and targets of secrets are not. */
export interface Mount {
  readonly type: (typeof TYPES)[number];
  /** Stage, image or build context; never expanded. */
  readonly from?: string;
  readonly source?: string;
  /** As written: relative to the working directory. */
  readonly target?: string;
  readonly readOnly: boolean;
  readonly id?: string;
  readonly sharing?: (typeof SHARING)[number];
  readonly required: boolean;
  readonly mode?: number;
  readonly uid?: number;
  readonly gid?: number;
  /** Bytes of a tmpfs. */
  readonly size?: number;
  /** Variable that holds a secret. */
  readonly env?: string;
}

type Draft = { -readonly [K in keyof Mount]: Mount[K] };

/** Keys, and the types that have them (all when undefined). */
const KEYS: Readonly<Record<string, readonly Mount["type"][] | undefined>> = {
  type: undefined,
  from: undefined,
  source: undefined,
  src: undefined,
  target: undefined,
  dst: undefined,
  destination: undefined,
  readonly: undefined,
  ro: undefined,
  readwrite: undefined,
  rw: undefined,
  id: undefined,
  sharing: undefined,
  required: ["secret", "ssh"],
  mode: undefined,
  uid: undefined,
  gid: undefined,
  size: ["tmpfs"],
  env: ["secret"],
};

/**
 * The value of a `--mount` flag. `expand` replaces variables in values, except of `from`, which must have none. Errors:
 * SyntaxFault.
 */
export function parseMount(value: string, expand: (text: string) => string): Mount {
  const draft: Draft = { type: "bind", readOnly: true, required: false };
  let readOnlyGiven = false;
  for (const field of fields(value)) {
    const at = field.indexOf("=");
    const key = (at < 0 ? field : field.slice(0, at)).toLowerCase();
    if (!Object.hasOwn(KEYS, key)) {
      if (at < 0)
        throw new SyntaxFault(`invalid field '${field.slice(0, 100)}' must be a key=value pair`, field, near(key));
      throw new SyntaxFault(`unexpected key '${key.slice(0, 100)}' in '${field.slice(0, 100)}'`, field, near(key));
    }
    const types = KEYS[key];
    if (types && !types.includes(draft.type)) {
      throw new SyntaxFault(`unexpected key '${key}' for mount type '${draft.type}'`, field);
    }
    const boolean = BOOLEANS.has(key);
    if (at < 0 && !boolean) throw new SyntaxFault(`invalid field '${field}' must be a key=value pair`, field);
    const written = at < 0 ? "true" : field.slice(at + 1);
    if (key === "from" && /\$./.test(written)) {
      throw new SyntaxFault(`'from' doesn't support variable expansion, define alias stage instead`, field);
    }
    if (key === "readonly" || key === "ro" || key === "readwrite" || key === "rw") readOnlyGiven = true;
    set(draft, key, key === "from" ? written : expand(written), field);
  }
  if (!readOnlyGiven) draft.readOnly = draft.type !== "cache" && draft.type !== "tmpfs";
  return checked(draft, value);
}

const BOOLEANS = new Set(["readonly", "ro", "readwrite", "rw", "required"]);
const near = (key: string) => nearest(key, Object.keys(KEYS));

function set(draft: Draft, key: string, value: string, field: string): void {
  const bad = () => new SyntaxFault(`invalid value for ${key}: ${value.slice(0, 100)}`, field);
  const flag = () => {
    if (/^(1|t|true)$/i.test(value)) return true;
    if (/^(0|f|false)$/i.test(value)) return false;
    throw bad();
  };
  const number = (rule: RegExp, base: number) => {
    const result = rule.test(value) ? Number.parseInt(value, base) : Number.NaN;
    if (!(result <= 0xffffffff)) throw new SyntaxFault(`invalid value ${value.slice(0, 100)} for ${key}`, field);
    return result;
  };
  switch (key) {
    case "type":
      draft.type = oneOf(TYPES, value, "unsupported mount type", field);
      break;
    case "from":
    case "id":
    case "env":
      draft[key] = value;
      break;
    case "source":
    case "src":
      draft.source = value;
      break;
    case "target":
    case "dst":
    case "destination":
      draft.target = value;
      break;
    case "readonly":
    case "ro":
      draft.readOnly = flag();
      break;
    case "readwrite":
    case "rw":
      draft.readOnly = !flag();
      break;
    case "required":
      draft.required = flag();
      break;
    case "sharing":
      draft.sharing = oneOf(SHARING, value, "unsupported sharing value", field);
      break;
    case "mode":
      draft.mode = number(/^[0-7]{1,11}$/, 8);
      break;
    case "uid":
    case "gid":
      draft[key] = number(/^\d{1,10}$/, 10);
      break;
    case "size":
      try {
        draft.size = parseBytes(value);
      } catch {
        throw bad();
      }
  }
}

function oneOf<T extends string>(known: readonly T[], value: string, problem: string, field: string): T {
  const found = known.find((entry) => entry === value.toLowerCase());
  if (found === undefined) throw new SyntaxFault(`${problem} ${quoted(value)}`, field, nearest(value, known));
  return found;
}

function checked(mount: Draft, text: string): Mount {
  const { type } = mount;
  const fail = (message: string) => new SyntaxFault(message, text);
  if (type === "bind" || type === "tmpfs") {
    for (const key of ["mode", "uid", "gid"] as const) {
      if (mount[key] !== undefined) throw fail(`${key} not allowed for "${type}" type mounts`);
    }
  }
  if (type === "secret") {
    if (mount.from) throw fail("secret mount should not have a from");
    if (mount.sharing) throw fail("secret mount should not define sharing");
    if (!mount.source && !mount.target && !mount.id) throw fail("invalid secret mount. one of source, target required");
    if (mount.source && mount.id) throw fail("both source and id can't be set");
  }
  if (mount.sharing && type !== "cache") throw fail(`invalid cache sharing set for ${type} mount`);
  if (type !== "secret" && type !== "ssh" && !mount.target) throw fail(`${type} mount requires a target`);
  return mount;
}

function fields(text: string): string[] {
  try {
    return splitCsv(text);
  } catch (error) {
    throw new SyntaxFault(`failed to parse csv mounts: ${(error as Error).message}`, text);
  }
}
