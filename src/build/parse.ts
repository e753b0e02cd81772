import type { Dockerfile } from "./dockerfile/ast.ts";
import { DockerfileError } from "./dockerfile/error.ts";
import { parseDockerfile } from "./dockerfile/parse.ts";
import { inChild } from "./ops/child/command.ts";
import type { ParseAnswer } from "./ops/child/work.ts";

/** UTF-16 units that are parsed in a millisecond or two. */
const SMALL = 16 << 10;

/** {@link parseDockerfile}; of a large text in a process of its own. */
export async function parseAside(text: string, signal: AbortSignal): Promise<Dockerfile> {
  if (text.length <= SMALL) return parseDockerfile(text);
  const answer = await inChild({ kind: "parse", text }, signal, async (output) => {
    const chunks: Uint8Array[] = [];
    for await (const chunk of output) chunks.push(chunk);
    return JSON.parse(Buffer.concat(chunks).toString()) as ParseAnswer;
  });
  if ("file" in answer) return answer.file;
  const { detail, line, column, hint } = answer.failed;
  throw new DockerfileError(detail, line, column, hint);
}
