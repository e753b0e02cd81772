import { invalid } from "../../base/errors.ts";
import { nearest } from "../../base/nearest.ts";

/** A git context or ADD source, taken apart. */
export interface GitReference {
  /** What `git fetch` takes. */
  readonly url: string;
  readonly host: string;
  /** Branch, tag, commit or `refs/…`; undefined is the repository's HEAD. */
  readonly ref?: string;
  /** Relative, without `..`. */
  readonly subdir?: string;
  /** A commit, or how it begins. */
  readonly checksum?: string;
  readonly keepGitDir?: boolean;
  readonly submodules?: boolean;
}

const KEYS = [
  ...["ref", "tag", "branch", "subdir", "commit", "checksum", "keep-git-dir", "submodules", "mtime", "fetch-by-commit"],
];
const REF = /^[A-Za-z0-9_][^\s~^:?*[\\\0]{0,254}$/;
const COMMIT = /^[0-9a-f]{7,64}$/;

/**
 * `URL[#ref[:subdir]]` or `URL?ref=…&subdir=…` (docs.docker.com/build/concepts/context, "Git repositories"). Nothing in it
 * can be taken for an option of git or ssh (CVE-2017-1000117). Errors are invalid.
 */
export function parseGitReference(text: string): GitReference {
  const wrong = (what: string) => invalid(`git ${JSON.stringify(text.slice(0, 300))}: ${what}`);
  const hash = text.indexOf("#");
  const fragment = hash < 0 ? "" : text.slice(hash + 1);
  const [whole, query = ""] = split(hash < 0 ? text : text.slice(0, hash), "?");
  const { url, host } = addressOf(whole) ?? {};
  if (url === undefined || host === undefined) throw wrong("no address of a repository");
  if (host.startsWith("-") || /[\s\0]/.test(whole)) throw wrong("its host is none");
  const given = new URLSearchParams(query);
  for (const key of given.keys()) {
    if (KEYS.includes(key)) continue;
    const near = nearest(key, KEYS);
    throw wrong(`unknown key ${JSON.stringify(key.slice(0, 50))}${near ? `: did you mean ${near}?` : ""}`);
  }
  if (query !== "" && fragment !== "") throw wrong("either a fragment or a query says what is wanted");
  const [fragmentRef, fragmentDir] = split(fragment, ":");
  const refs = ["ref", "tag", "branch"].filter((key) => given.get(key));
  if (refs.length > 1) throw wrong(`${refs.join(" and ")} say both what is wanted`);
  const named = given.get(refs[0] ?? "ref") || fragmentRef;
  const prefix = refs[0] === "tag" ? "refs/tags/" : refs[0] === "branch" ? "refs/heads/" : "";
  const checksum = given.get("checksum") ?? given.get("commit") ?? undefined;
  if (checksum !== undefined && !COMMIT.test(checksum)) throw wrong("checksum is no commit");
  if ((given.get("mtime") ?? "checkout") !== "checkout") throw wrong("mtime is not supported but for checkout");
  const byCommit = flag(given.get("fetch-by-commit"), wrong) ?? false;
  if (byCommit && checksum === undefined) throw wrong("fetch-by-commit needs a commit");
  const ref = named && !byCommit ? prefix + named : checksum;
  if (ref && (!REF.test(ref) || ref.includes("..") || ref.endsWith(".lock"))) throw wrong("its ref is none");
  const subdir = (given.get("subdir") ?? fragmentDir ?? "").replace(/^\/+|\/+$/g, "");
  if (subdir.split("/").includes("..")) throw wrong("its directory leads out of the repository");
  const keep = flag(given.get("keep-git-dir"), wrong);
  const submodules = flag(given.get("submodules"), wrong);
  return {
    url,
    host,
    ...(ref ? { ref } : {}),
    ...(subdir ? { subdir } : {}),
    ...(checksum ? { checksum } : {}),
    ...(keep === undefined ? {} : { keepGitDir: keep }),
    ...(submodules === undefined ? {} : { submodules }),
  };
}

function flag(text: string | null, wrong: (what: string) => Error): boolean | undefined {
  if (text === null) return undefined;
  if (/^(?:1|true)$/i.test(text) || text === "") return true;
  if (/^(?:0|false)$/i.test(text)) return false;
  throw wrong(`${JSON.stringify(text.slice(0, 50))} is neither true nor false`);
}

function addressOf(text: string): { url: string; host: string } | undefined {
  const scp = /^([A-Za-z0-9_.-]+@)([A-Za-z0-9_.-]+):(?!\/\/)(.+)$/.exec(text);
  if (scp) return { url: text, host: scp[2]! };
  const bare = /^(?:github\.com|gitlab\.com|bitbucket\.org)\//.test(text) ? `https://${text}` : text;
  const url = URL.parse(bare);
  if (!url || !/^(?:https?|ssh|git):$/.test(url.protocol) || url.hostname === "") return undefined;
  return { url: bare, host: url.hostname };
}

function split(text: string, by: string): [string, string | undefined] {
  const at = text.indexOf(by);
  return at < 0 ? [text, undefined] : [text.slice(0, at), text.slice(at + 1)];
}
