import { TemplateError } from "./tokens.ts";

/** A field that a map does not have. */
export const NO_VALUE = Symbol("no value");

/** A value as Go's fmt prints it with %v. */
export function formatValue(value: unknown): string {
  if (value === NO_VALUE || value === undefined) return "<no value>";
  if (value === null) return "<nil>";
  if (typeof value === "string") return value;
  if (typeof value === "number") return formatNumber(value);
  if (Array.isArray(value)) return `[${value.map(formatValue).join(" ")}]`;
  if (typeof value === "object") {
    const entries = Object.entries(value).toSorted(([a], [b]) => (a < b ? -1 : a > b ? 1 : 0));
    return `map[${entries.map(([key, one]) => `${key}:${formatValue(one)}`).join(" ")}]`;
  }
  return String(value);
}

function formatNumber(value: number): string {
  if (Number.isInteger(value) && Math.abs(value) < 1e21) return value.toFixed(0);
  return String(value);
}

/** Blanks of one padding, at most; Go has such a bound too. */
export const WIDEST = 10_000;

/** Go's Printf for %v %s %d %q %t %x %f %g %e %c %% with flags, width and precision. */
export function sprintf(format: string, args: readonly unknown[]): string {
  let next = 0;
  const text = format.replace(
    /%([-+# 0]*)(\d+|\*)?(?:\.(\d+))?([a-zA-Z%])?/g,
    (_, flags: string, wide, exact, verb) => {
      if (verb === "%") return "%";
      if (verb === undefined) return "%!(NOVERB)";
      const width = wide === "*" ? Number(args[next++]) : wide === undefined ? 0 : Number(wide);
      if (width > WIDEST) return "%!(BADWIDTH)";
      if (next >= args.length) return `%!${verb}(MISSING)`;
      const body = formatVerb(verb, args[next++], flags, exact === undefined ? undefined : Number(exact));
      if (flags.includes("-")) return body.padEnd(width);
      const negative = /^[+-]/.test(body) ? body[0]! : "";
      if (flags.includes("0") && /[dfxgeX]/.test(verb)) {
        return negative + body.slice(negative.length).padStart(width - negative.length, "0");
      }
      return body.padStart(width);
    },
  );
  const extra = args.slice(next);
  if (extra.length === 0) return text;
  return `${text}%!(EXTRA ${extra.map((value) => `${typeName(value)}=${formatValue(value)}`).join(", ")})`;
}

function formatVerb(verb: string, value: unknown, flags: string, precision: number | undefined): string {
  const wrong = () => `%!${verb}(${typeName(value)}=${formatValue(value)})`;
  const signed = (text: string) => (flags.includes("+") && !text.startsWith("-") ? `+${text}` : text);
  switch (verb) {
    case "v":
      return flags.includes("#") ? JSON.stringify(value) : formatValue(value);
    case "s": {
      if (typeof value === "number" || typeof value === "boolean") return wrong();
      const text = formatValue(value);
      return precision === undefined ? text : [...text].slice(0, precision).join("");
    }
    case "d":
      return typeof value === "number" ? signed(Math.trunc(value).toFixed(0)) : wrong();
    case "q":
      return typeof value === "string" ? JSON.stringify(value) : wrong();
    case "t":
      return typeof value === "boolean" ? String(value) : wrong();
    case "x":
    case "X": {
      const hex =
        typeof value === "number"
          ? value.toString(16)
          : typeof value === "string"
            ? Buffer.from(value).toString("hex")
            : undefined;
      if (hex === undefined) return wrong();
      return verb === "X" ? hex.toUpperCase() : hex;
    }
    case "f":
      return typeof value === "number" ? signed(value.toFixed(precision ?? 6)) : wrong();
    case "g":
    case "e": {
      if (typeof value !== "number") return wrong();
      if (verb === "e") return value.toExponential(precision ?? 6).replace(/e([+-])(\d)$/, "e$10$2");
      return precision === undefined ? String(value) : String(Number(value.toPrecision(precision || 1)));
    }
    case "c":
      return typeof value === "number" ? String.fromCodePoint(value) : wrong();
    default:
      return wrong();
  }
}

export function typeName(value: unknown): string {
  if (value === null || value === undefined || value === NO_VALUE) return "<nil>";
  if (typeof value === "boolean") return "bool";
  if (typeof value === "number") return Number.isInteger(value) ? "int" : "float64";
  if (Array.isArray(value)) return "[]interface {}";
  return typeof value === "object" ? "map[string]interface {}" : typeof value;
}

/** Go's truth: not empty, not zero, not nil. */
export function truth(value: unknown): boolean {
  if (value === NO_VALUE || value === null || value === undefined) return false;
  if (Array.isArray(value)) return value.length > 0;
  if (typeof value === "object") return Object.keys(value).length > 0;
  return Boolean(value);
}

/** -1, 0, 1 for two values of one basic type. */
export function compare(a: unknown, b: unknown): number {
  if (typeof a !== typeof b || (typeof a !== "string" && typeof a !== "number")) {
    throw new TemplateError("incompatible types for comparison");
  }
  return a < (b as typeof a) ? -1 : a > (b as typeof a) ? 1 : 0;
}
