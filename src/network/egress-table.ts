import { codeOf } from "../base/errors.ts";
import type { Expression } from "../linux/netlink/nft-expressions.ts";
import {
  type Chain,
  deleteElements,
  flushChain,
  newChain,
  newRule,
  newSet,
  type Table,
} from "../linux/netlink/nftables.ts";
import type { Request } from "../linux/netlink/socket.ts";
import { addressOfBytes } from "./address.ts";
import {
  counterOf,
  type EgressContainer,
  egressMaps,
  egressParts,
  egressRules,
  type Learned,
  learnedElements,
  learnedOf,
  removeEgress,
  sourceElements,
} from "./egress.ts";
import { FAMILIES } from "./firewall-rules.ts";

/** The table as the firewall gives it. */
interface Kernel {
  /** Where the table is not there, or is not as it was, it is built. */
  change(requests: readonly Request[]): void;
  build(): void;
  /** Keys of a set; ENOENT where there is none. */
  elements(set: string): Buffer[];
  counter(name: string): { packets: number; bytes: number };
}

/** Sets have numbers in a transaction: those of containers come after those of the table. */
const FIRST_ID = 100;
const SETS_EACH = 4;

/**
 * The containers with rules for what they send beyond their networks. A container is a chain, reached by its address; one
 * that comes or goes, and an address that is learned, are changes of elements. While there is none there is nothing.
 */
export class EgressTable {
  readonly #containers = new Map<string, { container: EgressContainer; learned: Map<string, Learned> }>();

  constructor(
    private readonly table: Table,
    private readonly group: number | undefined,
    private readonly kernel: Kernel,
  ) {}

  /** A container's rules, in place of those that it has by now. Before it sends anything. */
  add(container: EgressContainer): void {
    const before = this.#containers.get(container.key);
    const first = this.#containers.size === 0;
    const learned = before?.learned ?? new Map<string, Learned>();
    this.#containers.set(container.key, { container, learned });
    const { table } = this;
    try {
      if (first) {
        this.kernel.build();
        return;
      }
      const { sets, counters, chains } = egressParts(table, container, FIRST_ID, this.group);
      this.kernel.change([
        ...(before ? sourceElements(table, before.container, deleteElements) : []),
        ...sets.map((set) => newSet(table, set)),
        ...counters,
        ...chains.flatMap(({ name, rules }) => [
          newChain(table, { name }),
          flushChain(table, name),
          ...rules.map((rule) => newRule(table, name, rule)),
        ]),
        ...sourceElements(table, container),
        ...learnedElements(table, container.key, [...learned.values()]),
      ]);
    } catch (error) {
      this.#containers.delete(container.key);
      throw error;
    }
  }

  remove(key: string): void {
    const known = this.#containers.get(key);
    if (known && this.#containers.delete(key)) this.kernel.change(removeEgress(this.table, known.container));
  }

  /** Addresses that a container may reach from now on. */
  learn(key: string, all: readonly Learned[]): void {
    const known = this.#containers.get(key)?.learned;
    const fresh = all.filter((one) => known && !known.has(keyOf(one)));
    for (const one of fresh) known!.set(keyOf(one), one);
    if (fresh.length > 0) this.kernel.change(learnedElements(this.table, key, fresh));
  }

  /** What the kernel has of it: of an engine before this one. */
  learned(key: string): Learned[] {
    return FAMILIES.flatMap((one) =>
      [false, true].flatMap((ported) => {
        try {
          return this.kernel.elements(learnedOf(key, one, ported)).map((bytes) => {
            const size = one === 4 ? 4 : 16;
            const address = addressOfBytes(bytes.subarray(0, size));
            return ported ? { address, port: bytes.readUInt16BE(size) } : { address };
          });
        } catch {
          // There is none.
          return [];
        }
      }),
    );
  }

  forget(key: string, all: readonly Learned[]): void {
    const known = this.#containers.get(key)?.learned;
    const gone = all.filter((one) => known?.delete(keyOf(one)));
    if (gone.length > 0) this.kernel.change(learnedElements(this.table, key, gone, deleteElements));
  }

  /** What the rules of a container have dropped; nothing where the kernel has none. */
  denied(key: string): { packets: number; bytes: number } {
    try {
      return this.kernel.counter(counterOf(key));
    } catch {
      return { packets: 0, bytes: 0 };
    }
  }

  /** For the chains that see what containers send. */
  rules(): Expression[][] {
    return this.#containers.size > 0 ? egressRules() : [];
  }

  /** All that belongs into the table, in the order in which the kernel wants it. */
  content(): { parts: Request[]; chains: (Chain & { rules: Expression[][] })[]; elements: Request[] } {
    const { table, group } = this;
    const all = [...this.#containers.values()];
    if (all.length === 0) return { parts: [], chains: [], elements: [] };
    const maps = egressMaps(FIRST_ID - FAMILIES.length).map((set) => newSet(table, set));
    const each = all.map(({ container }, i) => egressParts(table, container, FIRST_ID + i * SETS_EACH, group));
    return {
      parts: [
        ...maps,
        ...each.flatMap(({ sets, counters }) => [...sets.map((set) => newSet(table, set)), ...counters]),
      ],
      chains: each.flatMap(({ chains }) => chains),
      elements: all.flatMap(({ container, learned }) => [
        ...sourceElements(table, container),
        ...learnedElements(table, container.key, [...learned.values()]),
      ]),
    };
  }
}

export const keyOf = ({ address, port }: Learned): string => `${address.family} ${address.value} ${port ?? ""}`;

/** Whether a transaction failed for what somebody else has done to the table. */
export const isDisturbed = (error: unknown): boolean => ["ENOENT", "EEXIST", "EBUSY"].includes(codeOf(error) ?? "");
