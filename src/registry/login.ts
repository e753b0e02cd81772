import { InroError, invalid } from "../base/errors.ts";
import { Authorizer, type RegistryAuth } from "./auth.ts";
import { originOf, type Registries } from "./endpoint.ts";
import { PATIENCE, send } from "./http.ts";

/** Whoever logs in waits for the answer. */
const HASTY = { ...PATIENCE, attempts: 1, idle: 15_000 };

/**
 * Asks a registry whether it takes these credentials (distribution-spec, "Determining Support": GET /v2/). One that asks
 * for none takes all, as in docker. Rejects with unauthorized in docker's words, or unavailable.
 */
export async function checkCredentials(
  auth: RegistryAuth,
  registries: Registries,
  signal?: AbortSignal,
): Promise<void> {
  const { base, whole, tls } = originOf(registryDomain(auth.serveraddress ?? ""), registries);
  const url = new URL(`${base}${whole ? "" : "/v2"}/`);
  const authorizer = new Authorizer(new URL(base), "", auth, HASTY, tls);
  const ask = async (authorization?: string) => {
    const headers: Record<string, string> = authorization === undefined ? {} : { Authorization: authorization };
    const answer = await send({ method: "GET", url, headers, signal, tls }, HASTY.idle);
    answer.discard();
    return answer;
  };
  const failed = (status: number) => {
    const kind = status === 401 ? "unauthorized" : status === 403 ? "forbidden" : "unavailable";
    const words: Record<number, string> = { 401: " Unauthorized", 403: " Forbidden", 404: " Not Found" };
    return new InroError(kind, `login attempt to ${url} failed with status: ${status}${words[status] ?? ""}`);
  };
  const first = await ask();
  if (first.status === 200) return;
  // CVE-2020-15157: not a server that the registry redirects to.
  const challenge = first.request.url.origin === url.origin ? first.header("WWW-Authenticate") : undefined;
  if (first.status !== 401 || challenge === undefined) throw failed(first.status);
  if (!(await authorizer.challenged(challenge, undefined, signal))) throw failed(401);
  const second = await ask(await authorizer.header(signal));
  if (second.status !== 200) throw failed(second.status);
}

/** The domain of a reference that a server address stands for: scheme, path and the Hub's old names fall away. */
export function registryDomain(address: string): string {
  const host = address.replace(/^https?:\/\//, "").split("/")[0]!;
  if (["", "index.docker.io", "registry-1.docker.io", "docker.io"].includes(host)) return "docker.io";
  if (!/^[\w.:[\]-]+$/.test(host)) throw invalid(`invalid registry address ${JSON.stringify(address.slice(0, 200))}`);
  return host;
}
