import { ExitError } from "./command.ts";
import type { ConfigFile, StoredAuth } from "./config-file.ts";

/** Docker Hub in config.json, by its name of old. */
export const HUB = "https://index.docker.io/v1/";

/** What a registry is shown (X-Registry-Auth). */
export interface Credentials {
  username?: string;
  password?: string;
  /** In place of a password. */
  identitytoken?: string;
  registrytoken?: string;
  serveraddress: string;
}

/** The key of an image's registry: its host, or that of Docker Hub. */
export function registryOf(image: string): string {
  const first = image.split("/")[0]!;
  const named = image.includes("/") && (/[.:]/.test(first) || first === "localhost");
  return named ? registryKey(first) : HUB;
}

/** The key of what a user writes for a registry. */
export function registryKey(server: string): string {
  const host = hostOf(server);
  return ["", "docker.io", "index.docker.io", "registry-1.docker.io"].includes(host) ? HUB : host;
}

const hostOf = (key: string) => key.replace(/^https?:\/\//, "").split("/")[0]!;

/** The credentials for a registry, from where config.json says; undefined when there are none. Rejects when a helper fails. */
export async function findCredentials(config: ConfigFile, registry: string): Promise<Credentials | undefined> {
  const stored = fromAuths(environmentAuths(), registry);
  if (stored) return stored;
  const helper = helperFor(config, registry);
  if (helper === undefined) return fromAuths(config.auths ?? {}, registry);
  const { getSecret } = await import("./credential-helper.ts");
  const secret = await getSecret(helper, registry);
  if (!secret) return undefined;
  const { username, secret: password } = secret;
  if (username === "<token>") return { identitytoken: password, serveraddress: registry };
  return { username, password, serveraddress: registry };
}

/** The helper that keeps a registry's credentials; undefined: config.json itself. */
export function helperFor({ credHelpers = {}, credsStore }: ConfigFile, registry: string): string | undefined {
  return credHelpers[registry] ?? credHelpers[hostOf(registry)] ?? (credsStore || undefined);
}

function fromAuths(auths: Record<string, StoredAuth>, registry: string): Credentials | undefined {
  const found = auths[registry] ?? Object.entries(auths).find(([key]) => hostOf(key) === hostOf(registry))?.[1];
  if (!found) return undefined;
  const { auth = "", identitytoken, registrytoken } = found;
  const text = Buffer.from(auth, "base64").toString();
  const colon = text.indexOf(":");
  const credentials: Credentials = { serveraddress: registry };
  if (colon > 0) Object.assign(credentials, { username: text.slice(0, colon), password: text.slice(colon + 1) });
  if (identitytoken) {
    delete credentials.password;
    credentials.identitytoken = identitytoken;
  }
  if (registrytoken) credentials.registrytoken = registrytoken;
  return credentials.username || identitytoken || registrytoken ? credentials : undefined;
}

/** DOCKER_AUTH_CONFIG: a config.json's `auths` in the environment, which comes before the file. */
function environmentAuths(): Record<string, StoredAuth> {
  const text = process.env.DOCKER_AUTH_CONFIG;
  if (!text) return {};
  try {
    return Object((JSON.parse(text) as { auths?: object }).auths) as Record<string, StoredAuth>;
  } catch {
    throw new ExitError(1, "DOCKER_AUTH_CONFIG is not JSON with auths");
  }
}

/** The value of X-Registry-Auth. */
export function registryAuthHeader(credentials: Credentials): string {
  return Buffer.from(JSON.stringify(credentials)).toString("base64url");
}

/** Keeps credentials where config.json says; answers the helper that has them, undefined for the file itself. */
export async function storeCredentials(
  directory: string,
  config: ConfigFile,
  { serveraddress: registry, username = "", password = "", identitytoken }: Credentials,
): Promise<string | undefined> {
  const helper = helperFor(config, registry);
  const { updateConfig } = await import("./config-write.ts");
  if (helper === undefined) {
    const auth = Buffer.from(`${username}:${password}`).toString("base64");
    updateConfig(directory, (file) => {
      const entry = identitytoken ? { auth, identitytoken } : { auth };
      file.auths = { ...(file.auths as object | undefined), [registry]: entry };
    });
    return undefined;
  }
  const { storeSecret } = await import("./credential-helper.ts");
  const secret = identitytoken ? { username: "<token>", secret: identitytoken } : { username, secret: password };
  await storeSecret(helper, registry, secret);
  // Docker notes in the file for which registries there are some.
  updateConfig(directory, (file) => {
    file.auths = { ...(file.auths as object | undefined), [registry]: {} };
  });
  return helper;
}

/** Forgets them in both places; false when there were none. */
export async function eraseCredentials(directory: string, config: ConfigFile, registry: string): Promise<boolean> {
  const keys = Object.keys(config.auths ?? {}).filter((key) => hostOf(key) === hostOf(registry));
  const helper = helperFor(config, registry);
  let found = keys.length > 0;
  if (helper !== undefined) {
    const { eraseSecret, getSecret } = await import("./credential-helper.ts");
    if (await getSecret(helper, registry)) {
      found = true;
      await eraseSecret(helper, registry);
    }
  }
  if (keys.length > 0) {
    const { updateConfig } = await import("./config-write.ts");
    updateConfig(directory, (file) => {
      for (const key of keys) delete (file.auths as Record<string, unknown>)[key];
    });
  }
  return found;
}
