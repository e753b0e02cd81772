import { describe, expect, test } from "bun:test";
import fc from "fast-check";
import { encode, interpreterOf } from "./elf.ts";
import { type Data, MAX_SLOTS, Offset, type Operand, Program, type Slot } from "./ir.ts";
import { DATA_ADDRESS, DATA_OFFSET, layout, type Machine, ROW_SIZE } from "./layout.ts";

const MACHINES: readonly Machine[] = ["x86_64", "aarch64"];
const ROWS_ADDRESS = 0x40_0400;

/** What a row's argument is, before the data and slots that it picks from exist. */
type Shape =
  | { kind: "number"; value: bigint }
  | { kind: "slot" | "data"; pick: number }
  | { kind: "offset"; pick: number; offset: number };

const pick = fc.nat(1000);
const shape: fc.Arbitrary<Shape> = fc.oneof(
  fc.record({ kind: fc.constant("number" as const), value: fc.bigInt(-(2n ** 63n), 2n ** 64n - 1n) }),
  fc.record({ kind: fc.constantFrom("slot" as const, "data" as const), pick }),
  fc.record({ kind: fc.constant("offset" as const), pick, offset: fc.nat(64) }),
);
const programShape = fc.record({
  data: fc.array(fc.record({ bytes: fc.uint8Array({ maxLength: 70 }), pointer: fc.option(pick) }), { minLength: 1 }),
  texts: fc.array(fc.string({ maxLength: 20 }).filter((s) => !s.includes("\0"))),
  slots: fc.integer({ min: 1, max: 38 }),
  rows: fc.array(
    fc.record({
      kind: fc.constantFrom("call", "child", "store", "branch", "exit", "fail"),
      args: fc.array(shape, { minLength: 2, maxLength: 6 }),
      to: pick,
    }),
    { minLength: 1, maxLength: 40 },
  ),
});

interface Built {
  program: Program;
  /** The operands of each row, in the order of its argument fields. */
  operands: Operand[][];
  targets: (number | undefined)[];
}

function build({ data, texts, slots, rows }: typeof programShape extends fc.Arbitrary<infer T> ? T : never): Built {
  const program = new Program(7);
  for (let i = 0; i < slots; i++) program.slot(`slot ${i}`);
  const pool: Data[] = texts.map((text) => program.text(text));
  for (const { bytes, pointer } of data) {
    const to = pointer === null ? undefined : pool[pointer % Math.max(pool.length, 1)];
    if (to) pool.push(Object.assign(program.bytes(Buffer.alloc(16), "pointer"), { pointers: [[8, to]] }));
    pool.push(program.bytes(bytes, "bytes"));
  }
  const operandOf = (s: Shape): Operand => {
    if (s.kind === "number") return s.value;
    if (s.kind === "slot") return program.slots[s.pick % program.slots.length] as Slot;
    const found = pool[s.pick % pool.length]!;
    return s.kind === "offset" ? new Offset(found, s.offset) : found;
  };
  const operands: Operand[][] = [];
  const targets: (number | undefined)[] = [];
  for (const row of rows) {
    const args = row.args.map(operandOf);
    const slot = program.slots[row.to % program.slots.length]!;
    const place = pool[row.to % pool.length]!;
    const label = program.label("somewhere");
    label.row = row.to % rows.length;
    const jumps = row.kind === "child" || row.kind === "branch";
    targets.push(jumps ? label.row : undefined);
    if (row.kind === "call") program.call("", "write", args);
    else if (row.kind === "child") program.call("", "clone3", args, { child: label });
    else if (row.kind === "store") program.store("", slot, place);
    else if (row.kind === "branch") program.branch("", slot, "equal", args[0]!, label);
    else if (row.kind === "exit") program.exit("", place);
    else program.fail("", "execve", "sh", "ENOENT");
    if (row.kind === "call" || row.kind === "child") operands.push(args);
    else if (row.kind === "store") operands.push([slot, place]);
    else if (row.kind === "branch") operands.push([slot, args[0]!]);
    else operands.push(row.kind === "exit" ? [place] : []);
  }
  return { program, operands, targets };
}

