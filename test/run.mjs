// `npm test`: installs what is missing, then runs everything. Plain Node, since nothing else is there yet.
import { spawn, spawnSync } from "node:child_process";
import { existsSync, rmSync, writeFileSync } from "node:fs";
import { dirname, join } from "node:path";
import { createInterface } from "node:readline";
import { fileURLToPath } from "node:url";
import { findBun } from "../build/bun.mjs";

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

need(
  "npm packages",
  () =>
    findBun() !== undefined &&
    ["typescript", "testcontainers"].every((name) => existsSync(join(top, "node_modules", name))),
  () => run("npm", ["ci", "--ignore-scripts", "--no-audit", "--no-fund"]),
);
const runtime = findBun();
if (!runtime) {
  say("there is no Bun for this machine");
  say("0 passed, 1 failed");
  process.exit(1);
}

const debian = { "busybox-static": "/bin/busybox", "docker-registry": "/usr/bin/docker-registry" };
// Engines and runtimes that are compared with, or call ours.
const optional = {
  "qemu-user-static": "/usr/bin/qemu-aarch64-static",
  crun: "/usr/bin/crun",
  runc: "/usr/sbin/runc",
  podman: "/usr/bin/podman",
  containerd: "/usr/bin/containerd",
  "docker.io": "/usr/sbin/dockerd",
  criu: "/usr/sbin/criu",
  uidmap: "/usr/bin/newuidmap",
  iptables: "/usr/sbin/iptables-nft",
  "python3-docker": "/usr/lib/python3/dist-packages/docker/__init__.py",
  xfsprogs: "/usr/sbin/mkfs.xfs",
};
if (process.getuid?.() === 0 && existsSync("/usr/bin/apt-get")) {
  const paths = { ...debian, ...optional };
  const missing = Object.keys(paths).filter((name) => !existsSync(paths[name]));
  if (missing.length > 0) {
    need(
      `Debian packages ${missing.join(" ")}`,
      () => missing.every((name) => existsSync(paths[name])),
      () => withoutServices(() => install(missing)),
    );
  }
}

function install(names) {
  const env = { ...process.env, DEBIAN_FRONTEND: "noninteractive", NEEDRESTART_SUSPEND: "1" };
  run("apt-get", ["update", "-qq"], { env });
  // One that this release does not have would keep the others out.
  const known = run("apt-cache", ["show", "--no-all-versions", ...names]).stdout ?? "";
  const there = names.filter((name) => known.split("\n").includes(`Package: ${name}`));
  const options = ["-y", "-qq", "--no-install-recommends", "-o", "DPkg::Lock::Timeout=60"];
  return run("apt-get", ["install", ...options, ...there], { env, stdio: ["ignore", "pipe", "pipe"] });
}

/** No daemon of an installed package is started meanwhile; the policy is over with this process, whatever ends it. */
function withoutServices(work) {
  const policy = "/usr/sbin/policy-rc.d";
  const ours = !existsSync(policy);
  if (ours) writeFileSync(policy, `#!/bin/sh\ntest ! -e /proc/${process.pid} || exit 101\n`, { mode: 0o755 });
  try {
    return work();
  } finally {
    if (ours) rmSync(policy, { force: true });
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
const failures = [];
for (const stream of [child.stdout, child.stderr]) {
  stream.on("data", (data) => {
    process.stdout.write(data);
    tail = (tail + data).slice(-4000);
  });
  keepFailures(stream);
}

/** What a failing test printed is said once more at the end: of a long log people keep the last lines. */
function keepFailures(stream) {
  let lines = [];
  createInterface({ input: stream }).on("line", (line) => {
    lines.push(line);
    if (lines.length > 60) lines.shift();
    if (!/^\((pass|skip|fail|todo)\) /.test(line)) return;
    // Bun's own list at the end is of names alone.
    if (line.startsWith("(fail) ") && lines.length > 1 && failures.length < 200) failures.push(...lines);
    lines = [];
  });
}
child.on("close", (code) => {
  if (failures.length > 0) say(`\nWhat failed:\n${failures.join("\n")}`);
  for (const name of Object.keys(tally))
    tally[name] += Number(new RegExp(`^ *(\\d+) ${name}`, "m").exec(tail)?.[1] ?? 0);
  // A run that broke off without its totals is a failure, whatever it counted.
  if (code !== 0 && tally.fail === 0) tally.fail = 1;
  say(`${tally.pass} passed, ${tally.fail} failed${tally.skip ? `, ${tally.skip} skipped` : ""}`);
  process.exit(tally.fail === 0 ? 0 : 1);
});
