import { BITS, type IpAddress, type Subnet, sizeOf } from "./address.ts";

/**
 * The addresses of one subnet. Those that it gives by itself come from a part of it (docker's IPRange), each after the
 * last one given, so that an address that became free rests before somebody else gets it.
 */
export class AddressPool {
  readonly #used = new Set<bigint>();
  readonly #first: bigint;
  readonly #last: bigint;
  #next: bigint;

  constructor(
    readonly subnet: Subnet,
    readonly range: Subnet = subnet,
  ) {
    // A network's own address and its broadcast address belong to nobody (RFC 3021: unless there are but two).
    const edges = subnet.family === 4 && subnet.prefix < 31 ? 1n : 0n;
    const lowest = subnet.base + (subnet.prefix === BITS[subnet.family] ? 0n : subnet.family === 6 ? 1n : edges);
    const highest = subnet.base + sizeOf(subnet) - 1n - edges;
    this.#first = range.base > lowest ? range.base : lowest;
    const end = range.base + sizeOf(range) - 1n;
    this.#last = end < highest ? end : highest;
    this.#next = this.#first;
  }

  /** Addresses in use, without those of the edges. */
  get used(): number {
    return this.#used.size;
  }

  isFree({ value }: IpAddress): boolean {
    return !this.#used.has(value);
  }

  /** False: somebody has it. */
  take({ value }: IpAddress): boolean {
    if (this.#used.has(value)) return false;
    this.#used.add(value);
    return true;
  }

  /** undefined: all are taken. */
  give(): IpAddress | undefined {
    const { family } = this.subnet;
    let value = this.#next;
    // No more steps than there are taken ones can be in vain.
    for (let tries = 0; tries <= this.#used.size + 1; tries++) {
      if (value > this.#last || value < this.#first) value = this.#first;
      if (value > this.#last) return undefined;
      if (!this.#used.has(value)) {
        this.#used.add(value);
        this.#next = value + 1n;
        return { family, value };
      }
      value++;
    }
    return undefined;
  }

  free({ value }: IpAddress): void {
    this.#used.delete(value);
  }

  /** Those that {@link give} can still give. */
  get available(): bigint {
    let taken = 0n;
    for (const value of this.#used) if (value >= this.#first && value <= this.#last) taken++;
    return this.#last - this.#first + 1n - taken;
  }
}
