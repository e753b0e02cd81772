import { Assembler } from "./assembler.ts";
import { DATA_ADDRESS, KIND, MODE_ALL, RECORD_OFFSET, ROW_SIZE } from "./layout.ts";

/**
 * The row interpreter for AArch64 (Arm ARM, part C6 for the encodings; syscall(2) for the convention: number in x8,
 * arguments in x0 to x5, result in x0, nothing else lost).
 *
 *   x19  address of the current row        x20  address of slot 0        x9 to x11  scratch
 */
const ROW = 19;
const SLOTS = 20;
const ZERO = 31;
const ERRNO_EINTR = 4;
const ERRNO_EIO = 5;
const ERRNO_MAX = 4095;
const SYS_WRITE = 64;
const SYS_EXIT_GROUP = 94;
/** Condition codes: `hs` is unsigned at least, `le` signed at most. */
const COND = { eq: 0, ne: 1, hs: 2, le: 13 } as const;

export function interpreter(rowsAddress: number): Uint8Array {
  const asm = new Assembler();
  const word = asm.word.bind(asm);

  // Most are `opcode | imm12 << 10 | Rn << 5 | Rd`; a load's or store's immediate counts units of its own size.
  const immediate = (opcode: number, d: number, n: number, imm: number) => word(opcode | (imm << 10) | (n << 5) | d);
  // opcode | Rm << 16 | Rn << 5 | Rd
  const register = (opcode: number, d: number, n: number, m: number) => word(opcode | (m << 16) | (n << 5) | d);
  // opcode | immr << 16 | imms << 10 | Rn << 5 | Rd
  const bitfield = (opcode: number, d: number, n: number, immr: number, imms: number) =>
    word(opcode | (immr << 16) | (imms << 10) | (n << 5) | d);

  const ldrb = (t: number, n: number, offset: number) => immediate(0x3940_0000, t, n, offset);
  const ldrh = (t: number, n: number, offset: number) => immediate(0x7940_0000, t, n, offset / 2);
  const ldrW = (t: number, n: number, offset: number) => immediate(0xb940_0000, t, n, offset / 4);
  const ldr = (t: number, n: number, offset: number) => immediate(0xf940_0000, t, n, offset / 8);
  const strW = (t: number, n: number, offset: number) => immediate(0xb900_0000, t, n, offset / 4);
  const str = (t: number, n: number, offset: number) => immediate(0xf900_0000, t, n, offset / 8);
  /** Xt = slot number Xm; the other way round. */
  const ldrSlot = (t: number, m: number) => register(0xf860_7800, t, SLOTS, m); // ldr Xt, [x20, Xm, lsl #3]
  const strSlot = (t: number, m: number) => register(0xf820_7800, t, SLOTS, m);

  const add = (d: number, n: number, imm: number) => immediate(0x9100_0000, d, n, imm);
  const cmpImmW = (n: number, imm: number) => immediate(0x7100_0000, ZERO, n, imm); // subs wzr, Wn, #imm
  const cmnImmW = (n: number, imm: number) => immediate(0x3100_0000, ZERO, n, imm); // adds: compares with -imm
  const cmnImm = (n: number, imm: number) => immediate(0xb100_0000, ZERO, n, imm);
  const cmpW = (n: number, m: number) => register(0x6b00_0000, ZERO, n, m);
  const cmp = (n: number, m: number) => register(0xeb00_0000, ZERO, n, m);
  const subW = (d: number, n: number, m: number) => register(0x4b00_0000, d, n, m);
  const negW = (d: number, m: number) => subW(d, ZERO, m);
  const lsrW = (d: number, n: number, shift: number) => bitfield(0x5300_0000, d, n, shift, 31); // ubfm Wd, Wn, shift, 31
  const ubfxW = (d: number, n: number, lsb: number, width: number) => bitfield(0x5300_0000, d, n, lsb, lsb + width - 1);
  /** Keeps the lowest `width` bits, and compares them with 0: a run of ones is encoded as its length less one. */
  const lowBitsW = (d: number, n: number, width: number) => bitfield(0x7200_0000, d, n, 0, width - 1); // ands

  const movz = (d: number, imm: number) => word(0xd280_0000 | (imm << 5) | d);
  /** Always two instructions, so that the length does not depend on the address. */
  const address = (d: number, value: number) => {
    movz(d, value & 0xffff);
    word(0xf2a0_0000 | ((value >>> 16) << 5) | d); // movk Xd, #value, lsl #16
  };
  const svc = () => word(0xd400_0001);

  /** A jump whose distance, in instructions, fills `width` bits from bit `shift` on. */
  const jump = (opcode: number, shift: number, width: number, to: string) => {
    asm.jump(to, (code, at, distance) => {
      const field = ((distance >> 2) & ((1 << width) - 1)) << shift;
      for (let i = 0; i < 4; i++) code[at + i] = ((opcode | field) >>> (8 * i)) & 255;
    });
    word(0);
  };
  const b = (to: string) => jump(0x1400_0000, 0, 26, to);
  const bIf = (cond: keyof typeof COND, to: string) => jump(0x5400_0000 | COND[cond], 5, 19, to);
  const cbnz = (t: number, to: string) => jump(0xb500_0000 | t, 5, 19, to);
  /** Skips the next instruction if the bit is 0. */
  const tbzOver = (t: number, bit: number) => word(0x3600_0000 | (bit << 19) | (2 << 5) | t);

  address(ROW, rowsAddress);
  address(SLOTS, DATA_ADDRESS);

  asm.label("row");
  ldrb(9, ROW, 2); // kind
  for (const kind of ["store", "branch", "exit", "fail"] as const) {
    cmpImmW(9, KIND[kind]);
    bIf("eq", kind);
  }

  asm.label("call");
  ldrb(10, ROW, 4); // which arguments are slots
  for (let i = 0; i < 6; i++) {
    ldr(i, ROW, 16 + i * 8);
    tbzOver(10, i);
    ldrSlot(i, i);
  }
  ldrh(8, ROW, 0); // number
  svc();
  cmnImm(0, ERRNO_EINTR);
  bIf("eq", "call");
  ldrb(9, ROW, 5); // result slot
  strSlot(0, 9);
  cmnImm(0, ERRNO_MAX);
  bIf("hs", "error");
  ldrW(9, ROW, 8); // expected
  cmnImmW(9, 1); // ANY is -1
  bIf("eq", "good");
  cmpW(9, 0);
  bIf("ne", "short");
  asm.label("good");
  ldrb(9, ROW, 2);
  cmpImmW(9, KIND.child);
  bIf("ne", "next");
  cbnz(0, "next");
  asm.label("jump");
  ldrW(ROW, ROW, 12);
  b("row");
  asm.label("next");
  add(ROW, ROW, ROW_SIZE);
  b("row");

  asm.label("error");
  ldrb(9, ROW, 3);
  cmpImmW(9, MODE_ALL); // ignore all
  bIf("eq", "next");
  negW(0, 0);
  for (const errno of [6, 7]) {
    ldrb(9, ROW, errno);
    cmpW(9, 0);
    bIf("eq", "next");
  }
  ldrW(9, ROW, 12);
  cmpW(9, 0);
  bIf("eq", "next");
  b("report");
  asm.label("short");
  movz(0, ERRNO_EIO);
  asm.label("report"); // errno in w0
  add(1, SLOTS, RECORD_OFFSET);
  strW(0, 1, 4);
  address(9, rowsAddress);
  subW(9, ROW, 9);
  lsrW(9, 9, Math.log2(ROW_SIZE));
  strW(9, 1, 0);
  ldr(0, SLOTS, 0); // slot 0, the report descriptor
  movz(2, 8);
  movz(8, SYS_WRITE);
  svc();
  movz(0, 255);
  asm.label("leave"); // status in x0
  movz(8, SYS_EXIT_GROUP);
  svc();

  asm.label("store");
  ldr(9, ROW, 16);
  ldrSlot(9, 9);
  ldr(10, ROW, 24);
  str(9, 10, 0);
  b("next");

  asm.label("branch");
  ldr(9, ROW, 16);
  ldrSlot(9, 9);
  ldr(10, ROW, 24);
  ldrb(11, ROW, 4);
  tbzOver(11, 1);
  ldrSlot(10, 10);
  cmp(9, 10);
  bIf("eq", "jump");
  ldrb(11, ROW, 3);
  cmpImmW(11, MODE_ALL); // at most
  bIf("ne", "next");
  cmp(9, 10);
  bIf("le", "jump");
  b("next");

  asm.label("exit");
  ldr(9, ROW, 16);
  ldrW(9, 9, 0);
  lowBitsW(0, 9, 7); // the signal
  bIf("eq", "exited");
  add(0, 0, 128);
  b("leave");
  asm.label("exited");
  ubfxW(0, 9, 8, 8); // the code
  b("leave");

  asm.label("fail");
  ldrW(0, ROW, 16);
  b("report");

  return asm.finish();
}
