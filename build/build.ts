/** `npm run build`: the single binary dist/inro, and beside it the OCI runtime, a front of 1 KB. */
import { mkdirSync, rmSync, writeFileSync } from "node:fs";
import { join } from "node:path";
import { front } from "../src/program/front.ts";
import { MACHINE } from "../src/program/machine.ts";
import { ABSENT, RESIDENT_SOCKET } from "../src/runtime/resident/door.ts";
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
const names = { socket: RESIDENT_SOCKET, absent: ABSENT, refused: "inro-runtime" };
writeFileSync(join(dist, "inro-runtime"), front(MACHINE, names), { mode: 0o755 });
console.log(join(dist, "inro"));
