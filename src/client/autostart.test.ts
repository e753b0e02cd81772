import { afterEach, beforeEach, expect, test } from "bun:test";
import { mkdtempSync, readFileSync, rmSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";

// The same file is command and engine, as main.ts is: the engine serves until the directory's "stop" line arrives.
const SOURCE = `
import { createServer } from "node:net";
import { appendFileSync, closeSync, openSync, writeSync } from "node:fs";
const here = import.meta.dir;
if (process.argv[2] === "serve") {
  const path = process.argv[4].slice("unix://".length);
  appendFileSync(here + "/started", JSON.stringify({ pid: process.pid, env: process.env, cwd: process.cwd(), args: process.argv.slice(3) }) + "\\n");
  if (process.env.INRO_TEST_MODE === "crash") { console.error("first line"); console.error("disk full"); process.exit(3); }
  try { closeSync(openSync(here + "/lock", "wx")); } catch { console.error("already running"); process.exit(1); }
  createServer((c) => c.end()).listen(path, () => { writeSync(3, "ready\\n"); closeSync(3); });
} else {
  const { startEngine } = await import(${JSON.stringify(new URL("./autostart.ts", import.meta.url).pathname)});
  const endpoint = { kind: "unix", path: here + "/run/e.sock", url: "unix://" + here + "/run/e.sock", default: true };
  try {
    console.log(await startEngine(endpoint, Object.assign(new Error(), { code: process.argv[2] })));
  } catch (error) { console.log(error.kind + ": " + error.message); }
  process.exit(0);
}
`;

let directory: string;

beforeEach(() => {
  directory = mkdtempSync(`${tmpdir()}/inro-start-`);
  writeFileSync(`${directory}/main.ts`, SOURCE);
});
afterEach(() => {
  for (const { pid } of started()) {
    try {
      process.kill(pid);
    } catch {
      // It has left by itself.
    }
  }
  rmSync(directory, { recursive: true, force: true });
});

function started(): { pid: number; env: Record<string, string>; cwd: string; args: string[] }[] {
  try {
    return readFileSync(`${directory}/started`, "utf8")
      .trim()
      .split("\n")
      .map((line) => JSON.parse(line));
  } catch {
    return [];
  }
}

async function command(code: string, env: Record<string, string> = {}): Promise<string> {
  const child = Bun.spawn([process.execPath, `${directory}/main.ts`, code], {
    env: { PATH: process.env.PATH ?? "", SECRET: "1", ...env },
    stdin: "ignore",
    stderr: "inherit",
  });
  await child.exited;
  return (await new Response(child.stdout).text()).trim();
}

test("starts an engine that outlives the command, with a clean environment", async () => {
  expect(await command("ENOENT", { INRO_HOST: "unix:///x" })).toBe("true");
  const [engine] = started();
  process.kill(engine!.pid, 0);
  expect(engine!.cwd).toBe("/");
  // Nobody asked for it to stay.
  expect(engine!.args.join(" ")).toEndWith("--idle-timeout 1m");
  expect(engine!.env.SECRET).toBeUndefined();
  expect(engine!.env.INRO_HOST).toBeUndefined();
  const session = readFileSync(`/proc/${engine!.pid}/stat`, "utf8").split(") ")[1]!.split(" ")[3];
  expect(session).toBe(String(engine!.pid));
});

test("commands that race share the one engine that wins", async () => {
  const answers = await Promise.all(Array.from({ length: 4 }, () => command("ECONNREFUSED")));
  expect(answers).toEqual(["true", "true", "true", "true"]);
  const alive = started().filter(({ pid }) => {
    try {
      return readFileSync(`/proc/${pid}/stat`, "utf8").split(") ")[1]![0] !== "Z";
    } catch {
      return false;
    }
  });
  expect(alive).toHaveLength(1);
});

test("an engine that fails is named with the last line of its log", async () => {
  const answer = await command("ENOENT", { INRO_TEST_MODE: "crash" });
  expect(answer).toStartWith("unavailable: start engine: it ended with status 3: disk full (log: ");
});

test("another failure than a missing engine is not its business", async () => {
  expect(await command("EACCES")).toBe("false");
  expect(started()).toEqual([]);
});
