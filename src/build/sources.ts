import { digestOf, type GitVertex, type HttpVertex } from "./graph.ts";
import type { Ops } from "./ops.ts";
import type { OpenContext } from "./roots.ts";
import type { Download, StepContext } from "./step.ts";

/** What was fetched, for the provenance: credentials and queries are no part of a URI. */
export interface Fetched {
  readonly uri: string;
  readonly digest: Readonly<Record<string, string>>;
}

/** Fetches what a build takes from elsewhere, and keeps account of it. */
export class Sources {
  readonly fetched: Fetched[] = [];

  constructor(private readonly ops: Ops) {}

  async http({ url, checksum }: HttpVertex, ctx: StepContext): Promise<Download> {
    const file = await this.ops.fetchUrl(url, checksum ? { checksum } : {}, ctx);
    this.fetched.push({ uri: publicUri(url), digest: { sha256: file.digest.slice("sha256:".length) } });
    return file;
  }

  /** The caller releases it. */
  async git({ reference, keepGitDir, checksum }: GitVertex, ctx: StepContext): Promise<OpenContext> {
    const options = { keepGitDir, ...(checksum ? { checksum } : {}) };
    const { source, commit, release } = await this.ops.fetchGit(reference, options, ctx);
    this.fetched.push({ uri: publicUri(reference), digest: { gitCommit: commit } });
    return { source, identity: digestOf({ git: commit, reference, keepGitDir }), release };
  }
}

/** Without what may be a secret. */
function publicUri(text: string): string {
  const url = URL.parse(text);
  if (!url) return text;
  return `${url.protocol}//${url.host}${url.pathname}${url.hash}`;
}
