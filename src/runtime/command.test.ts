import { afterAll, expect, test } from "bun:test";
import { mkdirSync, mkdtempSync, rmSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { whyNotExecuted } from "./command.ts";

const root = mkdtempSync(join(tmpdir(), "inro-command-"));
afterAll(() => rmSync(root, { recursive: true }));

/** An ELF file of this class, byte order, machine, and interpreter (elf(5)). */
function elf(machine: number, interpreter?: string): Buffer {
  const file = Buffer.alloc(512);
  file.write("\x7fELF\x02\x01\x01", "latin1");
  file.writeUInt16LE(2, 16);
  file.writeUInt16LE(machine, 18);
  if (interpreter) {
    file.writeBigUInt64LE(64n, 32);
    file.writeUInt16LE(56, 54);
    file.writeUInt16LE(1, 56);
    file.writeUInt32LE(3, 64);
    file.writeBigUInt64LE(256n, 72);
    file.writeBigUInt64LE(BigInt(interpreter.length + 1), 96);
    file.write(interpreter, 256);
  }
  return file;
}
const OWN = process.arch === "arm64" ? 183 : 62;
const OTHER = process.arch === "arm64" ? 62 : 183;

test.each([
  ["ENOEXEC", "", "exec format error: the file is empty"],
  ["ENOEXEC", "echo\n", "exec format error: neither an ELF file nor a script with a first line such as #!/bin/sh"],
  [
    "ENOEXEC",
    elf(OTHER),
    /^exec format error: the file is for (amd64|arm64), this machine is (amd64|arm64): it needs an emulator .*qemu-user-static/,
  ],
  ["ENOEXEC", elf(4242), /the file is for machine 4242/],
  ["ENOEXEC", elf(OWN), "exec format error: the ELF file is damaged"],
  ["ENOEXEC", "\x7fELF", "exec format error: the ELF file is cut short"],
  ["ENOENT", "#!/none/sh -e\n", 'no such file or directory: its interpreter "/none/sh" does not exist'],
  ["ENOENT", "#! \t/none\n", 'no such file or directory: its interpreter "/none" does not exist'],
  ["ENOENT", "#!/bin/sh\r\n", /its first line ends in CR LF/],
  ["ENOENT", elf(OWN, "/lib/ld.so"), 'no such file or directory: its dynamic loader "/lib/ld.so" does not exist'],
  ["EACCES", "#!/x", "permission denied: mode 644 lets nobody execute it"],
  ["EPERM", "", undefined],
])("%s of a file with %j", (code, content, wanted) => {
  writeFileSync(join(root, "file"), content, { encoding: "latin1" });
  const why = whyNotExecuted({ layers: [root], binds: [] }, "/file", code);
  if (wanted instanceof RegExp) expect(why).toMatch(wanted);
  else expect(why).toBe(wanted);
});

test("a directory, and nothing", () => {
  mkdirSync(join(root, "directory"));
  expect(whyNotExecuted({ layers: [root], binds: [] }, "/directory", "EACCES")).toBe("is a directory");
  expect(whyNotExecuted({ layers: [root], binds: [] }, "/none", "ENOENT")).toBe("no such file or directory");
});

test("an ELF file whose headers lie is read no further than it goes", () => {
  const file = elf(OWN, "/lib/ld.so");
  file.writeBigUInt64LE(2n ** 60n, 72);
  writeFileSync(join(root, "file"), file);
  expect(whyNotExecuted({ layers: [root], binds: [] }, "/file", "ENOENT")).toBe("no such file or directory");
});
