import { Assembler } from "./assembler.ts";
import { ANY, DATA_ADDRESS, KIND, MODE_ALL, RECORD_OFFSET, ROW_SIZE } from "./layout.ts";

/**
 * The row interpreter for x86-64 (Intel SDM volume 2 for the encodings; syscall(2) for the convention: number in rax,
 * arguments in rdi rsi rdx r10 r8 r9, result in rax, rcx and r11 lost).
 *
 *   rbx  address of the current row        r12  address of slot 0
 */
const ERRNO_EINTR = 4;
const ERRNO_EIO = 5;
const SYS_WRITE = 1;
const SYS_EXIT_GROUP = 231;

export function interpreter(rowsAddress: number): Uint8Array {
  const asm = new Assembler();
  const { bytes, word } = { bytes: asm.bytes.bind(asm), word: asm.word.bind(asm) };

  /** Conditional or unconditional jump with a 32-bit distance. */
  const jump = (opcode: number[], to: string) => {
    bytes(...opcode);
    asm.jump(to, (code, at, distance) => {
      const d = distance - 4;
      for (let i = 0; i < 4; i++) code[at + i] = (d >> (8 * i)) & 255;
    });
    word(0);
  };
  const jmp = (to: string) => jump([0xe9], to);
  const je = (to: string) => jump([0x0f, 0x84], to);
  const jne = (to: string) => jump([0x0f, 0x85], to);
  const jae = (to: string) => jump([0x0f, 0x83], to);
  const jle = (to: string) => jump([0x0f, 0x8e], to);
  const jz = je;
  const jnz = jne;

  bytes(0xbb); // mov ebx, rows
  word(rowsAddress);
  bytes(0x41, 0xbc); // mov r12d, slots
  word(DATA_ADDRESS);

  asm.label("row");
  bytes(0x0f, 0xb6, 0x4b, 0x02); // movzx ecx, byte [rbx+2]: kind
  for (const kind of ["store", "branch", "exit", "fail"] as const) {
    bytes(0x83, 0xf9, KIND[kind]); // cmp ecx, kind
    je(kind);
  }

  asm.label("call");
  bytes(0x0f, 0xb6, 0x6b, 0x04); // movzx ebp, byte [rbx+4]: which arguments are slots
  // biome-ignore format: a table
  const argument: [load: number[], fromSlot: number[]][] = [
    [[0x48, 0x8b, 0x7b, 16], [0x49, 0x8b, 0x3c, 0xfc]], // mov rdi, [rbx+16]; mov rdi, [r12+rdi*8]
    [[0x48, 0x8b, 0x73, 24], [0x49, 0x8b, 0x34, 0xf4]], // rsi
    [[0x48, 0x8b, 0x53, 32], [0x49, 0x8b, 0x14, 0xd4]], // rdx
    [[0x4c, 0x8b, 0x53, 40], [0x4f, 0x8b, 0x14, 0xd4]], // r10
    [[0x4c, 0x8b, 0x43, 48], [0x4f, 0x8b, 0x04, 0xc4]], // r8
    [[0x4c, 0x8b, 0x4b, 56], [0x4f, 0x8b, 0x0c, 0xcc]], // r9
  ];
  for (const [i, [load, fromSlot]] of argument.entries()) {
    bytes(...load);
    bytes(0x0f, 0xba, 0xe5, i); // bt ebp, i
    bytes(0x73, fromSlot.length); // jnc over
    bytes(...fromSlot);
  }
  bytes(0x0f, 0xb7, 0x03); // movzx eax, word [rbx]: number
  bytes(0x0f, 0x05); // syscall
  bytes(0x48, 0x83, 0xf8, -ERRNO_EINTR & 255); // cmp rax, -EINTR
  je("call");
  bytes(0x0f, 0xb6, 0x4b, 0x05); // movzx ecx, byte [rbx+5]: result slot
  bytes(0x49, 0x89, 0x04, 0xcc); // mov [r12+rcx*8], rax
  bytes(0x48, 0x3d); // cmp rax, -4095
  word(-4095);
  jae("error");
  bytes(0x8b, 0x4b, 0x08); // mov ecx, [rbx+8]: expected
  bytes(0x83, 0xf9, ANY & 255); // cmp ecx, -1
  je("good");
  bytes(0x39, 0xc1); // cmp ecx, eax
  jne("short");
  asm.label("good");
  bytes(0x80, 0x7b, 0x02, KIND.child); // cmp byte [rbx+2], child
  jne("next");
  bytes(0x48, 0x85, 0xc0); // test rax, rax
  jnz("next");
  asm.label("jump");
  bytes(0x8b, 0x5b, 0x0c); // mov ebx, [rbx+12]
  jmp("row");
  asm.label("next");
  bytes(0x48, 0x83, 0xc3, ROW_SIZE); // add rbx, 64
  jmp("row");

  asm.label("error");
  bytes(0x80, 0x7b, 0x03, MODE_ALL); // cmp byte [rbx+3], ignore all
  je("next");
  bytes(0xf7, 0xd8); // neg eax
  for (const errno of [6, 7]) {
    bytes(0x0f, 0xb6, 0x4b, errno); // movzx ecx, byte [rbx+errno]
    bytes(0x39, 0xc1); // cmp ecx, eax: not al alone, since a seccomp filter may answer with an errno over 255
    je("next");
  }
  bytes(0x3b, 0x43, 0x0c); // cmp eax, [rbx+12]: a third errno, or an address, which is none
  je("next");
  jmp("report");
  asm.label("short");
  bytes(0xb8); // mov eax, EIO
  word(ERRNO_EIO);
  asm.label("report"); // errno in eax
  bytes(0x49, 0x8d, 0xb4, 0x24); // lea rsi, [r12+record]
  word(RECORD_OFFSET);
  bytes(0x89, 0x46, 0x04); // mov [rsi+4], eax
  bytes(0x89, 0xd8, 0x2d); // mov eax, ebx; sub eax, rows
  word(rowsAddress);
  bytes(0xc1, 0xe8, 6); // shr eax, 6
  bytes(0x89, 0x06); // mov [rsi], eax
  bytes(0x49, 0x8b, 0x3c, 0x24); // mov rdi, [r12]: slot 0, the report descriptor
  bytes(0xba); // mov edx, 8
  word(8);
  bytes(0xb8); // mov eax, write
  word(SYS_WRITE);
  bytes(0x0f, 0x05); // syscall
  bytes(0xbf); // mov edi, 255
  word(255);
  asm.label("leave");
  bytes(0xb8); // mov eax, exit_group
  word(SYS_EXIT_GROUP);
  bytes(0x0f, 0x05); // syscall

  asm.label("store");
  bytes(0x48, 0x8b, 0x43, 16); // mov rax, [rbx+16]
  bytes(0x49, 0x8b, 0x04, 0xc4); // mov rax, [r12+rax*8]
  bytes(0x48, 0x8b, 0x7b, 24); // mov rdi, [rbx+24]
  bytes(0x48, 0x89, 0x07); // mov [rdi], rax
  jmp("next");

  asm.label("branch");
  bytes(0x48, 0x8b, 0x43, 16); // mov rax, [rbx+16]
  bytes(0x49, 0x8b, 0x04, 0xc4); // mov rax, [r12+rax*8]
  bytes(0x48, 0x8b, 0x73, 24); // mov rsi, [rbx+24]
  bytes(0xf6, 0x43, 0x04, 0x02); // test byte [rbx+4], 2
  bytes(0x74, 0x04); // jz over
  bytes(0x49, 0x8b, 0x34, 0xf4); // mov rsi, [r12+rsi*8]
  bytes(0x48, 0x39, 0xf0); // cmp rax, rsi
  je("jump");
  bytes(0x80, 0x7b, 0x03, MODE_ALL); // cmp byte [rbx+3], at most
  jne("next");
  bytes(0x48, 0x39, 0xf0); // cmp rax, rsi
  jle("jump");
  jmp("next");

  asm.label("exit");
  bytes(0x48, 0x8b, 0x73, 16); // mov rsi, [rbx+16]
  bytes(0x8b, 0x06); // mov eax, [rsi]
  bytes(0x89, 0xc7, 0x83, 0xe7, 0x7f); // mov edi, eax; and edi, 0x7f: the signal
  jz("exited");
  bytes(0x81, 0xc7); // add edi, 128
  word(128);
  jmp("leave");
  asm.label("exited");
  bytes(0x0f, 0xb6, 0xfc); // movzx edi, ah: the code
  jmp("leave");

  asm.label("fail");
  bytes(0x8b, 0x43, 16); // mov eax, [rbx+16]
  jmp("report");

  return asm.finish();
}
