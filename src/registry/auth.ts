import { InroError, invalid } from "../base/errors.ts";
import { parseChallenges } from "./challenge.ts";
import { type HttpRequest, label, type Patience, sendPatiently } from "./http.ts";
import { unlessAborted } from "./pause.ts";

/** Credentials as clients send them in X-Registry-Auth. */
export interface RegistryAuth {
  username?: string;
  password?: string;
  serveraddress?: string;
  /** OAuth2 refresh token. */
  identitytoken?: string;
  /** Bearer token, sent as it is. */
  registrytoken?: string;
}

const MAX_AUTH_HEADER = 64 * 1024;
const MAX_TOKEN_ANSWER = 256 * 1024;
const DEFAULT_EXPIRY = 60;

/** Reads an X-Registry-Auth header (base64url of JSON); undefined when it holds no credentials. */
export function parseRegistryAuth(header: string): RegistryAuth | undefined {
  if (header === "") return undefined;
  if (header.length > MAX_AUTH_HEADER) throw invalid("invalid X-Registry-Auth header: too long");
  let value: unknown;
  try {
    value = JSON.parse(Buffer.from(header, "base64url").toString());
  } catch (error) {
    throw invalid("invalid X-Registry-Auth header: not base64url of JSON", error);
  }
  if (typeof value !== "object" || value === null || Array.isArray(value)) {
    throw invalid("invalid X-Registry-Auth header: not an object");
  }
  const fields = value as Record<string, unknown>;
  const auth: RegistryAuth = {};
  for (const name of ["username", "password", "serveraddress", "identitytoken", "registrytoken"] as const) {
    const field = fields[name];
    if (field === undefined || field === null || field === "") continue;
    if (typeof field !== "string") throw invalid(`invalid X-Registry-Auth header: ${name} is not a string`);
    auth[name] = field;
  }
  return auth.username || auth.identitytoken || auth.registrytoken ? auth : undefined;
}

type Bearer = { kind: "bearer"; realm: URL; service: string | undefined; scope: string };
type Scheme = { kind: "basic" } | Bearer;
type Token = { value: string; expires: number };

/**
 * The Authorization header for one repository at one registry: learns the scheme from a 401 and keeps the token until
 * it expires (distribution's token and oauth2 specification). Credentials go to this registry and its token server only.
 */
export class Authorizer {
  private scheme: Scheme | undefined;
  private token: Promise<Token> | undefined;

  constructor(
    private readonly registry: URL,
    private readonly scope: string,
    private readonly auth: RegistryAuth | undefined,
    private readonly patience: Patience,
    private readonly tls?: HttpRequest["tls"],
  ) {}

  /** The header to send now; undefined while nothing was asked for. */
  async header(signal?: AbortSignal): Promise<string | undefined> {
    if (this.auth?.registrytoken) return `Bearer ${this.auth.registrytoken}`;
    if (this.scheme?.kind === "basic") return `Basic ${this.basic()}`;
    if (this.scheme?.kind === "bearer") {
      return `Bearer ${(await unlessAborted(this.bearer(this.scheme), signal)).value}`;
    }
    return undefined;
  }

  /**
   * Takes in the WWW-Authenticate header of a 401. `used` is the Authorization that was refused. True when another try
   * will carry something new.
   */
  async challenged(header: string, used: string | undefined, signal?: AbortSignal): Promise<boolean> {
    if (this.auth?.registrytoken) return false;
    const challenges = parseChallenges(header);
    const bearer = challenges.find((challenge) => challenge.scheme === "bearer");
    if (bearer) {
      const { realm, service, scope } = bearer.params;
      this.scheme = { kind: "bearer", realm: this.realm(realm), service, scope: scope || this.scope };
      if (this.token && used === `Bearer ${(await this.token.catch(() => undefined))?.value}`) this.token = undefined;
    } else if (challenges.some((challenge) => challenge.scheme === "basic") && this.auth?.username) {
      this.scheme = { kind: "basic" };
    } else return false;
    return (await this.header(signal)) !== used;
  }

  private realm(text: string | undefined): URL {
    const url = text === undefined ? null : URL.parse(text);
    if (!url || (url.protocol !== "https:" && url.protocol !== "http:") || url.username) {
      throw new InroError("unavailable", `${this.registry.host}: token realm is not an http address`);
    }
    if (this.registry.protocol === "https:" && url.protocol === "http:") {
      throw new InroError("unavailable", `${this.registry.host}: token realm on plain http (${url.host}) refused`);
    }
    return url;
  }

  private basic(): string {
    return Buffer.from(`${this.auth?.username ?? ""}:${this.auth?.password ?? ""}`).toString("base64");
  }

  private async bearer(scheme: Bearer): Promise<Token> {
    const current = this.token;
    // One request serves all callers, so no caller's signal ends it; a failure is not kept.
    const token = current && (await current.catch(() => undefined));
    if (token && token.expires > Date.now()) return token;
    if (this.token === current || this.token === undefined) this.token = this.fetch(scheme);
    return this.token;
  }

  private async fetch(scheme: Bearer): Promise<Token> {
    const fields = new URLSearchParams();
    if (scheme.service) fields.set("service", scheme.service);
    let request: HttpRequest;
    if (this.auth?.identitytoken) {
      fields.set("scope", scheme.scope);
      fields.set("grant_type", "refresh_token");
      fields.set("refresh_token", this.auth.identitytoken);
      fields.set("client_id", "inro");
      const headers = { "Content-Type": "application/x-www-form-urlencoded", Accept: "application/json" };
      request = { method: "POST", url: scheme.realm, headers, body: fields.toString() };
    } else {
      const url = new URL(scheme.realm);
      for (const [name, value] of fields) url.searchParams.append(name, value);
      // Challenges list several scopes separated by blanks; the GET form repeats the parameter.
      for (const scope of scheme.scope.split(" ").filter(Boolean)) url.searchParams.append("scope", scope);
      const headers: Record<string, string> = { Accept: "application/json" };
      if (this.auth?.username) {
        url.searchParams.append("account", this.auth.username);
        headers.Authorization = `Basic ${this.basic()}`;
      }
      request = { method: "GET", url, headers };
    }
    const answer = await sendPatiently({ ...request, tls: this.tls }, this.patience);
    if (answer.status !== 200) {
      answer.discard();
      const kind =
        answer.status === 401 || answer.status === 403 || answer.status === 400 ? "unauthorized" : "unavailable";
      const why = kind === "unauthorized" ? "incorrect username or password" : `status ${answer.status}`;
      throw new InroError(kind, `unauthorized: ${label(request)}: ${why}`);
    }
    return readToken(await answer.bytes(MAX_TOKEN_ANSWER), label(request));
  }
}

function readToken(body: Buffer, where: string): Token {
  let answer: Record<string, unknown> = {};
  try {
    answer = Object(JSON.parse(body.toString()));
  } catch {}
  const value = answer.token || answer.access_token;
  if (typeof value !== "string" || !/^[\x21-\x7e]+$/.test(value)) {
    throw new InroError("unavailable", `${where}: answer holds no token`);
  }
  const seconds = typeof answer.expires_in === "number" && answer.expires_in > 0 ? answer.expires_in : DEFAULT_EXPIRY;
  // A tenth early, so that it does not expire on its way.
  return { value, expires: Date.now() + seconds * 900 };
}
