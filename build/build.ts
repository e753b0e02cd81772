/** `npm run build`: the single binary dist/inro, and the name under which it is the OCI runtime. */
import { mkdirSync, rmSync, symlinkSync } from "node:fs";
import { join } from "node:path";

const top = join(import.meta.dir, "..");
const dist = join(top, "dist");
mkdirSync(dist, { recursive: true });
const git = Bun.which("git");
const head = git && Bun.spawnSync([git, "-C", top, "rev-parse", "HEAD"], { stderr: "ignore" });
const commit = (head && head.exitCode === 0 && head.stdout.toString().trim()) || "unknown";
const result = await Bun.build({
  entrypoints: [join(top, "src/main.ts")],
  target: "bun",
  define: { INRO_COMMIT: JSON.stringify(commit) },
  minify: true,
  bytecode: true,
  format: "esm",
  // Each command and the engine are chunks of their own: a start reads only the code that it runs (4 ms of 12).
  splitting: true,
  // What lies in the caller's directory must not configure the program: no .env, no bunfig.toml.
  // A command lives too short for compiled code to pay; src/main.ts takes that back for the engine.
  compile: { outfile: join(dist, "inro"), autoloadDotenv: false, autoloadBunfig: false, jitPolicy: 10 },
});
for (const log of result.logs) console.error(String(log));
if (!result.success) process.exit(1);
rmSync(join(dist, "inro-runtime"), { force: true });
symlinkSync("inro", join(dist, "inro-runtime"));
console.log(join(dist, "inro"));
