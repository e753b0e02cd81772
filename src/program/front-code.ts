import { Assembler } from "./assembler.ts";
import type { Machine } from "./layout.ts";

/**
 * Straight code of system calls with a few jumps, for both machines: what front.ts is written in. Beside the arguments
 * there is `scratch`, zeroed memory of the stack, and the argv and envp that the kernel gave.
 */
export interface Code {
  label(name: string): void;
  /** The result is what {@link when} looks at. */
  call(name: CallName, ...args: Operand[]): void;
  /** Jumps if the result is that number, or is not, or is an error; 32 bits of it. */
  when(result: number, to: string): void;
  unless(result: number, to: string): void;
  whenNegative(to: string): void;
  jump(to: string): void;
  /** 8 bytes of scratch: a number, or the address of scratch. */
  store(offset: number, value: number | Scratch): void;
  /** The result's 32 bits into scratch. */
  keep(offset: number): void;
  /** Which text becomes argv[0] with {@link takeName}. */
  chooseName(address: number): void;
  takeName(): void;
  /** The result is the length of a path in scratch at `offset`: its last component becomes these four letters. */
  renameLast(offset: number, letters: string): void;
  finish(): Uint8Array;
}

export interface Scratch {
  readonly scratch: number;
}
/** A number, the address of scratch, the 32 bits in scratch, or one of the two arrays. */
export type Operand = number | Scratch | { readonly load: number } | "argv" | "envp";

export const SCRATCH_SIZE = 4608;

/** Numbers on x86-64 and AArch64 (arch/x86/entry/syscalls/syscall_64.tbl, asm-generic/unistd.h). */
const CALLS = {
  write: [1, 64],
  close: [3, 57],
  socket: [41, 198],
  connect: [42, 203],
  sendto: [44, 206],
  recvfrom: [45, 207],
  recvmsg: [47, 212],
  setsockopt: [54, 208],
  execve: [59, 221],
  exit_group: [231, 94],
  readlinkat: [267, 78],
  dup3: [292, 24],
  execveat: [322, 281],
} as const;
type CallName = keyof typeof CALLS;

const le32 = (value: number) => [value & 255, (value >>> 8) & 255, (value >>> 16) & 255, (value >>> 24) & 255];

export const newCode = (machine: Machine): Code => (machine === "x86_64" ? x86_64() : arm64());

/** rbp is scratch, r12 the stack at the start (System V ABI, AMD64 supplement, §3.4.1), r14 the chosen name. */
function x86_64(): Code {
  const asm = new Assembler();
  /** rdi rsi rdx r10 r8 r9. */
  const REGISTERS = [7, 6, 2, 10, 8, 9];
  const jump = (opcode: number[], to: string) => {
    asm.bytes(...opcode);
    asm.jump(to, (code, at, distance) => {
      for (const [i, byte] of le32(distance - 4).entries()) code[at + i] = byte;
    });
    asm.word(0);
  };
  const rex = (wide: boolean, register: number) => 0x40 | (wide ? 8 : 0) | (register > 7 ? 4 : 0);
  /** ModRM with rbp and 32 bits after it. */
  const inScratch = (register: number) => 0x85 | ((register & 7) << 3);
  const load = (register: number, operand: Operand) => {
    const low = register & 7;
    if (typeof operand === "number") {
      if (register > 7) asm.bytes(0x41);
      asm.bytes(0xb8 | low, ...le32(operand)); // mov r32, imm32
    } else if (operand === "argv") {
      asm.bytes(rex(true, register) | 1, 0x8d, 0x44 | (low << 3), 0x24, 8); // lea r, [r12+8]
    } else if (operand === "envp") {
      asm.bytes(0x49, 0x8b, 0x04, 0x24); // mov rax, [r12]
      asm.bytes(rex(true, register) | 1, 0x8d, 0x44 | (low << 3), 0xc4, 16); // lea r, [r12+rax*8+16]
    } else if ("load" in operand) {
      asm.bytes(rex(false, register), 0x8b, inScratch(register), ...le32(operand.load)); // mov r32, [rbp+n]
    } else asm.bytes(rex(true, register), 0x8d, inScratch(register), ...le32(operand.scratch)); // lea r, [rbp+n]
  };
  const compare = (value: number) => asm.bytes(0x3d, ...le32(value)); // cmp eax, imm32

  asm.bytes(0x49, 0x89, 0xe4); // mov r12, rsp
  asm.bytes(0x48, 0x81, 0xec, ...le32(SCRATCH_SIZE)); // sub rsp, size
  asm.bytes(0x48, 0x83, 0xe4, 0xf0); // and rsp, -16
  asm.bytes(0x48, 0x89, 0xe5); // mov rbp, rsp
  return {
    label: (name) => asm.label(name),
    call(name, ...args) {
      args.forEach((operand, i) => {
        load(REGISTERS[i]!, operand);
      });
      asm.bytes(0xb8, ...le32(CALLS[name][0]), 0x0f, 0x05); // mov eax, number; syscall
    },
    when(result, to) {
      compare(result);
      jump([0x0f, 0x84], to); // je
    },
    unless(result, to) {
      compare(result);
      jump([0x0f, 0x85], to); // jne
    },
    whenNegative(to) {
      compare(0);
      jump([0x0f, 0x8c], to); // jl
    },
    jump: (to) => jump([0xe9], to),
    store(offset, value) {
      if (typeof value === "number") {
        asm.bytes(0x48, 0xc7, 0x85, ...le32(offset), ...le32(value)); // mov qword [rbp+n], imm32
        return;
      }
      load(0, value);
      asm.bytes(0x48, 0x89, 0x85, ...le32(offset)); // mov [rbp+n], rax
    },
    keep: (offset) => asm.bytes(0x89, 0x85, ...le32(offset)), // mov [rbp+n], eax
    chooseName: (address) => asm.bytes(0x41, 0xbe, ...le32(address)), // mov r14d, imm32
    takeName: () => asm.bytes(0x4d, 0x89, 0x74, 0x24, 8), // mov [r12+8], r14
    renameLast(offset, letters) {
      asm.bytes(0x48, 0x8d, 0xb4, 0x05, ...le32(offset)); // lea rsi, [rbp+rax+offset]
      asm.bytes(0x80, 0x7e, 0xff, 0x2f); // cmp byte [rsi-1], '/'
      asm.bytes(0x74, 5); // je over
      asm.bytes(0x48, 0xff, 0xce); // dec rsi
      asm.bytes(0xeb, 0xf5); // jmp to the cmp
      asm.bytes(0xc7, 0x06, ...Buffer.from(letters, "latin1")); // mov dword [rsi], letters
      asm.bytes(0xc6, 0x46, 4, 0); // mov byte [rsi+4], 0
    },
    finish: () => asm.finish(),
  };
}

