import { posix } from "node:path";
import { codeOf } from "../base/errors.ts";
import { toName } from "../layers/entry-path.ts";
import * as k from "../linux/constants.ts";
import { close, openat, openat2, readdir, readHead, readlinkat, statat, symlinkat, writeAll } from "../linux/file.ts";
import { MACHINE } from "../program/machine.ts";
import { trampoline } from "../program/trampoline.ts";
import { IN_ROOT } from "./stat.ts";

/**
 * Makes the tools of one root file system work below a place in another: `bin/` gets an entry for every command of it,
 * and `root/` is where it will be mounted. A static program is a symlink there. One that is linked dynamically would be
 * started with the loader and the libraries of the other root, so its entry is a trampoline that calls its own loader;
 * and a script's one that calls its own interpreter.
 */
export interface ToolsRequest {
  /** Where `bin/` and `root/` are going to be. */
  place: string;
  /** Only these directories of the root will be there; absent: all. */
  only?: readonly string[];
}

const BIN = ["/usr/local/sbin", "/usr/local/bin", "/usr/sbin", "/usr/bin", "/sbin", "/bin"];
const TRIPLET = process.arch === "arm64" ? "aarch64-linux-gnu" : "x86_64-linux-gnu";
const LIBRARIES = [
  "/usr/local/lib",
  ...["/lib", "/usr/lib"].flatMap((dir) => [`${dir}/${TRIPLET}`, `${dir}64`, dir]),
  `/usr/lib/${TRIPLET}/systemd`,
];
/** ELF headers, program headers and the loader's name stand in it; a script's first line too. */
const HEAD = 4096;
/** execve(2) follows as many interpreters. */
const MAX_INTERPRETERS = 4;
const MAX_TOOLS = 20_000;

/** Fills the empty directory `files` from the root directory `root`, both descriptors. Answers how many commands. */
export function fillTools(files: number, root: number, request: ToolsRequest): number {
  return new Tools(root, request).fill(files);
}

type Program = { kind: "static"; path: string } | { kind: "started"; path: string; words: string[] };

class Tools {
  readonly #libraries: string;

  constructor(
    private readonly root: number,
    private readonly request: ToolsRequest,
  ) {
    const { place } = request;
    const there = LIBRARIES.filter((path) => this.#isThere(path));
    this.#libraries = there.map((path) => `${place}/root${path}`).join(":");
  }

  fill(files: number): number {
    const bin = openat(files, "bin", k.O_RDONLY | k.O_DIRECTORY | k.O_NOFOLLOW);
    const seen = new Set<string>();
    try {
      for (const directory of BIN) {
        for (const name of this.#names(directory)) {
          if (seen.has(name) || seen.size === MAX_TOOLS) continue;
          const program = this.#program(`${directory}/${name}`, MAX_INTERPRETERS);
          if (!program) continue;
          seen.add(name);
          if (program.kind === "static") symlinkat(`${this.request.place}/root${program.path}`, bin, name);
          else write(bin, name, trampoline(MACHINE, program.path, program.words));
        }
      }
      return seen.size;
    } finally {
      close(bin);
    }
  }

  #names(directory: string): string[] {
    const fd = this.#open(directory, k.O_RDONLY | k.O_DIRECTORY);
    if (fd === undefined) return [];
    try {
      // What is no text has no command line.
      return [...readdir(fd)]
        .map(({ name }) => name.toString())
        .filter((name) => !name.includes("\ufffd"))
        .sort();
    } finally {
      close(fd);
    }
  }

