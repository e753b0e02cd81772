import { type CopyDefinition, type GitVertex, type HttpVertex, vertex } from "../graph.ts";
import { gitReference, isUrl } from "./remote.ts";

/** Of ADD's sources those that are fetched, as items, and the `paths` that are not. */
export function fetched(
  sources: readonly string[],
  { keepGitDir, checksum }: { keepGitDir?: boolean | undefined; checksum?: string | undefined },
  noCache: boolean,
): { items: CopyDefinition[]; paths: string[] } {
  const items: CopyDefinition[] = [];
  const paths: string[] = [];
  const common = { ...(checksum ? { checksum } : {}), noCache };
  for (const source of sources) {
    if (gitReference(source)) {
      const from = vertex<GitVertex>({
        kind: "git",
        name: `[internal] git source ${source}`,
        reference: source,
        keepGitDir: keepGitDir ?? false,
        ...common,
      });
      items.push({ kind: "files", from, paths: ["/"] });
    } else if (isUrl(source)) {
      const from = vertex<HttpVertex>({ kind: "http", name: source, url: source, ...common });
      items.push({ kind: "download", from });
    } else paths.push(source);
  }
  return { items, paths };
}
