import { invalid, messageOf } from "../base/errors.ts";
import { didYouMean } from "../base/nearest.ts";
import { inUserNamespace } from "../linux/rights.ts";
import { begin, Declined } from "./oci/behalf.ts";
import { COMMANDS, type Globals, print } from "./oci/commands.ts";
import { type Log, openLog, writeLog } from "./oci/log.ts";
import { type Flags, parseFlags } from "./oci/options.ts";
import { VERSION } from "./oci/version.ts";

const GLOBAL_FLAGS: Flags = {
  debug: "bool",
  log: "text",
  "log-format": "text",
  root: "text",
  "systemd-cgroup": "bool",
  rootless: "text",
  "help,h": "bool",
  "version,v": "bool",
};

/** `exec` keeps 1 for the command it runs. */
const EXEC_FAILED = 255;

/**
 * The OCI runtime's command line, runc's (runc(8)). Exit status: 0; 1 for an error; that of the container or the
 * process for `run` and `exec` in the foreground; 255 for an `exec` that could not be done. An error goes to stderr,
 * and as one line to `--log`. On another's behalf it may be {@link Declined} instead.
 */
export async function main(argv: string[]): Promise<number> {
  const log: Log = { path: undefined, format: "text", debug: false };
  let name: string | undefined;
  try {
    const parsed = parseFlags(argv, GLOBAL_FLAGS, true);
    log.debug = parsed.bools.has("debug");
    const format = parsed.texts.get("log-format") ?? "text";
    if (format !== "text" && format !== "json") throw invalid(`unknown log-format ${JSON.stringify(format)}`);
    log.format = format;
    const path = parsed.texts.get("log");
    if (path !== undefined) openLog(log, path);
    name = parsed.rest[0];
    const brief = name !== undefined && Object.hasOwn(COMMANDS, name) && COMMANDS[name]!.brief === true;
    if (!brief || parsed.bools.size > 0) begin(false);
    if (parsed.bools.has("version")) {
      print(VERSION);
      return 0;
    }
    if (name === undefined || name === "help" || name === "h" || parsed.bools.has("help")) {
      const { commandHelp, generalHelp } = await import("./oci/help.ts");
      const asked = parsed.rest[1];
      if (asked !== undefined && !Object.hasOwn(COMMANDS, asked)) throw unknownCommand(asked);
      print(asked === undefined ? generalHelp() : commandHelp(asked));
      return 0;
    }
    const command = Object.hasOwn(COMMANDS, name) ? COMMANDS[name] : undefined;
    if (!command) throw unknownCommand(name);
    const args = parseFlags(parsed.rest.slice(1), { ...command.flags, "help,h": "bool" }, command.stopEarly === true);
    if (args.bools.has("help")) {
      begin(false);
      print((await import("./oci/help.ts")).commandHelp(name));
      return 0;
    }
    const [min, max] = command.args;
    if (args.rest.length < min || args.rest.length > max) {
      const wanted =
        min === max ? `exactly ${min}` : max === Number.POSITIVE_INFINITY ? `at least ${min}` : `${min} to ${max}`;
      throw invalid(
        `${name}: wants ${wanted} argument${min === 1 && max === 1 ? "" : "s"}, has ${args.rest.length}; usage: ${command.usage}`,
      );
    }
    const rootless = parsed.texts.get("rootless") ?? "auto";
    if (!["true", "false", "auto"].includes(rootless))
      throw invalid(`--rootless: ${JSON.stringify(rootless)} is not true, false or auto`);
    const globals: Globals = {
      // Only commands with a container need it.
      get root() {
        return rootOf(parsed.texts.get("root"));
      },
      rootless: rootless === "auto" ? undefined : rootless === "true",
      rootGiven: parsed.texts.has("root"),
      systemd: parsed.bools.has("systemd-cgroup"),
      log,
      warn(message) {
        begin(false);
        writeLog(log, "warning", message);
      },
    };
    writeLog(log, "debug", `${name} ${args.rest.join(" ")}: pid ${process.pid}, euid ${process.geteuid?.()}`);
    return await command.run(globals, args);
  } catch (error) {
    if (error instanceof Declined) throw error;
    begin(false);
    writeLog(log, "error", messageOf(error));
    if (log.debug && error instanceof Error) writeLog(log, "debug", error.stack ?? "");
    return name === "exec" ? EXEC_FAILED : 1;
  }
}

function rootOf(given: string | undefined): string {
  if (given !== undefined) {
    if (given === "" || given === "/") throw invalid(`--root: ${JSON.stringify(given)} is no directory for state`);
    return given.startsWith("/") ? given : `${process.cwd()}/${given}`;
  }
  const run = process.env.XDG_RUNTIME_DIR;
  const plain = process.geteuid?.() !== 0;
  if (run && (plain || (process.env.USER !== "root" && inUserNamespace()))) {
    if (!run.startsWith("/")) throw invalid(`XDG_RUNTIME_DIR: ${JSON.stringify(run)} is no absolute path`);
    return `${run}/inro-runtime`;
  }
  if (plain) {
    throw invalid(
      "XDG_RUNTIME_DIR is not set, and the state of a plain user's containers goes there: set it, or give --root DIR",
    );
  }
  return "/run/inro-runtime";
}

function unknownCommand(name: string): Error {
  return invalid(`no such command: ${name}${didYouMean(name, Object.keys(COMMANDS))}`);
}
