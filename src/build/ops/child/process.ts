import { writeAll } from "../../../linux/file.ts";
import { workerMain } from "../../../worker/main.ts";
import { DockerfileError } from "../../dockerfile/error.ts";
import { parseDockerfile } from "../../dockerfile/parse.ts";
import { copyTar } from "./copy.ts";
import { digestOfFiles } from "./digest.ts";
import type { BuildWork, ParseAnswer } from "./work.ts";

const STDOUT = 1;

/** Does the work that stdin has. The result is the exit code. */
export function buildMain(): Promise<number> {
  return workerMain(async () => {
    const work = JSON.parse(await Bun.stdin.text()) as BuildWork;
    if (work.kind === "parse") writeAll(STDOUT, Buffer.from(JSON.stringify(parsed(work.text))));
    else if (work.kind === "digest") writeAll(STDOUT, Buffer.from(digestOfFiles(work)));
    else await writeGathered(copyTar(work));
  });
}

function parsed(text: string): ParseAnswer {
  try {
    return { file: parseDockerfile(text) };
  } catch (error) {
    if (!(error instanceof DockerfileError)) throw error;
    const { detail, line, column, hint } = error;
    return { failed: { detail, line, column, hint } };
  }
}

const GATHERED = 1 << 18;

/** Headers and small files are many: a write of their own for each would take longer than they do. */
async function writeGathered(chunks: AsyncIterable<Uint8Array>): Promise<void> {
  const buffer = Buffer.allocUnsafe(GATHERED);
  let length = 0;
  const flush = () => {
    if (length > 0) writeAll(STDOUT, buffer.subarray(0, length));
    length = 0;
  };
  for await (const chunk of chunks) {
    if (length + chunk.length > GATHERED) flush();
    if (chunk.length > GATHERED) writeAll(STDOUT, chunk);
    else {
      buffer.set(chunk, length);
      length += chunk.length;
    }
  }
  flush();
}

if (import.meta.main) {
  buildMain().then((code) => {
    process.exit(code);
  });
}
