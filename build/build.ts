/** `npm run build`: the single binary dist/inro, and the name under which it is the OCI runtime. */
import { mkdirSync, rmSync, symlinkSync } from "node:fs";
import { join } from "node:path";
import { compile } from "./compile.ts";

const dist = join(import.meta.dir, "../dist");
mkdirSync(dist, { recursive: true });
try {
  await compile(join(dist, "inro"));
} catch (error) {
  console.error(error instanceof Error ? error.message : error);
  process.exit(1);
}
rmSync(join(dist, "inro-runtime"), { force: true });
symlinkSync("inro", join(dist, "inro-runtime"));
console.log(join(dist, "inro"));
