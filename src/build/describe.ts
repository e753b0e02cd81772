import type { Dockerfile, Stage, Warning } from "./dockerfile/ast.ts";
import { excerpt } from "./excerpt.ts";

/**
 * Other looks at a Dockerfile than a build of it (buildx build --call): a text to be printed, and the same as data, as
 * BuildKit's subrequests have it (frontend/subrequests).
 */
export interface Description {
  readonly text: string;
  readonly exitCode: number;
  readonly data: object;
}

/** The build checks that it does not pass; the status is 1 if there are any. */
export function describeWarnings(
  warnings: readonly Pick<Warning, "rule" | "description" | "detail" | "url" | "line" | "endLine">[],
  file: { text: string; name: string },
): Description {
  const source = { filename: file.name, data: Buffer.from(file.text).toString("base64") };
  const data = {
    sources: [source],
    warnings: warnings.map(({ rule, description, url, detail, line, endLine }) => {
      const location = { sourceIndex: 0, ranges: [{ start: { line }, end: { line: endLine } }] };
      return { ruleName: rule, description, url, detail, location };
    }),
  };
  if (warnings.length === 0) return { text: "Check complete, no warnings found.\n", exitCode: 0, data };
  const count = warnings.length === 1 ? "1 warning has" : `${warnings.length} warnings have`;
  const each = warnings.map(
    ({ rule, description, url, detail, line, endLine }) =>
      `WARNING: ${rule} - ${url}\n${description}${detail ? `\n${detail}` : ""}\n${excerpt(file, { line, endLine })}\n`,
  );
  return { text: `Check complete, ${count} been found!\n\n${each.join("\n")}`, exitCode: 1, data };
}

/** Its stages that have names. */
export function describeTargets({ stages }: Dockerfile): Description {
  const targets = stages.flatMap((stage) => {
    const last = stage === stages.at(-1);
    if (stage.name === undefined && !last) return [];
    const text = description(stage.name, stage);
    return [
      {
        ...(stage.name === undefined ? {} : { name: stage.name }),
        ...(last ? { default: true } : {}),
        ...(text ? { description: text } : {}),
        base: stage.from.reference,
      },
    ];
  });
  const rows = targets.map((one) => [
    `${one.name ?? ""}${one.default ? " (default)" : ""}`.trim(),
    one.description ?? "",
  ]);
  return { text: table([["TARGET", "DESCRIPTION"], ...rows]), exitCode: 0, data: { targets, sources: [] } };
}

/** What a target may be given. */
export function describeOutline(
  file: Dockerfile,
  target: string | undefined,
  values: ReadonlyMap<string, string>,
): Description {
  const { stages, globalArgs } = file;
  const stage = target ? stages.findLast(({ name }) => name === target.toLowerCase()) : stages.at(-1);
  const instructions = [...globalArgs, ...(stage?.instructions ?? [])];
  const args = new Map<string, { name: string; value?: string; description?: string }>();
  const secrets = new Map<string, { name: string; required?: boolean }>();
  for (const one of instructions) {
    if (one.kind === "arg") {
      for (const { name, value = "" } of one.args) {
        if (args.has(name)) continue;
        const [shown, text] = [values.get(name) ?? value, description(name, one)];
        args.set(name, { name, ...(shown ? { value: shown } : {}), ...(text ? { description: text } : {}) });
      }
    } else if (one.kind === "run") {
      for (const mount of one.mounts.filter((text) => /(?:^|,)type=secret(?:,|$)/.test(text))) {
        const name = /(?:^|,)id=([^,]*)/.exec(mount)?.[1] ?? "";
        secrets.set(name, { name, ...(/(?:^|,)required(?:=true)?(?:,|$)/.test(mount) ? { required: true } : {}) });
      }
    }
  }
  const about = description(stage?.name, stage);
  const blocks = [`TARGET: ${stage?.name ?? "default"}\n${about ? `DESCRIPTION: ${about}\n` : ""}`];
  const rows = [...args.values()].map(({ name, value = "", description: text = "" }) => [name, value, text]);
  if (rows.length > 0) blocks.push(table([["BUILD ARG", "VALUE", "DESCRIPTION"], ...rows]));
  const named = [...secrets.values()].map(({ name, required }) => [name, required ? "true" : ""]);
  if (named.length > 0) blocks.push(table([["SECRET", "REQUIRED"], ...named]));
  const data = {
    name: stage?.name ?? "default",
    ...(about ? { description: about } : {}),
    ...(args.size > 0 ? { args: [...args.values()] } : {}),
    ...(secrets.size > 0 ? { secrets: [...secrets.values()] } : {}),
  };
  return { text: blocks.join("\n"), exitCode: 0, data };
}

/** A comment `# name text` above it. */
function description(name: string | undefined, one: Pick<Stage, "comment"> | undefined): string {
  const line = one?.comment?.split("\n").find((text) => name !== undefined && text.startsWith(`${name} `));
  return line === undefined ? "" : line.slice(name!.length + 1);
}

function table(rows: readonly (readonly string[])[]): string {
  const widths = rows[0]!.map((_, at) => Math.max(...rows.map((row) => (row[at] ?? "").length)));
  return rows
    .map(
      (row) =>
        `${row
          .map((cell, at) => cell.padEnd(widths[at]! + 3))
          .join("")
          .trimEnd()}\n`,
    )
    .join("");
}
