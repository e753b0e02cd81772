// `npm test`: installs what is missing, then runs everything. Plain Node, since nothing else is there yet.
import { spawn, spawnSync } from "node:child_process";
import { existsSync, readdirSync } from "node:fs";
import { dirname, join } from "node:path";
import { fileURLToPath } from "node:url";

const top = dirname(dirname(fileURLToPath(import.meta.url)));
const run = (command, args, options = {}) => spawnSync(command, args, { cwd: top, encoding: "utf8", ...options });
const say = (line) => process.stdout.write(`${line}\n`);

function need(what, ok, install) {
  if (ok()) return;
  process.stdout.write(`installing ${what} ... `);
  const { status, stdout, stderr } = install();
  say(status === 0 && ok() ? "done" : "failed; the tests that need it say so");
  if (status !== 0) say(`${stdout}${stderr}`.trim().split("\n").slice(-5).join("\n"));
}

/** Whether npm lets install scripts run decides where the runtime lies. */
function bun() {
  const root = join(top, "node_modules/@oven");
  const platform = existsSync(root) ? readdirSync(root).map((name) => join(root, name, "bin/bun")) : [];
  return [join(top, "node_modules/bun/bin/bun.exe"), ...platform].find(
    (path) => existsSync(path) && run(path, ["--version"]).status === 0,
  );
}

need(
  "npm packages",
  () => bun() !== undefined && existsSync(join(top, "node_modules/typescript")),
  () => run("npm", ["ci", "--ignore-scripts", "--no-audit", "--no-fund"]),
);
const runtime = bun();
if (!runtime) {
  say("there is no Bun for this machine");
  say("0 passed, 1 failed");
  process.exit(1);
}

const debian = { "busybox-static": "/bin/busybox", "docker-registry": "/usr/bin/docker-registry" };
const optional = { "qemu-user-static": "/usr/bin/qemu-aarch64-static" };
if (process.getuid?.() === 0 && existsSync("/usr/bin/apt-get")) {
  const missing = Object.entries({ ...debian, ...optional }).filter(([, path]) => !existsSync(path));
  if (missing.length > 0) {
    const names = missing.map(([name]) => name);
    need(
      `Debian packages ${names.join(" ")}`,
      () => missing.every(([, path]) => existsSync(path)),
      () => {
        const env = { ...process.env, DEBIAN_FRONTEND: "noninteractive" };
        run("apt-get", ["update", "-qq"], { env });
        return run("apt-get", ["install", "-y", "-qq", "--no-install-recommends", ...names], { env });
      },
    );
  }
}

let failed = 0;
for (const [what, command] of [
  ["types", [join(top, "node_modules/.bin/tsc"), "--noEmit"]],
  ["format and lint", [join(top, "node_modules/.bin/biome"), "ci", "--diagnostic-level=error", "."]],
]) {
  const { status, stdout, stderr } = run(process.execPath, command);
  say(`${status === 0 ? "ok" : "FAILED"}  ${what}`);
  if (status !== 0) {
    failed++;
    say(`${stdout}${stderr}`.trim());
  }
}

// The children of a test that times out are ended by Bun, so the time-out is for a test that hangs, not for a slow one.
const child = spawn(runtime, ["test", "--timeout", "120000", ...process.argv.slice(2)], {
  cwd: top,
  stdio: ["ignore", "pipe", "pipe"],
});
const tally = { pass: 2 - failed, fail: failed, skip: 0 };
let tail = "";
for (const stream of [child.stdout, child.stderr]) {
  stream.on("data", (data) => {
    process.stdout.write(data);
    tail = (tail + data).slice(-4000);
  });
}
child.on("close", (code) => {
  for (const name of Object.keys(tally))
    tally[name] += Number(new RegExp(`^ *(\\d+) ${name}`, "m").exec(tail)?.[1] ?? 0);
  // A run that broke off without its totals is a failure, whatever it counted.
  if (code !== 0 && tally.fail === 0) tally.fail = 1;
  say(`${tally.pass} passed, ${tally.fail} failed${tally.skip ? `, ${tally.skip} skipped` : ""}`);
  process.exit(tally.fail === 0 ? 0 : 1);
});
