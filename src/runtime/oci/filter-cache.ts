import { mkdirSync, readdirSync, readFileSync, renameSync, rmSync, statSync, writeFileSync } from "node:fs";
import { join } from "node:path";
import type { Filter } from "../../security/seccomp/compile.ts";

/** No container's id has an `@`. */
const DIRECTORY = "seccomp@cache";
const MAGIC = Buffer.from("inrobpf1");
/** Magic, u32 count, u32 flags. */
const HEADER_SIZE = 16;
const INSTRUCTION_SIZE = 8;
const MAX_FILES = 64;

/**
 * Compiled seccomp filters below the root directory of the state, which only its owner may enter: compiling the usual
 * profile takes a cold start longer than all the rest. They are of one build of this program and one kernel; from a
 * checkout, where the sources change, there is no cache.
 */
export class FilterCache {
  readonly #path: string | undefined;

  constructor(
    readonly root: string,
    profile: string,
    build: string | undefined = buildOfProgram(),
  ) {
    if (build === undefined) return;
    const kernel = readFileSync("/proc/sys/kernel/osrelease", "latin1");
    const key = new Bun.CryptoHasher("sha256").update(JSON.stringify([build, kernel, profile])).digest("hex");
    this.#path = join(root, DIRECTORY, key);
  }

  read(): Filter | undefined {
    if (this.#path === undefined) return undefined;
    let file: Buffer;
    try {
      file = readFileSync(this.#path);
    } catch {
      return undefined;
    }
    if (file.length < HEADER_SIZE || !file.subarray(0, MAGIC.length).equals(MAGIC)) return undefined;
    const count = file.readUInt32LE(8);
    if (file.length !== HEADER_SIZE + count * INSTRUCTION_SIZE) return undefined;
    return { code: file.subarray(HEADER_SIZE), count, flags: file.readUInt32LE(12), listener: false };
  }

  /** Best effort: without it, the next one compiles again. */
  write(filter: Filter): void {
    if (this.#path === undefined || filter.listener) return;
    const directory = join(this.root, DIRECTORY);
    try {
      mkdirSync(directory, { mode: 0o700, recursive: true });
      if (readdirSync(directory).length >= MAX_FILES) rmSync(directory, { recursive: true, force: true });
      mkdirSync(directory, { mode: 0o700, recursive: true });
      const header = Buffer.alloc(HEADER_SIZE);
      MAGIC.copy(header);
      header.writeUInt32LE(filter.count, 8);
      header.writeUInt32LE(filter.flags, 12);
      const temporary = `${this.#path}.${process.pid}`;
      writeFileSync(temporary, Buffer.concat([header, filter.code]), { mode: 0o600 });
      renameSync(temporary, this.#path);
    } catch {
      // As above.
    }
  }
}

/** Of a compiled program, the file; undefined for one that runs from its sources. */
function buildOfProgram(): string | undefined {
  if (!Bun.main.startsWith("/$bunfs/")) return undefined;
  const { size, mtimeMs, ino } = statSync(process.execPath);
  return `${size} ${mtimeMs} ${ino}`;
}
