import { readTar, type TarMember, writeTar } from "../../archive/tar.ts";
import { invalid, messageOf } from "../../base/errors.ts";
import type { StoredContext, TlsTexts } from "../../client/contexts.ts";
import { TLS_FILES } from "../../client/contexts.ts";

/** A context holds three certificates; more than this is none. */
const MOST_BYTES = 1 << 20;
const BLOCK = 512;

/** The tar that docker's `context export` makes: meta.json, and TLS material below tls/docker. */
export function packContext({ name, description, host, skipTlsVerify, tls }: StoredContext): AsyncIterable<Uint8Array> {
  const meta = {
    Name: name,
    Metadata: description === "" ? {} : { Description: description },
    Endpoints: { docker: { Host: host, SkipTLSVerify: skipTlsVerify } },
  };
  const owned = { uid: 0, gid: 0, mtime: 0n } as const;
  const file = (name: string, text: string, mode: number): TarMember => {
    const data = Buffer.from(text);
    return { header: { name, type: "file", mode, size: data.length, ...owned }, body: [data] };
  };
  const directory = (name: string): TarMember => ({
    header: { name: `${name}/`, type: "directory", mode: 0o700, size: 0, ...owned },
  });
  const files = Object.entries(tls).map(([name, text]) => file(`tls/docker/${name}`, text, 0o600));
  return writeTar([
    file("meta.json", JSON.stringify(meta), 0o644),
    directory("tls"),
    ...(files.length > 0 ? [directory("tls/docker"), ...files] : []),
  ]);
}

/** Reads such a tar from anywhere. Nothing of it becomes a path; what docker's has not is invalid. */
export async function unpackContext(source: AsyncIterable<Uint8Array>): Promise<Omit<StoredContext, "name">> {
  let meta: Record<string, unknown> | undefined;
  const tls: TlsTexts = {};
  for await (const { name, type, body } of readTar(bounded(source))) {
    const path = Buffer.from(name).toString().replace(/^\.\//, "").replace(/\/$/, "");
    if (type === "directory" && (path === "tls" || path === "tls/docker")) continue;
    const pem = TLS_FILES.find((one) => path === `tls/docker/${one}`);
    if (type !== "file" || (path !== "meta.json" && !pem)) {
      throw invalid(`invalid context: ${JSON.stringify(path.slice(0, 100))} does not belong into one`);
    }
    const chunks: Uint8Array[] = [];
    for await (const chunk of body) chunks.push(chunk);
    const text = Buffer.concat(chunks).toString();
    if (pem) tls[pem] = text;
    else meta = parse(text);
  }
  if (!meta) throw invalid("invalid context: no meta.json in it");
  const { Metadata, Endpoints } = meta as { Metadata?: { Description?: unknown }; Endpoints?: { docker?: unknown } };
  const endpoint = (Endpoints?.docker ?? {}) as { Host?: unknown; SkipTLSVerify?: unknown };
  if (typeof endpoint.Host !== "string") throw invalid("invalid context: no docker endpoint in its meta.json");
  const description = typeof Metadata?.Description === "string" ? Metadata.Description : "";
  return { description, host: endpoint.Host, skipTlsVerify: endpoint.SkipTLSVerify === true, tls };
}

function parse(text: string): Record<string, unknown> {
  try {
    return Object(JSON.parse(text)) as Record<string, unknown>;
  } catch (error) {
    throw invalid(`invalid context: meta.json: ${messageOf(error)}`, error);
  }
}

async function* bounded(source: AsyncIterable<Uint8Array>): AsyncGenerator<Uint8Array> {
  let size = 0;
  for await (const chunk of source) {
    size += chunk.length;
    if (size > MOST_BYTES) throw invalid(`invalid context: over ${MOST_BYTES} bytes`);
    yield chunk;
  }
  // Docker's own ends with the last byte of the last file.
  yield new Uint8Array(((BLOCK - (size % BLOCK)) % BLOCK) + 2 * BLOCK);
}
