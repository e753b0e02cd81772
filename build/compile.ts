import { join } from "node:path";

const top = join(import.meta.dir, "..");

/** Compiles this checkout to one executable at `outfile`; what keeps it from that is an error with the compiler's words. */
export async function compile(outfile: string): Promise<void> {
  const git = Bun.which("git");
  const head = git && Bun.spawnSync([git, "-C", top, "rev-parse", "HEAD"], { stderr: "ignore" });
  const commit = (head && head.exitCode === 0 && head.stdout.toString().trim()) || "unknown";
  const { success, logs } = await Bun.build({
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
    compile: { outfile, autoloadDotenv: false, autoloadBunfig: false, jitPolicy: 10 },
    throw: false,
  });
  if (!success) throw new Error(`build: ${logs.map(String).join("\n")}`);
  for (const log of logs) console.error(String(log));
}
