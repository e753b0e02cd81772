// Runs a script of this checkout with its Bun: `node build/bun.mjs SCRIPT ARG...`. Plain Node, since whether npm lets
// install scripts run decides where the runtime lies.
import { spawn, spawnSync } from "node:child_process";
import { existsSync, readdirSync } from "node:fs";
import { dirname, join } from "node:path";
import { fileURLToPath } from "node:url";

const top = dirname(dirname(fileURLToPath(import.meta.url)));

/** Path of the Bun that runs on this machine; undefined where npm has not installed one. */
export function findBun() {
  const root = join(top, "node_modules/@oven");
  const platform = existsSync(root) ? readdirSync(root).map((name) => join(root, name, "bin/bun")) : [];
  return [join(top, "node_modules/bun/bin/bun.exe"), ...platform].find(
    (path) => existsSync(path) && spawnSync(path, ["--version"]).status === 0,
  );
}

if (process.argv[1] === fileURLToPath(import.meta.url)) {
  const bun = findBun();
  if (!bun) {
    console.error("there is no Bun for this machine: run npm ci first");
    process.exit(1);
  }
  const child = spawn(bun, process.argv.slice(2), { stdio: "inherit" });
  for (const signal of ["SIGINT", "SIGTERM", "SIGHUP"]) process.on(signal, () => child.kill(signal));
  child.on("close", (code) => process.exit(code ?? 1));
}
