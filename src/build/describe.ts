import type { Dockerfile, Stage, Warning } from "./dockerfile/ast.ts";
import { excerpt } from "./excerpt.ts";

/** Other looks at a Dockerfile than a build of it (buildx build --call): texts to be printed. */

/** The build checks that it does not pass; the status is 1 if there are any. */
export function describeWarnings(
  warnings: readonly Pick<Warning, "rule" | "description" | "detail" | "url" | "line" | "endLine">[],
  file: { text: string; name: string },
): { text: string; exitCode: number } {
  if (warnings.length === 0) return { text: "Check complete, no warnings found.\n", exitCode: 0 };
  const count = warnings.length === 1 ? "1 warning has" : `${warnings.length} warnings have`;
  const each = warnings.map(
    ({ rule, description, url, detail, line, endLine }) =>
      `WARNING: ${rule} - ${url}\n${description}${detail ? `\n${detail}` : ""}\n${excerpt(file, { line, endLine })}\n`,
  );
  return { text: `Check complete, ${count} been found!\n\n${each.join("\n")}`, exitCode: 1 };
}

/** Its stages that have names. */
export function describeTargets({ stages }: Dockerfile): string {
  const rows = stages.flatMap((stage) => {
    const last = stage === stages.at(-1);
    if (stage.name === undefined && !last) return [];
    return [[`${stage.name ?? ""}${last ? " (default)" : ""}`.trim(), description(stage.name, stage)]];
  });
  return table([["TARGET", "DESCRIPTION"], ...rows]);
}

/** What a target may be given. */
export function describeOutline(
  file: Dockerfile,
  target: string | undefined,
  values: ReadonlyMap<string, string>,
): string {
  const { stages, globalArgs } = file;
  const stage = target ? stages.findLast(({ name }) => name === target.toLowerCase()) : stages.at(-1);
  const instructions = [...globalArgs, ...(stage?.instructions ?? [])];
  const args = new Map<string, string[]>();
  const secrets = new Map<string, string[]>();
  for (const one of instructions) {
    if (one.kind === "arg") {
      for (const { name, value = "" } of one.args) {
        if (args.has(name)) continue;
        args.set(name, [name, values.get(name) ?? value, description(name, one)]);
      }
    } else if (one.kind === "run") {
      for (const mount of one.mounts.filter((text) => /(?:^|,)type=secret(?:,|$)/.test(text))) {
        const id = /(?:^|,)id=([^,]*)/.exec(mount)?.[1] ?? "";
        secrets.set(id, [id, /(?:^|,)required(?:=true)?(?:,|$)/.test(mount) ? "true" : ""]);
      }
    }
  }
  const blocks = [`TARGET: ${stage?.name ?? "default"}\n${described("DESCRIPTION", description(stage?.name, stage))}`];
  if (args.size > 0) blocks.push(table([["BUILD ARG", "VALUE", "DESCRIPTION"], ...args.values()]));
  if (secrets.size > 0) blocks.push(table([["SECRET", "REQUIRED"], ...secrets.values()]));
  return blocks.join("\n");
}

const described = (name: string, text: string) => (text ? `${name}: ${text}\n` : "");

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
