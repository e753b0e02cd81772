import { spawn } from "node:child_process";
import { mkdirSync, readlinkSync } from "node:fs";
import { rm } from "node:fs/promises";
import { join } from "node:path";
import { newId } from "../../base/digest.ts";
import { codeOf, InroError, invalid, messageOf, notFound, unavailable } from "../../base/errors.ts";
import { removeInChild } from "../../layers/apply-command.ts";
import * as k from "../../linux/constants.ts";
import { close, openat, openat2 } from "../../linux/file.ts";
import type { FileSource, StepContext } from "../step.ts";
import { type GitReference, parseGitReference } from "./git-reference.ts";
import { headerValue } from "./http.ts";

export interface Checkout {
  readonly source: FileSource;
  /** The commit, whole. */
  readonly commit: string;
  release(): Promise<void>;
}

/**
 * What is in a repository, or in its environment, is a stranger's: no hooks (CVE-2024-32002), no local or external
 * transports (CVE-2022-39253), no file system monitor, no helper that would ask.
 */
const CONFIG: readonly (readonly [string, string])[] = [
  ["core.hooksPath", "/dev/null"],
  ["core.fsmonitor", "false"],
  ["core.askPass", ""],
  ["credential.helper", ""],
  ["protocol.allow", "never"],
  ["protocol.https.allow", "always"],
  ["protocol.http.allow", "always"],
  ["protocol.ssh.allow", "always"],
  ["protocol.git.allow", "always"],
  ["transfer.fsckObjects", "true"],
  ["advice.detachedHead", "false"],
  ["init.defaultBranch", "main"],
  ["gc.auto", "0"],
];
const SSH = "ssh -F /dev/null -o BatchMode=yes -o StrictHostKeyChecking=accept-new -o UserKnownHostsFile=/dev/null";
const MOST_OUTPUT = 64 * 1024;

/**
 * Checks a repository out by the machine's own git: the commit alone where the server allows it, with its submodules.
 * GIT_AUTH_HEADER or GIT_AUTH_TOKEN (with .<host>, for that alone) among the secrets, and the agent `default`, are its
 * credentials. No git is
 * unavailable; what the server has not is notFound. The caller releases it.
 */
export async function fetchGit(
  reference: string,
  options: { keepGitDir: boolean; checksum?: string },
  ctx: StepContext,
): Promise<Checkout> {
  const parsed = parseGitReference(reference);
  const git = Bun.which("git", { PATH: process.env.PATH ?? "" });
  if (!git) throw unavailable("git is not installed: it is needed for git repositories (Debian: apt install git)");
  const id = newId();
  const home = join(ctx.directory, id);
  mkdirSync(join(home, "repository"), { recursive: true, mode: 0o700 });
  const release = () => removeInChild(ctx.directory, [id]);
  try {
    const run = await runner(git, home, parsed, ctx);
    await run(["init", "--quiet", "."]);
    await fetchInto(run, parsed, reference);
    const commit = (await run(["rev-parse", "--verify", "FETCH_HEAD^{commit}"])).trim();
    for (const wanted of [parsed.checksum, options.checksum]) {
      if (wanted !== undefined && !commit.startsWith(wanted)) {
        throw invalid(`git ${reference}: it is at commit ${commit}, and not at ${wanted} as it should be`);
      }
    }
    await run(["checkout", "--quiet", "--detach", commit]);
    if (parsed.submodules !== false) {
      await run(["submodule", "--quiet", "update", "--init", "--recursive", "--depth=1", "--jobs=2"]);
    }
    const repository = join(home, "repository");
    if (!(parsed.keepGitDir ?? options.keepGitDir))
      await rm(join(repository, ".git"), { recursive: true, force: true });
    const path = parsed.subdir === undefined ? repository : directoryIn(repository, parsed.subdir, reference);
    return { source: { kind: "directory", path }, commit, release };
  } catch (error) {
    await release();
    ctx.signal.throwIfAborted();
    throw error;
  }
}

type Run = (args: string[]) => Promise<string>;

async function fetchInto(run: Run, { url, ref = "HEAD" }: GitReference, reference: string): Promise<void> {
  const fetching = ["fetch", "--quiet", "--no-tags", "--force", "--no-recurse-submodules"];
  try {
    await run([...fetching, "--depth=1", "--", url, ref]);
  } catch (shallow) {
    if (codeOf(shallow) === "ENOENT") throw shallow;
    try {
      // A server without depth, or part of a commit's name: everything, then.
      await run([...fetching, "--", url, "+refs/heads/*:refs/remotes/origin/*", "+refs/tags/*:refs/tags/*"]);
      const found = await run(["rev-parse", "--verify", `${ref}^{commit}`]).catch(() =>
        run(["rev-parse", "--verify", `refs/remotes/origin/${ref}^{commit}`]),
      );
      await run(["update-ref", "FETCH_HEAD", found.trim()]);
    } catch {
      throw notFound(`git ${reference}: ${messageOf(shallow)}`, shallow);
    }
  }
}

