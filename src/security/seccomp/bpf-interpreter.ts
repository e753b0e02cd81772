/**
 * Runs a seccomp filter as the kernel would and returns its value; what the kernel would refuse throws. `done`
 * counts the instructions that were executed.
 */
export function runFilter(
  code: Uint8Array,
  call: { arch: number; nr: number; args: readonly bigint[] },
  done = { instructions: 0 },
): number {
  const data = new DataView(new ArrayBuffer(64));
  data.setUint32(0, call.nr, true);
  data.setUint32(4, call.arch, true);
  call.args.forEach((arg, i) => {
    data.setBigUint64(16 + i * 8, arg, true);
  });
  const program = new DataView(code.buffer, code.byteOffset, code.length);
  const count = code.length / 8;
  let accumulator = 0;
  for (let pc = 0; pc < count; ) {
    const op = program.getUint16(pc * 8, true);
    const jt = program.getUint8(pc * 8 + 2);
    const jf = program.getUint8(pc * 8 + 3);
    const k = program.getUint32(pc * 8 + 4, true);
    pc++;
    done.instructions++;
    if (op === 0x20) accumulator = data.getUint32(k, true);
    else if (op === 0x54) accumulator = (accumulator & k) >>> 0;
    else if (op === 0x05) pc += k;
    else if (op === 0x06) return k;
    else if (op === 0x15) pc += accumulator === k ? jt : jf;
    else if (op === 0x25) pc += accumulator > k ? jt : jf;
    else if (op === 0x35) pc += accumulator >= k ? jt : jf;
    else throw new Error(`instruction ${pc - 1}: unknown opcode ${op}`);
  }
  throw new Error("ran past the end");
}

/** For tests: the rules that the kernel checks of every instruction when a filter is installed (seccomp_check_filter). */
export function checkFilter(code: Uint8Array): void {
  const program = new DataView(code.buffer, code.byteOffset, code.length);
  const count = code.length / 8;
  if (!Number.isInteger(count) || count === 0 || count > 4096) throw new Error(`${count} instructions`);
  for (let i = 0; i < count; i++) {
    const op = program.getUint16(i * 8, true);
    const k = program.getUint32(i * 8 + 4, true);
    const left = count - i - 1;
    const far = Math.max(program.getUint8(i * 8 + 2), program.getUint8(i * 8 + 3));
    if (op === 0x20 && (k % 4 !== 0 || k >= 64)) throw new Error(`instruction ${i}: load from ${k}`);
    if (op === 0x05 && k >= left) throw new Error(`instruction ${i}: jump out of the program`);
    if ([0x15, 0x25, 0x35].includes(op) && far >= left) throw new Error(`instruction ${i}: jump out of the program`);
    if (left === 0 && op !== 0x06) throw new Error("does not end with a return");
  }
}
