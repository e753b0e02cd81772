import * as k from "../linux/constants.ts";
import { close, readHead, statat } from "../linux/file.ts";
import { openInTree, type Tree } from "./tree.ts";

/**
 * Why execve(2) of `path` gave `code`, as far as the file tells: its mode, its interpreter, its architecture. The first
 * words are those that docker's users and programs look for.
 */
export function whyNotExecuted(tree: Tree, path: string, code: string): string | undefined {
  const words = WORDS[code];
  if (words === undefined) return undefined;
  const detail = look(tree, path, code);
  if (detail === "is a directory") return detail;
  return detail ? `${words}: ${detail}` : words;
}

const WORDS: Record<string, string> = {
  ENOENT: "no such file or directory",
  ENOTDIR: "not a directory",
  EACCES: "permission denied",
  ENOEXEC: "exec format error",
};

function look(tree: Tree, path: string, code: string): string | undefined {
  const file = openInTree(tree, path);
  if (file === undefined) return undefined;
  try {
    const { mode } = statat(file, "");
    if ((mode & k.S_IFMT) === k.S_IFDIR) return "is a directory";
    if ((mode & k.S_IFMT) !== k.S_IFREG) return "is no regular file";
    if (code === "EACCES" && (mode & 0o111) === 0) return `mode ${(mode & 0o7777).toString(8)} lets nobody execute it`;
    if (code === "EACCES") return "the user, a directory on the way or a noexec mount forbids it";
    return describe(tree, readHead(file, HEAD), code);
  } finally {
    close(file);
  }
}

/** What the kernel looks at first (BINPRM_BUF_SIZE), and the program headers after it. */
const HEAD = 4096;

function describe(tree: Tree, content: Buffer, code: string): string | undefined {
  if (content.length === 0) return "the file is empty";
  if (content.subarray(0, 2).toString("latin1") === "#!") {
    const line = content.toString("latin1", 2).split("\n")[0] ?? "";
    const interpreter = line.trim().split(/[ \t]/)[0] ?? "";
    if (interpreter.endsWith("\r") || line.endsWith("\r"))
      return "its first line ends in CR LF, which the kernel takes for part of the interpreter's name";
    if (code === "ENOENT") return missing(tree, interpreter, "its interpreter");
    return `its interpreter ${interpreter} cannot be executed`;
  }
  if (content.subarray(0, 4).toString("latin1") !== "\x7fELF") {
    return code === "ENOEXEC" ? "neither an ELF file nor a script with a first line such as #!/bin/sh" : undefined;
  }
  return describeElf(tree, content, code);
}

/** e_machine (elf.h) to the names of image platforms. */
const MACHINES: Record<number, string> = {
  3: "386",
  8: "mips",
  20: "ppc",
  21: "ppc64",
  22: "s390x",
  40: "arm",
  62: "amd64",
  183: "arm64",
  243: "riscv64",
  258: "loong64",
};
const OWN = process.arch === "x64" ? "amd64" : process.arch;
const PT_INTERP = 3;

function describeElf(tree: Tree, content: Buffer, code: string): string | undefined {
  if (content.length < 64) return "the ELF file is cut short";
  const little = content[5] === 1;
  const machine = little ? content.readUInt16LE(18) : content.readUInt16BE(18);
  const name = MACHINES[machine] ?? `machine ${machine}`;
  if (code === "ENOEXEC") {
    if (name === OWN) return "the ELF file is damaged";
    const emulator = name.startsWith("machine ")
      ? ""
      : ": it needs an emulator in binfmt_misc (Debian: qemu-user-static)";
    return `the file is for ${name}, this machine is ${OWN}${emulator}`;
  }
  if (content[4] !== 2 || !little) return undefined;
  const [start, size, count] = [
    Number(content.readBigUInt64LE(32)),
    content.readUInt16LE(54),
    content.readUInt16LE(56),
  ];
  for (let i = 0; i < count; i++) {
    const at = start + i * size;
    if (size < 56 || at + 56 > content.length) break;
    if (content.readUInt32LE(at) !== PT_INTERP) continue;
    const from = Number(content.readBigUInt64LE(at + 8));
    const end = from + Number(content.readBigUInt64LE(at + 32));
    if (end > content.length) break;
    return missing(tree, content.toString("latin1", from, end).replace(/\0.*$/s, ""), "its dynamic loader");
  }
  return undefined;
}

function missing(tree: Tree, path: string, what: string): string | undefined {
  const fd = openInTree(tree, path);
  if (fd === undefined) return `${what} ${JSON.stringify(path.slice(0, 256))} does not exist`;
  close(fd);
  return undefined;
}
