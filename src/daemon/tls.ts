import { readFileSync, statSync } from "node:fs";
import { codeOf, invalid } from "../base/errors.ts";

/** PEM files: the authority that signs clients' certificates, and the engine's own certificate and key. */
export interface TlsFiles {
  ca: string;
  cert: string;
  key: string;
}

/** Their content, for tls.createServer. Throws invalid for what cannot be read, and for a key that others can read. */
export function readTlsFiles(files: TlsFiles): Record<keyof TlsFiles, Buffer> {
  const read = (what: string, path: string) => {
    try {
      return readFileSync(path);
    } catch (error) {
      throw invalid(`serve: ${what} ${path}: ${codeOf(error)}`, error);
    }
  };
  const key = read("tlskey", files.key);
  if (statSync(files.key).mode & 0o007)
    throw invalid(`serve: tlskey ${files.key}: everybody may read or write it: chmod 600`);
  return { ca: read("tlscacert", files.ca), cert: read("tlscert", files.cert), key };
}
