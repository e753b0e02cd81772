import { ExitError } from "./command.ts";

/** What a helper keeps for a registry; the user name `<token>` says that the secret is an identity token. */
export interface Secret {
  username: string;
  secret: string;
}

const MISSING = "credentials not found in native keychain";
const MOST_OUTPUT = 1 << 20;

/** Docker's credential helpers: `docker-credential-NAME get|store|erase|list`, asked on stdin, answering on stdout. */
async function call(name: string, action: string, input: string): Promise<{ code: number; output: string }> {
  if (!/^[\w.-]+$/.test(name)) throw new ExitError(1, `invalid credential helper ${JSON.stringify(name)}`);
  const program = `docker-credential-${name}`;
  if (!Bun.which(program)) throw new ExitError(1, `exec: "${program}": executable file not found in $PATH`);
  const child = Bun.spawn([program, action], { stdin: Buffer.from(input), stdout: "pipe", stderr: "inherit" });
  let output = "";
  const decoder = new TextDecoder();
  for await (const chunk of child.stdout) {
    output += decoder.decode(chunk, { stream: true });
    if (output.length > MOST_OUTPUT) {
      child.kill();
      throw new ExitError(1, `${program}: its answer is too long`);
    }
  }
  return { code: await child.exited, output: output.trim() };
}

const failure = (what: string, code: number, output: string) =>
  new ExitError(1, `error ${what} credentials - err: exit status ${code}, out: \`${output.slice(0, 500)}\``);

/** undefined when it has none. */
export async function getSecret(name: string, registry: string): Promise<Secret | undefined> {
  const { code, output } = await call(name, "get", registry);
  if (code !== 0) {
    if (output === MISSING) return undefined;
    throw failure("getting", code, output);
  }
  try {
    const { Username, Secret } = JSON.parse(output) as { Username?: unknown; Secret?: unknown };
    if (typeof Username === "string" && typeof Secret === "string") return { username: Username, secret: Secret };
  } catch {}
  // Not shown: half of it may be a secret.
  throw new ExitError(
    1,
    `error getting credentials - docker-credential-${name} did not answer with Username and Secret`,
  );
}

export async function storeSecret(name: string, registry: string, { username, secret }: Secret): Promise<void> {
  const input = JSON.stringify({ ServerURL: registry, Username: username, Secret: secret });
  const { code, output } = await call(name, "store", input);
  if (code !== 0) throw failure("storing", code, output);
}

export async function eraseSecret(name: string, registry: string): Promise<void> {
  const { code, output } = await call(name, "erase", registry);
  if (code !== 0 && output !== MISSING) throw failure("erasing", code, output);
}
