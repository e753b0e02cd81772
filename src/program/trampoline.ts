import { Assembler } from "./assembler.ts";
import { headersSize, PF_R, PF_X, PT_LOAD, STACK, writeHeaders } from "./elf-header.ts";
import type { Machine } from "./layout.ts";

/**
 * A static executable that becomes another program, with words of its own before its caller's: execve(path, [...words,
 * argv[1], …], envp). Where a program's loader is not where its ELF header says, that is how it is started all the same.
 */
export function trampoline(machine: Machine, path: string, words: readonly string[]): Uint8Array {
  const code = machine === "x86_64" ? x86_64 : arm64;
  const size = code({ words: words.length, path: 0, table: 0 }).length;
  const codeAt = headersSize(2);
  const tableAt = Math.ceil((codeAt + size) / 8) * 8;
  const texts: Buffer[] = [];
  let end = tableAt + words.length * 8;
  const place = (text: string) => {
    const bytes = Buffer.from(`${text}\0`);
    texts.push(bytes);
    end += bytes.length;
    return ADDRESS + end - bytes.length;
  };
  const pathAddress = place(path);
  const addresses = words.map(place);
  const file = Buffer.alloc(end);

  writeHeaders(file, {
    machine,
    entry: ADDRESS + codeAt,
    page: PAGE,
    segments: [{ type: PT_LOAD, flags: PF_R | PF_X, offset: 0, address: ADDRESS, size: end }, STACK],
  });
  file.set(code({ words: words.length, path: pathAddress, table: ADDRESS + tableAt }), codeAt);
  for (const [i, address] of addresses.entries()) file.writeBigUInt64LE(BigInt(address), tableAt + i * 8);
  let at = tableAt + words.length * 8;
  for (const text of texts) {
    file.set(text, at);
    at += text.length;
  }
  return file;
}

const ADDRESS = 0x40_0000;
const PAGE = 65536;

/** Numbers and addresses in the code; its length does not depend on them. */
interface Values {
  words: number;
  path: number;
  table: number;
}

const le32 = (value: number) => [value & 255, (value >>> 8) & 255, (value >>> 16) & 255, (value >>> 24) & 255];

/** The stack at the start: argc, argv[0…argc-1], NULL, envp (System V ABI, AMD64 supplement, §3.4.1). */
function x86_64({ words, path, table }: Values): Uint8Array {
  const asm = new Assembler();
  asm.bytes(0x4c, 0x8b, 0x04, 0x24); // mov r8, [rsp]             argc
  asm.bytes(0x4c, 0x8d, 0x4c, 0x24, 0x08); // lea r9, [rsp+8]     argv
  asm.bytes(0x4b, 0x8d, 0x54, 0xc1, 0x08); // lea rdx, [r9+r8*8+8] envp
  asm.bytes(0x49, 0x8d, 0x80, ...le32(words)); // lea rax, [r8+words]: with the NULL, and without argv[0]
  asm.bytes(0x48, 0xc1, 0xe0, 0x03); // shl rax, 3
  asm.bytes(0x48, 0x29, 0xc4); // sub rsp, rax
  asm.bytes(0x48, 0x83, 0xe4, 0xf0); // and rsp, -16
  asm.bytes(0x48, 0x89, 0xe7); // mov rdi, rsp                    the new argv
  asm.bytes(0xbe, ...le32(table)); // mov esi, table
  asm.bytes(0xb9, ...le32(words)); // mov ecx, words
  asm.bytes(0xf3, 0x48, 0xa5); // rep movsq
  asm.bytes(0x49, 0x8d, 0x71, 0x08); // lea rsi, [r9+8]           argv[1]
  asm.bytes(0x4c, 0x89, 0xc1); // mov rcx, r8                     up to the NULL
  asm.bytes(0xf3, 0x48, 0xa5); // rep movsq
  asm.bytes(0xbf, ...le32(path)); // mov edi, path
  asm.bytes(0x48, 0x89, 0xe6); // mov rsi, rsp
  asm.bytes(0xb8, ...le32(59), 0x0f, 0x05); // execve
  asm.bytes(0xbf, ...le32(127), 0xb8, ...le32(231), 0x0f, 0x05); // exit_group(127)
  return asm.finish();
}

/** The same for AArch64; x9 is argc, x10 argv, x12 the place in the new one. */
function arm64({ words, path, table }: Values): Uint8Array {
  const asm = new Assembler();
  const address = (register: number, value: number) => {
    asm.word(0xd280_0000 | ((value & 0xffff) << 5) | register); // movz
    asm.word(0xf2a0_0000 | ((value >>> 16) << 5) | register); // movk, lsl #16
  };
  asm.word(0xf940_03e9); // ldr x9, [sp]
  asm.word(0x9100_23ea); // add x10, sp, #8
  asm.word(0x8b09_0d42); // add x2, x10, x9, lsl #3
  asm.word(0x9100_2042); // add x2, x2, #8                        envp
  address(14, words);
  asm.word(0x8b0e_012b); // add x11, x9, x14
  asm.word(0x9100_03ec); // mov x12, sp
  asm.word(0xcb0b_0d8c); // sub x12, x12, x11, lsl #3
  asm.word(0x927c_ed8c); // and x12, x12, #-16
  asm.word(0x9100_019f); // mov sp, x12
  address(13, table);
  asm.word(0xf840_85af); // ldr x15, [x13], #8
  asm.word(0xf800_858f); // str x15, [x12], #8
  asm.word(0xf100_05ce); // subs x14, x14, #1
  asm.word(0x54ff_ffa1); // b.ne, three back
  asm.word(0x9100_214a); // add x10, x10, #8                      argv[1]
  asm.word(0xf840_854f); // ldr x15, [x10], #8
  asm.word(0xf800_858f); // str x15, [x12], #8
  asm.word(0xf100_0529); // subs x9, x9, #1
  asm.word(0x54ff_ffa1); // b.ne, three back
  address(0, path);
  asm.word(0x9100_03e1); // mov x1, sp
  asm.word(0xd280_1ba8); // mov x8, #221                          execve
  asm.word(0xd400_0001); // svc #0
  asm.word(0xd280_0fe0); // mov x0, #127
  asm.word(0xd280_0bc8); // mov x8, #94                           exit_group
  asm.word(0xd400_0001); // svc #0
  return asm.finish();
}