/** x19 is scratch, x20 the stack at the start, x21 the chosen name. */
function arm64(): Code {
  const asm = new Assembler();
  const immediate = (register: number, value: number) => {
    asm.word(0xd280_0000 | ((value & 0xffff) << 5) | register); // movz
    asm.word(0xf2a0_0000 | ((value >>> 16) << 5) | register); // movk, lsl #16
  };
  const branch = (opcode: number, to: string) => {
    asm.jump(to, (code, at, distance) => {
      const word =
        opcode === 0x1400_0000 ? opcode | ((distance >> 2) & 0x3ff_ffff) : opcode | (((distance >> 2) & 0x7_ffff) << 5);
      for (const [i, byte] of le32(word).entries()) code[at + i] = byte;
    });
    asm.word(0);
  };
  const address = (register: number, offset: number) => asm.word(0x9100_0260 | (offset << 10) | register); // add x, x19, #n
  const load = (register: number, operand: Operand) => {
    if (typeof operand === "number") immediate(register, operand);
    else if (operand === "argv")
      asm.word(0x9100_2280 | register); // add x, x20, #8
    else if (operand === "envp") {
      asm.word(0xf940_0289); // ldr x9, [x20]
      asm.word(0x8b09_0e80 | register); // add x, x20, x9, lsl #3
      asm.word(0x9100_4000 | (register << 5) | register); // add x, x, #16
    } else if ("load" in operand)
      asm.word(0xb940_0260 | ((operand.load / 4) << 10) | register); // ldr w, [x19, #n]
    else address(register, operand.scratch);
  };
  const compare = (value: number) => asm.word(value < 0 ? 0x3100_001f | (-value << 10) : 0x7100_001f | (value << 10)); // cmn, cmp w0, #n
  const [EQ, NE, LT] = [0x5400_0000, 0x5400_0001, 0x5400_000b];

  asm.word(0x9100_03f4); // mov x20, sp
  asm.word(0xd140_07ff); // sub sp, sp, #4096
  asm.word(0xd108_03ff); // sub sp, sp, #512
  asm.word(0x9100_03f3); // mov x19, sp
  return {
    label: (name) => asm.label(name),
    call(name, ...args) {
      args.forEach((operand, i) => {
        load(i, operand);
      });
      asm.word(0xd280_0008 | (CALLS[name][1] << 5)); // mov x8, number
      asm.word(0xd400_0001); // svc #0
    },
    when(result, to) {
      compare(result);
      branch(EQ, to);
    },
    unless(result, to) {
      compare(result);
      branch(NE, to);
    },
    whenNegative(to) {
      compare(0);
      branch(LT, to);
    },
    jump: (to) => branch(0x1400_0000, to),
    store(offset, value) {
      load(9, value);
      asm.word(0xf900_0269 | ((offset / 8) << 10)); // str x9, [x19, #n]
    },
    keep: (offset) => asm.word(0xb900_0260 | ((offset / 4) << 10)), // str w0, [x19, #n]
    chooseName: (value) => immediate(21, value),
    takeName: () => asm.word(0xf900_0695), // str x21, [x20, #8]
    renameLast(offset, letters) {
      asm.word(0x8b00_0269); // add x9, x19, x0
      asm.word(0x9100_0129 | (offset << 10)); // add x9, x9, #offset
      asm.word(0x385f_f12a); // ldurb w10, [x9, #-1]
      asm.word(0x7100_bd5f); // cmp w10, #'/'
      asm.word(0x5400_0060); // b.eq, three on
      asm.word(0xd100_0529); // sub x9, x9, #1
      asm.word(0x17ff_fffc); // b, four back
      immediate(10, Buffer.from(letters, "latin1").readUInt32LE());
      asm.word(0xb900_012a); // str w10, [x9]
      asm.word(0x3900_113f); // strb wzr, [x9, #4]
    },
    finish: () => asm.finish(),
  };
}
