import { readdirSync, readFileSync, statSync } from "node:fs";
import { join } from "node:path";
import { rootCertificates } from "node:tls";
import { codeOf, invalid, messageOf } from "../base/errors.ts";
import type { Registries } from "./endpoint.ts";

/** What a connection to a registry is made with, as fetch takes it: PEM texts. */
export interface Tls {
  ca?: readonly string[];
  cert?: string;
  key?: string;
  rejectUnauthorized?: boolean;
}

const HOST = /^[A-Za-z0-9[][\w.:[\]-]*$/;
const MAX_FILE = 1 << 20;

/**
 * The certificates for a server (`host[:port]`), from the settings and from the first directory `<certs>/<host>/` that is
 * there: `*.crt` are authorities, `*.cert` with `*.key` the client's own (docker's certs.d). Undefined when there are none.
 * Read anew for each operation. Throws invalid for a file that cannot be read, and for a certificate without its key.
 */
export function certificatesOf(host: string, { ca = [], certs = [] }: Registries): Tls | undefined {
  const name = host === "registry-1.docker.io" ? "docker.io" : host;
  const found: { ca: string[]; cert?: string; key?: string } = { ca: [] };
  for (const text of ca) {
    const [, whose, file] = /^(?:([\w.:[\]-]+)=)?(.*)$/s.exec(text)!;
    if (whose === undefined || whose === name) found.ca.push(readText(file!));
  }
  const directory = directoryOf(name, certs);
  if (directory !== undefined) addDirectory(found, directory);
  const { cert, key } = found;
  if (found.ca.length === 0 && cert === undefined) return undefined;
  return {
    ...(found.ca.length > 0 ? { ca: [...rootCertificates, ...found.ca] } : {}),
    ...(cert === undefined ? {} : { cert, key: key! }),
  };
}

/** A registry's directory; containerd writes the port as `host_port_` too. */
export function directoryOf(host: string, certs: readonly string[]): string | undefined {
  // It may come from a redirect.
  if (!HOST.test(host)) return undefined;
  const names = [host, host.replace(/:(\d+)$/, "_$1_")];
  for (const parent of certs) {
    for (const name of names) {
      const directory = join(parent, name);
      if (statSync(directory, { throwIfNoEntry: false })?.isDirectory()) return directory;
    }
  }
  return undefined;
}

function addDirectory(found: { ca: string[]; cert?: string; key?: string }, directory: string): void {
  const names = readdirSync(directory).sort();
  for (const name of names) {
    if (name.endsWith(".crt")) found.ca.push(readText(join(directory, name)));
    if (name.endsWith(".cert")) {
      const key = name.replace(/cert$/, "key");
      if (!names.includes(key)) {
        throw invalid(
          `${directory}: missing key ${key} for client certificate ${name}; CA certificates must use the extension .crt`,
        );
      }
      found.cert ??= readText(join(directory, name));
      found.key ??= readText(join(directory, key));
    }
    if (name.endsWith(".key") && !names.includes(name.replace(/key$/, "cert"))) {
      throw invalid(`${directory}: missing client certificate ${name.replace(/key$/, "cert")} for key ${name}`);
    }
  }
}

/** A small file of the operator's. Throws invalid. */
export function readText(path: string): string {
  try {
    if (statSync(path).size > MAX_FILE) throw invalid(`${path}: larger than ${MAX_FILE} bytes`);
    return readFileSync(path, "utf8");
  } catch (error) {
    if (codeOf(error) === undefined) throw error;
    throw invalid(`read ${path}: ${messageOf(error)}`, error);
  }
}
