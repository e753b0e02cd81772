import { createHash } from "node:crypto";
import { mkdirSync, readdirSync, readFileSync, renameSync, rmSync, writeFileSync } from "node:fs";
import { join } from "node:path";
import { codeOf, invalid, notFound } from "../base/errors.ts";
import { type ClientTls, type Endpoint, parseEndpoint, withTls } from "./endpoint.ts";

/** A context of docker's store: an engine under a name. */
export interface StoredContext {
  name: string;
  description: string;
  /** URL of the engine. */
  host: string;
  skipTlsVerify: boolean;
  /** PEM texts, by their file names: ca.pem, cert.pem, key.pem. */
  tls: TlsTexts;
}

export type TlsTexts = Partial<Record<(typeof TLS_FILES)[number], string>>;
export const TLS_FILES = ["ca.pem", "cert.pem", "key.pem"] as const;

/** The name that is always there: what flags and environment say, else inro's own socket. */
export const DEFAULT_CONTEXT = "default";

const NAME = /^[a-zA-Z0-9][a-zA-Z0-9_.+-]+$/;

/** Throws invalid in docker's words. */
export function checkContextName(name: string): void {
  if (name === "") throw invalid("context name cannot be empty");
  if (name === DEFAULT_CONTEXT) throw invalid(`"default" is a reserved context name`);
  if (!NAME.test(name))
    throw invalid(`context name "${name}" is invalid, names are validated against regexp "${NAME.source}"`);
}

/**
 * Docker's contexts in its configuration directory: `contexts/meta/ID/meta.json` and `contexts/tls/ID/docker/*.pem`, where
 * ID is the sha256 of the name. What others keep in a meta.json stays in it.
 */
export class ContextStore {
  constructor(readonly directory: string) {}

  paths(name: string): { meta: string; tls: string } {
    const id = createHash("sha256").update(name).digest("hex");
    return { meta: join(this.directory, "contexts/meta", id), tls: join(this.directory, "contexts/tls", id) };
  }

  has(name: string): boolean {
    return this.#json(name) !== undefined;
  }

  /** All of them by name, without the default one. A file that cannot be used is an error that names it. */
  list(): StoredContext[] {
    let ids: string[];
    try {
      ids = readdirSync(join(this.directory, "contexts/meta"));
    } catch (error) {
      if (codeOf(error) === "ENOENT") return [];
      throw error;
    }
    const names = ids.flatMap((id) => {
      const json = this.#parse(join(this.directory, "contexts/meta", id, "meta.json"));
      return json ? [String(json.Name)] : [];
    });
    return names.sort().map((name) => this.get(name));
  }

  /** Throws notFound in docker's words. */
  get(name: string): StoredContext {
    const json = this.#json(name);
    if (!json) {
      const file = join(this.paths(name).meta, "meta.json");
      throw notFound(`context "${name}": context not found: open ${file}: no such file or directory`);
    }
    const endpoint = object(object(json.Endpoints).docker);
    return {
      name,
      description: text(object(json.Metadata).Description),
      host: text(endpoint.Host),
      skipTlsVerify: endpoint.SkipTLSVerify === true,
      tls: this.#tls(name),
    };
  }

  /** Writes it whole; a new version of an old one keeps what is not ours. */
  put({ name, description, host, skipTlsVerify, tls }: StoredContext): void {
    const old = this.#json(name) ?? {};
    const metadata = { ...object(old.Metadata) };
    if (description === "") delete metadata.Description;
    else metadata.Description = description;
    const json = {
      ...old,
      Name: name,
      Metadata: metadata,
      Endpoints: { ...object(old.Endpoints), docker: { Host: host, SkipTLSVerify: skipTlsVerify } },
    };
    const paths = this.paths(name);
    rmSync(join(paths.tls, "docker"), { recursive: true, force: true });
    for (const [file, content] of Object.entries(tls)) {
      mkdirSync(join(paths.tls, "docker"), { recursive: true, mode: 0o700 });
      writeFileSync(join(paths.tls, "docker", file), content, { mode: 0o600 });
    }
    mkdirSync(paths.meta, { recursive: true, mode: 0o755 });
    const temporary = join(paths.meta, `meta.json.${process.pid}`);
    writeFileSync(temporary, JSON.stringify(json), { mode: 0o644 });
    renameSync(temporary, join(paths.meta, "meta.json"));
  }

  remove(name: string): void {
    this.get(name);
    const { meta, tls } = this.paths(name);
    rmSync(meta, { recursive: true, force: true });
    rmSync(tls, { recursive: true, force: true });
  }

  #json(name: string): Record<string, unknown> | undefined {
    return this.#parse(join(this.paths(name).meta, "meta.json"));
  }

  #parse(path: string): Record<string, unknown> | undefined {
    let content: string;
    try {
      content = readFileSync(path, "utf8");
    } catch (error) {
      if (codeOf(error) === "ENOENT" || codeOf(error) === "ENOTDIR") return undefined;
      throw error;
    }
    try {
      return object(JSON.parse(content));
    } catch (error) {
      throw invalid(`context: ${path} is not JSON`, error);
    }
  }

  #tls(name: string): TlsTexts {
    const texts: TlsTexts = {};
    for (const file of TLS_FILES) {
      try {
        texts[file] = readFileSync(join(this.paths(name).tls, "docker", file), "utf8");
      } catch (error) {
        if (codeOf(error) !== "ENOENT") throw error;
      }
    }
    return texts;
  }
}

/** Where a context's engine is. Throws invalid for a URL that is none. */
export function endpointOf({ host, skipTlsVerify, tls }: StoredContext): Endpoint {
  const secure = skipTlsVerify || Object.keys(tls).length > 0;
  return withTls(parseEndpoint(host), secure ? clientTls(tls, !skipTlsVerify) : undefined);
}

export function clientTls(texts: TlsTexts, verify: boolean): ClientTls {
  const { "ca.pem": ca, "cert.pem": cert, "key.pem": key } = texts;
  return {
    verify,
    ...(ca === undefined ? {} : { ca }),
    ...(cert === undefined ? {} : { cert }),
    ...(key === undefined ? {} : { key }),
  };
}

function object(value: unknown): Record<string, unknown> {
  return typeof value === "object" && value !== null && !Array.isArray(value) ? (value as Record<string, unknown>) : {};
}

const text = (value: unknown): string => (typeof value === "string" ? value : "");