/** What the secrets say of a server: the whole header, or a token; those of the host alone come first. */
async function authorizationFor(host: string, ctx: StepContext): Promise<string | undefined> {
  for (const of of [`.${host}`, ""]) {
    const header = await ctx.secret(`GIT_AUTH_HEADER${of}`);
    if (header) return headerValue(header);
    const token = await ctx.secret(`GIT_AUTH_TOKEN${of}`);
    if (token) return `basic ${Buffer.from(`x-access-token:${headerValue(token)}`).toString("base64")}`;
  }
  return undefined;
}

/** git in the repository; rejects with what it said. */
async function runner(git: string, home: string, { host, url }: GitReference, ctx: StepContext): Promise<Run> {
  const config = [...CONFIG];
  const origin = URL.parse(url)?.origin;
  const authorization = origin?.startsWith("http") ? await authorizationFor(host, ctx) : undefined;
  if (authorization !== undefined) config.push([`http.${origin}/.extraheader`, `Authorization: ${authorization}`]);
  const agent = await ctx.agent("default");
  const env: Record<string, string> = {
    PATH: process.env.PATH ?? "/usr/bin:/bin",
    HOME: home,
    LANG: "C",
    GIT_CONFIG_NOSYSTEM: "1",
    GIT_CONFIG_GLOBAL: "/dev/null",
    GIT_TERMINAL_PROMPT: "0",
    GIT_SSH_COMMAND: SSH,
    GIT_CONFIG_COUNT: String(config.length),
    ...(agent ? { SSH_AUTH_SOCK: agent } : {}),
  };
  for (const name of ["http_proxy", "https_proxy", "no_proxy", "HTTPS_PROXY", "NO_PROXY", "ALL_PROXY"]) {
    const value = process.env[name];
    if (value) env[name] = value;
  }
  // Not on the command line, where everybody reads it.
  for (const [at, [key, value]] of config.entries()) {
    env[`GIT_CONFIG_KEY_${at}`] = key;
    env[`GIT_CONFIG_VALUE_${at}`] = value;
  }
  return (args) => execute(git, args, join(home, "repository"), env, ctx.signal);
}

function execute(
  git: string,
  args: string[],
  cwd: string,
  env: Record<string, string>,
  signal: AbortSignal,
): Promise<string> {
  signal.throwIfAborted();
  return new Promise((resolve, reject) => {
    // A group of its own: its transports end with it.
    const child = spawn(git, args, { cwd, env, stdio: ["ignore", "pipe", "pipe"], detached: true });
    const kill = () => {
      try {
        process.kill(-child.pid!, "SIGKILL");
      } catch {
        // It has ended.
      }
    };
    signal.addEventListener("abort", kill);
    let [out, said] = ["", ""];
    child.stdout.setEncoding("utf8").on("data", (text: string) => {
      out = (out + text).slice(0, MOST_OUTPUT);
    });
    child.stderr.setEncoding("utf8").on("data", (text: string) => {
      said = (said + text).slice(-MOST_OUTPUT);
    });
    child.on("error", (error) => reject(unavailable(`start git: ${messageOf(error)}`, error)));
    child.on("close", (code) => {
      signal.removeEventListener("abort", kill);
      if (signal.aborted) reject(signal.reason);
      else if (code === 0) resolve(out);
      else reject(new InroError("invalid", `git ${args[0]}: ${said.trim().slice(-1000) || `exit code ${code}`}`));
    });
  });
}

/** A directory of a checkout, whatever symlinks the repository has: never one elsewhere. */
function directoryIn(repository: string, subdir: string, reference: string): string {
  const root = openat(k.AT_FDCWD, repository, k.O_PATH | k.O_DIRECTORY);
  try {
    const fd = openat2(root, subdir, k.O_PATH | k.O_DIRECTORY, 0, k.RESOLVE_BENEATH | k.RESOLVE_NO_SYMLINKS);
    try {
      return readlinkSync(`/proc/self/fd/${fd}`);
    } finally {
      close(fd);
    }
  } catch (error) {
    throw notFound(`git ${reference}: no directory ${JSON.stringify(subdir)} in it: ${codeOf(error)}`, error);
  } finally {
    close(root);
  }
}
