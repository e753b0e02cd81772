import { InroError, messageOf } from "../../../base/errors.ts";
import { sys } from "../../../linux/call.ts";
import * as k from "../../../linux/constants.ts";
import { writeAll } from "../../../linux/file.ts";
import { copyTar } from "./copy.ts";
import { digestOfFiles } from "./digest.ts";
import type { BuildAnswer, BuildWork } from "./work.ts";

const SIGKILL = 9;
const STDOUT = 1;
const STDERR = 2;

/** Does the work that stdin has. The result is the exit code. */
export async function buildMain(): Promise<number> {
  sys("prctl", "PR_SET_PDEATHSIG", k.PR_SET_PDEATHSIG, SIGKILL);
  const answer = (what: BuildAnswer) => writeAll(STDERR, Buffer.from(`${JSON.stringify(what)}\n`));
  try {
    const work = JSON.parse(await Bun.stdin.text()) as BuildWork;
    if (work.kind === "digest") writeAll(STDOUT, Buffer.from(digestOfFiles(work)));
    else for await (const chunk of copyTar(work)) writeAll(STDOUT, chunk);
    answer({ done: true });
    return 0;
  } catch (error) {
    answer({ error: { kind: error instanceof InroError ? error.kind : "internal", message: messageOf(error) } });
    return 1;
  }
}

if (import.meta.main) {
  buildMain().then((code) => {
    process.exit(code);
  });
}
