import { readFileSync } from "node:fs";
import { invalid, messageOf } from "../../base/errors.ts";
import type { Process } from "../../spec/oci-runtime.ts";
import { readProcess } from "./config.ts";
import { parseJson } from "./json.ts";
import type { Parsed } from "./options.ts";

/**
 * The process that `exec` asks for: that of `--process FILE`, or the container's own with what the flags change. What is
 * wrong with either is an invalid-argument error.
 */
export function execProcessOf(parsed: Parsed, own: Process): Process {
  const { texts, bools } = parsed;
  const file = texts.get("process");
  const process = file === undefined ? ofFlags(parsed, own) : ofFile(file, own);
  // `--tty` on top of a file, as containerd's shim gives it.
  if (bools.has("tty")) process.terminal = true;
  const profile = texts.get("apparmor");
  if (profile !== undefined) process.apparmorProfile = profile;
  const label = texts.get("process-label");
  if (label !== undefined) process.selinuxLabel = label;
  return readProcess(process);
}

/** What a file does not say is the container's, as with runc: above all, its capabilities are not all there are. */
const INHERITED = [
  "capabilities",
  "rlimits",
  "apparmorProfile",
  "selinuxLabel",
  "oomScoreAdj",
  "scheduler",
  "ioPriority",
  "execCPUAffinity",
] as const satisfies readonly (keyof Process)[];

function ofFile(file: string, own: Process): Process {
  let value: unknown;
  try {
    value = parseJson(readFileSync(file, "utf8"));
  } catch (error) {
    throw invalid(`--process ${file}: ${messageOf(error)}`);
  }
  const process = readProcess(value);
  const inherited: Partial<Process> = {};
  for (const name of INHERITED) {
    const value: unknown = process[name];
    const absent = value === undefined || value === "" || (Array.isArray(value) && value.length === 0);
    if (absent && own[name] !== undefined) Object.assign(inherited, { [name]: own[name] });
  }
  return { ...process, ...inherited };
}

function ofFlags(parsed: Parsed, own: Process): Process {
  const { texts, lists, bools, rest } = parsed;
  const args = rest.slice(1);
  if (args.length === 0) throw invalid("process args cannot be empty");
  const user = { ...own.user };
  const wanted = texts.get("user");
  if (wanted !== undefined) {
    // CVE-2016-3697: a number is an id, whoever has it for a name in the container's passwd; a name is the caller's job.
    const match = /^(\d{1,10})(?::(\d{1,10}))?$/.exec(wanted);
    if (!match) throw invalid(`--user ${wanted}: must be UID[:GID], in numbers`);
    user.uid = Number(match[1]);
    if (match[2] !== undefined) user.gid = Number(match[2]);
  }
  const groups = lists.get("additional-gids")?.map((text) => {
    if (!/^\d{1,10}$/.test(text)) throw invalid(`--additional-gids ${text}: must be a number`);
    return Number(text);
  });
  if (groups) user.additionalGids = [...(user.additionalGids ?? []), ...groups];
  const { consoleSize: _, ...rest_ } = own;
  const process: Process = {
    ...rest_,
    args,
    user,
    terminal: bools.has("tty"),
    cwd: texts.get("cwd") ?? own.cwd,
    env: [...(own.env ?? []), ...(lists.get("env") ?? [])],
    noNewPrivileges: bools.has("no-new-privs") || own.noNewPrivileges === true,
  };
  const caps = lists.get("cap");
  if (caps) process.capabilities = withCapabilities(own, caps);
  return process;
}

/**
 * `--cap`. The inheritable set stays as it is: what is raised there, a file with inheritable capabilities gives to whoever
 * executes it (CVE-2022-29162). Ambient ones need it, and so come only where there is one.
 */
function withCapabilities({ capabilities }: Process, caps: readonly string[]): NonNullable<Process["capabilities"]> {
  const plus = (names: readonly string[] | undefined) => [...new Set([...(names ?? []), ...caps])];
  return {
    ...capabilities,
    bounding: plus(capabilities?.bounding),
    effective: plus(capabilities?.effective),
    permitted: plus(capabilities?.permitted),
    ...(capabilities?.inheritable && { ambient: plus(capabilities.ambient) }),
  };
}
