import { isStatus } from "../../client/api-error.ts";
import { type Command, type Context, ExitError } from "../command.ts";
import { type Credentials, findCredentials, HUB, registryKey, storeCredentials } from "../credentials.ts";
import { stderr, stdout } from "../output.ts";
import { ask } from "../prompt.ts";
import { readStdin } from "../terminal.ts";

export const command: Command = {
  usage: "[OPTIONS] [SERVER]",
  args: [0, 1],
  flags: [
    { name: "password", short: "p", type: "string", help: "Password, for everybody on this machine to see" },
    { name: "password-stdin", type: "bool", help: "Read the password from stdin" },
    { name: "username", short: "u", type: "string", help: "User name" },
  ],
  description:
    "Without a server it is Docker Hub. The engine asks the registry; what it takes is kept by the credential helper that config.json names (credsStore, credHelpers), else in config.json, readable by you alone.",
  examples: [
    ["inro login registry.example.org", "Asks for name and password"],
    ["pass show registry | inro login -u me --password-stdin registry.example.org", "In a script"],
  ],
  async run(context) {
    const { options, args, config, choice } = context;
    const registry = registryKey(args[0] ?? "");
    const asked = await given(context);
    const stored = asked ? undefined : await findCredentials(config, registry);
    if (stored && (await takes(context, stored))) return 0;
    const credentials: Credentials = {
      ...(asked ?? (await askPair(registry, options.string("username")))),
      serveraddress: registry,
    };
    const token = await login(context, credentials);
    const kept = token ? { ...credentials, identitytoken: token, password: "" } : credentials;
    const helper = await storeCredentials(choice.directory, config, kept);
    if (helper === undefined) {
      await stderr.line(`WARNING! Your credentials are stored unencrypted in '${choice.directory}/config.json'.`);
      await stderr.line("Configure a credential helper (credsStore) to keep them elsewhere.\n");
    }
    await stdout.line("Login Succeeded");
    return 0;
  },
};

type Pair = { username: string; password: string };

/** Name and password as far as both stand on the command line. */
async function given({ options }: Context): Promise<Pair | undefined> {
  const username = options.string("username");
  if (options.bool("password-stdin")) {
    if (options.has("password"))
      throw new ExitError(1, "conflicting options: cannot specify both --password and --password-stdin");
    if (username === "") throw new ExitError(1, "the --password-stdin option requires --username to be set");
    return { username, password: await passwordFromStdin() };
  }
  if (!options.has("password")) return undefined;
  await stderr.line("WARNING! Using --password via the CLI is insecure. Use --password-stdin.");
  if (username === "") throw new ExitError(1, "the --password option requires --username to be set");
  return { username, password: options.string("password") };
}

async function passwordFromStdin(): Promise<string> {
  const chunks: Uint8Array[] = [];
  for await (const chunk of readStdin(false)) chunks.push(chunk);
  return Buffer.concat(chunks)
    .toString()
    .replace(/[\r\n]+$/, "");
}

async function askPair(registry: string, known: string): Promise<Pair> {
  const server = registry === HUB ? "" : ` for ${registry}`;
  const questions = [
    ...(known === "" ? [{ text: `Username${server}: ` }] : []),
    { text: `Password${known === "" ? "" : server}: `, secret: true },
  ];
  const answers = await ask(questions);
  const [username, password] = known === "" ? answers : [known, ...answers];
  if (!username) throw new ExitError(1, "Error: Non-null Username Required");
  if (!password) throw new ExitError(1, "Error: Password Required");
  return { username, password };
}

/** The identity token that the registry gives in place of the password, if it does. */
async function login({ engine }: Context, credentials: Credentials): Promise<string | undefined> {
  const answer = await engine().json<{ IdentityToken?: string }>("POST", "/auth", { json: credentials });
  return answer.IdentityToken || undefined;
}

/** Whether what is kept already is good. */
async function takes(context: Context, stored: Credentials): Promise<boolean> {
  await stdout.line(
    `Authenticating with existing credentials...${stored.username ? ` [Username: ${stored.username}]` : ""}`,
  );
  try {
    await login(context, stored);
  } catch (error) {
    if (!isStatus(error, 401)) throw error;
    await stderr.line(`Login did not succeed, error: ${error.message}`);
    return false;
  }
  await stdout.line("Login Succeeded");
  return true;
}