describe("layout", () => {
  test("any program: every datum has its own place, every argument and target points there", () => {
    fc.assert(
      fc.property(programShape, fc.constantFrom(...MACHINES), (shape, machine) => {
        const { program, operands, targets } = build(shape);
        const image = layout(program, machine, ROWS_ADDRESS);
        const rows = Buffer.from(image.rows);
        const data = Buffer.from(image.data);
        expect(rows.length).toBe(program.rows.length * ROW_SIZE);
        expect(data.readBigInt64LE(0)).toBe(7n);

        const places = new Map<Data, number>();
        const found = (datum: Data, address: number) => {
          expect(places.get(datum) ?? address).toBe(address);
          if (places.has(datum)) return;
          places.set(datum, address);
          const at = address - DATA_ADDRESS;
          const bytes = Buffer.from(datum.bytes);
          for (const [offset, to] of datum.pointers) {
            const pointer = data.readBigUInt64LE(at + offset);
            bytes.writeBigUInt64LE(pointer, offset);
            found(to, Number(pointer));
          }
          expect(data.subarray(at, at + bytes.length).equals(bytes)).toBe(true);
        };
        for (const [i, args] of operands.entries()) {
          for (const [n, operand] of args.entries()) {
            const value = rows.readBigUInt64LE(i * ROW_SIZE + 16 + n * 8);
            const isSlot = typeof operand === "object" && "index" in operand;
            const row = program.rows[i]!;
            if (row.kind === "call" || row.kind === "branch") {
              expect((rows[i * ROW_SIZE + 4]! >> n) & 1).toBe(isSlot && !(row.kind === "branch" && n === 0) ? 1 : 0);
            }
            if (isSlot) expect(value).toBe(BigInt(operand.index));
            else if (operand instanceof Offset) found(operand.data, Number(value) - operand.offset);
            else if (typeof operand === "object") found(operand, Number(value));
            else expect(value).toBe(BigInt.asUintN(64, BigInt(operand)));
          }
          const target = targets[i];
          const address = rows.readUInt32LE(i * ROW_SIZE + 12);
          expect(address).toBe(target === undefined ? 0 : ROWS_ADDRESS + target * ROW_SIZE);
        }
        let end = DATA_ADDRESS + DATA_OFFSET;
        for (const [datum, at] of [...places].filter(([d]) => d.bytes.length > 0).sort((a, b) => a[1] - b[1])) {
          expect(at).toBeGreaterThanOrEqual(end);
          expect(at % 8).toBe(0);
          end = at + datum.bytes.length;
        }
        expect(end).toBeLessThanOrEqual(DATA_ADDRESS + data.length);
      }),
      { numRuns: 200 },
    );
  });

  test("refuses what it cannot encode", () => {
    const fails = (build: (p: Program) => void) => {
      const p = new Program(3);
      build(p);
      return () => layout(p, "x86_64", ROWS_ADDRESS);
    };
    expect(fails((p) => p.branch("", p.report, "equal", 0, p.label("lost")))).toThrow("label lost is not placed");
    expect(
      fails((p) => {
        const end = p.label("end");
        p.branch("", p.report, "equal", 0, end);
        p.place(end);
      }),
    ).toThrow("label end is after the last row");
    expect(fails((p) => p.call("", "write", [1, 2, 3, 4, 5, 6, 7]))).toThrow("call with 7 arguments");
    expect(fails((p) => p.call("", "close", [1], { ignore: ["EBADF", "EIO", "EINTR", "EPERM"] }))).toThrow(
      "at most 3 errnos",
    );
    const p = new Program(3);
    expect(() => p.text("a\0b")).toThrow("NUL");
    const many = () => {
      for (let i = 0; i < MAX_SLOTS; i++) p.slot("slot");
    };
    expect(many).toThrow("a launch of more values than fit into its slots");
    expect(p.temporary("t").index).toBe(p.slots.length);
  });
});

describe("elf", () => {
  interface Segment {
    type: number;
    flags: number;
    offset: number;
    address: number;
    fileSize: number;
    memorySize: number;
    align: number;
  }

  /** elf(5): the header and program headers, by their offsets. */
  function read(file: Buffer) {
    const u64 = (at: number) => Number(file.readBigUInt64LE(at));
    const segments: Segment[] = [];
    for (let i = 0; i < file.readUInt16LE(56); i++) {
      const at = u64(32) + i * file.readUInt16LE(54);
      segments.push({
        type: file.readUInt32LE(at),
        flags: file.readUInt32LE(at + 4),
        offset: u64(at + 8),
        address: u64(at + 16),
        fileSize: u64(at + 32),
        memorySize: u64(at + 40),
        align: u64(at + 48),
      });
    }
    return {
      ident: file.subarray(0, 7).toString("latin1"),
      type: file.readUInt16LE(16),
      machine: file.readUInt16LE(18),
      entry: u64(24),
      segments,
    };
  }

  const small = () => {
    const p = new Program(5);
    p.call("", "write", [1, p.text("the text"), 8]);
    p.exit("", p.room(4, "status"));
    return p;
  };

  test.each([
    ["x86_64", 62, 4096],
    ["aarch64", 183, 65536],
  ] as const)("%s: reads back", (machine, number, page) => {
    const p = small();
    const file = Buffer.from(encode(p, machine));
    const { code, rowsAddress } = interpreterOf(machine);
    const { ident, type, machine: em, entry, segments } = read(file);
    expect({ ident, type, em }).toEqual({ ident: "\x7fELF\x02\x01\x01", type: 2, em: number });
    const [text, data, stack] = segments;
    expect(segments.map((s) => [s.type, s.flags])).toEqual([
      [1, 5],
      [1, 6],
      [0x6474e551, 6],
    ]);
    expect(stack?.memorySize).toBe(0);
    for (const s of [text!, data!]) {
      expect(s.align).toBe(page);
      expect(s.address % page).toBe(s.offset % page);
      expect(s.memorySize).toBe(s.fileSize);
    }
    expect(text!.address + text!.memorySize).toBeLessThanOrEqual(data!.address);
    // No page of the file holds both code and data.
    expect(data!.offset).toBeGreaterThanOrEqual(Math.ceil((text!.offset + text!.fileSize) / page) * page);
    expect(file.length).toBe(data!.offset + data!.fileSize);

    const inFile = (address: number, s: Segment, size: number) => {
      const at = s.offset + address - s.address;
      return file.subarray(at, at + size);
    };
    const { rows, data: image } = layout(p, machine, rowsAddress);
    expect(inFile(entry, text!, code.length)).toEqual(Buffer.from(code));
    expect(entry + code.length).toBeLessThanOrEqual(rowsAddress);
    expect(inFile(rowsAddress, text!, rows.length)).toEqual(Buffer.from(rows));
    expect(inFile(DATA_ADDRESS, data!, image.length)).toEqual(Buffer.from(image));
  });

  test("refuses rows that would reach into the data", () => {
    const p = new Program(3);
    for (let i = 0; i < 32768; i++) p.call("", "getpid", []);
    expect(() => encode(p, "x86_64")).toThrow("a launch of 32768 system calls is too long");
  });
});
