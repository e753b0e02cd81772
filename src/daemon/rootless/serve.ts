import type { ServeOptions } from "../../cli/command.ts";
import { defaultConfigFile, merged, readConfigFile } from "../config-file.ts";
import { planDoors } from "../doors.ts";
import { readSettings } from "../settings.ts";
import { enterNamespaces } from "./enter.ts";

/**
 * `inro serve` of a plain user: checks the settings, enters that user's namespaces and starts anew, so it does not return
 * unless there is nothing to do. Loads as little as it can, since all of it is loaded twice.
 */
export function serveRootless({ configFile, settings, validate }: ServeOptions): void {
  const path = configFile ?? defaultConfigFile();
  const file = readConfigFile(path, configFile !== undefined);
  const { execRoot } = planDoors(readSettings(merged(file, settings, path)));
  if (!validate)
    enterNamespaces(execRoot, (line) => void process.stderr.write(`${new Date().toISOString()} ${line}\n`));
}
