import { ExitError } from "./command.ts";
import { stdout } from "./output.ts";
import { isTerminal, rawMode, readStdin } from "./terminal.ts";

export interface Question {
  text: string;
  /** The answer is not shown. */
  secret?: boolean;
}

/** Asks on the terminal, one line each; answers come without their ends. Ctrl-C ends the command. */
export async function ask(questions: readonly Question[]): Promise<string[]> {
  if (!isTerminal(0)) throw new ExitError(1, "Error: Cannot perform an interactive login from a non TTY device");
  // Before it asks, and till the last answer: what is typed ahead must not be shown either.
  const restore = rawMode();
  const answers: string[] = [];
  let line = "";
  try {
    await stdout.write(questions[0]!.text);
    for await (const chunk of readStdin(true)) {
      for (const key of new TextDecoder().decode(chunk)) {
        const { secret } = questions[answers.length]!;
        if (key === "\x03") throw new ExitError(130, "");
        if (key === "\r" || key === "\n" || (key === "\x04" && line === "")) {
          answers.push(line);
          line = "";
          const next = questions[answers.length];
          await stdout.write(`\r\n${next?.text ?? ""}`);
          if (!next) return answers;
        } else if (key === "\x7f" || key === "\b") {
          if (line !== "" && !secret) await stdout.write("\b \b");
          line = line.slice(0, -1);
        } else if (key >= " ") {
          line += key;
          if (!secret) await stdout.write(key);
        }
      }
    }
    throw new ExitError(1, "the terminal closed");
  } finally {
    restore();
  }
}
