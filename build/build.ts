/** `npm run build`: the single binary dist/inro, and the name under which it is the OCI runtime. */
import { mkdirSync, rmSync, symlinkSync } from "node:fs";
import { join } from "node:path";

const top = join(import.meta.dir, "..");
const dist = join(top, "dist");
mkdirSync(dist, { recursive: true });
const result = await Bun.build({
  entrypoints: [join(top, "src/main.ts")],
  target: "bun",
  minify: true,
  bytecode: true,
  format: "cjs",
  compile: { outfile: join(dist, "inro") },
});
for (const log of result.logs) console.error(String(log));
if (!result.success) process.exit(1);
rmSync(join(dist, "inro-runtime"), { force: true });
symlinkSync("inro", join(dist, "inro-runtime"));
console.log(join(dist, "inro"));