  /** How a file is started; undefined if it is no program, or not where it can be seen. */
  #program(path: string, interpreters: number): Program | undefined {
    const fd = this.#open(path, k.O_PATH);
    if (fd === undefined) return undefined;
    let head: Buffer;
    let real: string;
    try {
      const { mode } = statat(fd, "");
      if ((mode & k.S_IFMT) !== k.S_IFREG || (mode & 0o111) === 0) return undefined;
      // Absolute symlinks would lead on in the other root.
      real = readlinkat(k.AT_FDCWD, `/proc/self/fd/${fd}`).toString();
      if (!this.#isShown(real)) return undefined;
      head = readHead(fd, HEAD);
    } finally {
      close(fd);
    }
    const shown = `${this.request.place}/root${real}`;
    if (head.toString("latin1", 0, 4) === "\x7fELF") return this.#elf(path, real, head);
    const line = /^#!\s*(\/\S+)(?:[ \t]+(.*?))?\s*$/m.exec(head.toString("latin1", 0, 256).split("\n")[0]!);
    if (!line || interpreters === 0) return undefined;
    let [interpreter, argument] = [line[1]!, line[2]];
    // env(1) would look in a PATH that begins with our own entries, but is not there itself.
    if (posix.basename(interpreter) === "env" && argument) {
      const [name = "", ...rest] = argument.replace(/^-S\s+/, "").split(/\s+/);
      const found = BIN.map((directory) => `${directory}/${name}`).find((candidate) => this.#isThere(candidate));
      if (!found) return undefined;
      interpreter = found;
      argument = rest.join(" ");
    }
    const by = this.#program(interpreter, interpreters - 1);
    if (!by) return undefined;
    const words = [...(argument ? [argument] : []), shown];
    if (by.kind === "started") return { kind: "started", path: by.path, words: [...by.words, ...words] };
    const path_ = `${this.request.place}/root${by.path}`;
    return { kind: "started", path: path_, words: [path_, ...words] };
  }

  #elf(path: string, real: string, head: Buffer): Program | undefined {
    const loader = loaderOf(head);
    if (loader === undefined) return { kind: "static", path: real };
    const fd = this.#open(loader, k.O_PATH);
    if (fd === undefined) return undefined;
    const loaderPath = readlinkat(k.AT_FDCWD, `/proc/self/fd/${fd}`).toString();
    close(fd);
    if (!this.#isShown(loaderPath)) return undefined;
    const { place } = this.request;
    const shown = `${place}/root${loaderPath}`;
    // A program of many names knows which one is meant by how it is called.
    const name = posix.basename(path);
    const called = name === posix.basename(real) ? [] : ["--argv0", name];
    const words = [shown, "--library-path", this.#libraries, ...called, `${place}/root${real}`];
    return { kind: "started", path: shown, words };
  }

  #isShown(path: string): boolean {
    const { only } = this.request;
    return !only || only.some((directory) => path.startsWith(`${directory}/`));
  }

  #isThere(path: string): boolean {
    const fd = this.#open(path, k.O_PATH);
    if (fd !== undefined) close(fd);
    return fd !== undefined;
  }

  #open(path: string, flags: number): number | undefined {
    try {
      return openat2(this.root, path, flags, 0, IN_ROOT);
    } catch (error) {
      if (codeOf(error) === undefined) throw error;
      return undefined;
    }
  }
}

const PT_INTERP = 3;

/** The loader that an ELF file asks for (elf(5), PT_INTERP); undefined for a static one, or another machine's. */
function loaderOf(head: Buffer): string | undefined {
  if (head.length < 64 || head[4] !== 2) return undefined;
  const [offset, size, count] = [Number(head.readBigUInt64LE(32)), head.readUInt16LE(54), head.readUInt16LE(56)];
  for (let i = 0; i < count; i++) {
    const at = offset + i * size;
    if (size < 56 || at + 56 > head.length) return undefined;
    if (head.readUInt32LE(at) !== PT_INTERP) continue;
    const [from, length] = [Number(head.readBigUInt64LE(at + 8)), Number(head.readBigUInt64LE(at + 32))];
    if (length < 2 || from + length > head.length) return undefined;
    return head.toString("latin1", from, from + length - 1);
  }
  return undefined;
}

function write(directory: number, name: string, content: Uint8Array): void {
  const fd = openat(directory, toName(name), k.O_WRONLY | k.O_CREAT | k.O_EXCL, 0o755);
  try {
    writeAll(fd, content);
  } finally {
    close(fd);
  }
}
