import { createHash } from "node:crypto";
import { open, rm } from "node:fs/promises";
import { join } from "node:path";
import { newId, parseDigest } from "../../base/digest.ts";
import { invalid, notFound, unavailable } from "../../base/errors.ts";
import { type HttpAnswer, label, PATIENCE, sendPatiently } from "../../registry/http.ts";
import type { Download, StepContext } from "../step.ts";

const LARGEST = 64 * 2 ** 30;
const LONGEST_NAME = 255;

/**
 * ADD of a URL: at most 10 redirects, never from https to http, at most 64 GiB. The secret HTTP_AUTH_HEADER_<host> or
 * HTTP_AUTH_TOKEN_<host> is for that host alone, where the URL has no user. `checksum` is what it must hash to. A
 * server that has it not is notFound, one that does not answer unavailable, anything else invalid; then nothing is left.
 */
export async function fetchUrl(url: string, { checksum }: { checksum?: string }, ctx: StepContext): Promise<Download> {
  const target = URL.parse(url);
  if (!target || !/^https?:$/.test(target.protocol)) throw invalid(`ADD ${url.slice(0, 200)}: no http or https URL`);
  if (checksum !== undefined) parseDigest(checksum);
  const headers = takeCredentials(target);
  const authorization = headers.Authorization ?? (await authorizationFor(target.hostname, ctx));
  if (authorization !== undefined) headers.Authorization = authorization;
  const request = { method: "GET", url: target, headers, signal: ctx.signal } as const;
  const answer = await sendPatiently(request, PATIENCE);
  if (answer.status !== 200) {
    answer.discard();
    const text = `ADD ${label(request)}: the server answered ${answer.status}`;
    throw answer.status === 404 || answer.status === 410
      ? notFound(text)
      : answer.status >= 500
        ? unavailable(text)
        : invalid(text);
  }
  const path = join(ctx.directory, `download-${newId()}`);
  try {
    const digest = await save(answer, path, label(request));
    if (checksum !== undefined && digest !== checksum) {
      throw invalid(`ADD ${label(request)}: its digest is ${digest}, --checksum says ${checksum}`);
    }
    ctx.hold.blob(digest);
    await ctx.content.adopt(path, digest);
    const modified = Date.parse(answer.header("Last-Modified") ?? "");
    const etag = answer.header("ETag");
    return {
      digest,
      path: ctx.content.path(digest),
      name: nameOf(target, answer.header("Content-Disposition")),
      ...(Number.isNaN(modified) ? {} : { mtime: Math.floor(modified / 1000) }),
      ...(etag ? { etag } : {}),
    };
  } finally {
    await rm(path, { force: true });
  }
}

/** What the URL says of its user goes into a header, and out of whatever names the URL. */
function takeCredentials(target: URL): Record<string, string> {
  const given = [target.username, target.password];
  target.username = "";
  target.password = "";
  if (given[0] === "") return {};
  let pair: string;
  try {
    pair = given.map(decodeURIComponent).join(":");
  } catch {
    throw invalid(`ADD ${target}: its user or password has a % that begins no escape`);
  }
  return { Authorization: `Basic ${Buffer.from(pair).toString("base64")}` };
}

async function authorizationFor(host: string, ctx: StepContext): Promise<string | undefined> {
  const header = await ctx.secret(`HTTP_AUTH_HEADER_${host}`);
  if (header) return headerValue(header);
  const token = await ctx.secret(`HTTP_AUTH_TOKEN_${host}`);
  return token ? `Bearer ${headerValue(token)}` : undefined;
}

/** A secret as part of a header: it has one line. Errors are invalid, without what it says. */
export function headerValue(secret: Uint8Array): string {
  const text = Buffer.from(secret).toString().trim();
  // biome-ignore lint/suspicious/noControlCharactersInRegex: those are what would begin another header
  if (/[\x00-\x1f\x7f]/.test(text)) throw invalid("a secret for an Authorization header has more than one line");
  return text;
}

async function save(answer: HttpAnswer, path: string, what: string): Promise<string> {
  const hash = createHash("sha256");
  const file = await open(path, "wx", 0o600);
  let size = 0;
  try {
    for await (const chunk of answer.chunks()) {
      size += chunk.length;
      if (size > LARGEST) throw invalid(`ADD ${what}: more than ${LARGEST} bytes`);
      hash.update(chunk);
      await file.writeFile(chunk);
    }
  } finally {
    await file.close();
  }
  const expected = answer.header("Content-Length");
  if (expected !== undefined && Number(expected) !== size) {
    throw unavailable(`ADD ${what}: ${size} bytes came, ${expected} were promised`);
  }
  return `sha256:${hash.digest("hex")}`;
}

/** The server's word for it, then the URL's; never a path. */
export function nameOf(url: URL, disposition: string | undefined): string {
  const [, quoted, plain] = /;\s*filename\s*=\s*(?:"((?:[^"\\]|\\.)*)"|([^\s;]+))/i.exec(disposition ?? "") ?? [];
  const given = quoted?.replace(/\\(.)/g, "$1") ?? plain;
  for (const candidate of [given, decoded(url.pathname)]) {
    const name = candidate?.split(/[/\\]/).at(-1) ?? "";
    if (
      name !== "" &&
      name !== "." &&
      name !== ".." &&
      !name.includes("\0") &&
      Buffer.byteLength(name) <= LONGEST_NAME
    ) {
      return name;
    }
  }
  return "download";
}

function decoded(path: string): string {
  try {
    return decodeURIComponent(path);
  } catch {
    return path;
  }
}
