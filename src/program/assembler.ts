/** Collects machine code and mends its jumps: what the two interpreters share. */
export class Assembler {
  readonly #code: number[] = [];
  readonly #labels = new Map<string, number>();
  readonly #jumps: { at: number; to: string; patch(code: number[], at: number, distance: number): void }[] = [];

  get here(): number {
    return this.#code.length;
  }

  bytes(...bytes: number[]): void {
    this.#code.push(...bytes);
  }

  /** 32 bits, little-endian. */
  word(value: number): void {
    this.#code.push(value & 255, (value >>> 8) & 255, (value >>> 16) & 255, (value >>> 24) & 255);
  }

  label(name: string): void {
    this.#labels.set(name, this.here);
  }

  /** `patch` gets the distance in bytes from `at`, the place of the jump, to the label. */
  jump(to: string, patch: (code: number[], at: number, distance: number) => void): void {
    this.#jumps.push({ at: this.here, to, patch });
  }

  finish(): Uint8Array {
    for (const { at, to, patch } of this.#jumps) {
      const target = this.#labels.get(to);
      if (target === undefined) throw new RangeError(`no label ${to}`);
      patch(this.#code, at, target - at);
    }
    return Uint8Array.from(this.#code);
  }
}
