import { InroError, messageOf } from "../../base/errors.ts";
import type { Monitor } from "../../linux/netlink/monitor.ts";
import { parseAddress } from "../../network/address.ts";
import { type Denial, listenToDenials } from "../../network/denials.ts";
import type { Learned } from "../../network/egress.ts";
import { type EgressPolicy, matching, mayLearn, parseEgress } from "../../network/egress-policy.ts";
import { keyOf } from "../../network/egress-table.ts";
import type { Container } from "../container.ts";
import type { EventLog } from "../events.ts";
import type { ContainerTable } from "../table.ts";
import type { NetworkDriver } from "./driver.ts";
import type { RunNetwork } from "./records.ts";

/** An answer holds for this long at least, and for so long after its time: clients keep addresses longer than they may. */
const LEAST_MS = 60_000;
const GRACE_MS = 60_000;
const SWEEP_MS = 10_000;

/** What containers may send beyond their networks (HostConfig.Egress): rules in the firewall, and names as they resolve. */
export class EgressControl {
  /** By what a user wrote. */
  readonly #policies = new Map<string, EgressPolicy>();
  readonly #learned = new Map<string, Map<string, { learned: Learned; until: number }>>();
  readonly #active = new Set<string>();
  #timer: ReturnType<typeof setInterval> | undefined;
  #listener: Monitor | "opening" | undefined;

  constructor(
    private readonly driver: NetworkDriver,
    private readonly table: ContainerTable,
    private readonly events: EventLog,
    private readonly log: (line: string) => void,
  ) {}

  /** Undefined for a container that may send what it likes. */
  policy({ record }: Pick<Container, "record">): EgressPolicy | undefined {
    const { Egress } = record.host;
    if (!Egress?.length) return undefined;
    const text = Egress.join("\n");
    let policy = this.#policies.get(text);
    if (!policy) {
      policy = parseEgress(Egress);
      this.#policies.set(text, policy);
    }
    return policy;
  }

  /** Throws invalid where a run's networks are none that the firewall sees. */
  check(container: Container, drivers: readonly string[]): void {
    const other = this.policy(container) && drivers.find((driver) => driver !== "bridge");
    if (other) throw new InroError("invalid", `egress rules are for networks of driver bridge, not ${other}`);
  }

  /** The rules of a run with these endpoints, before they are plugged in. */
  apply(container: Container, run: RunNetwork): void {
    const policy = this.policy(container);
    if (!policy) return;
    const sources = run.endpoints.flatMap(({ ipv4, ipv6 }) =>
      [ipv4, ipv6].flatMap((text) => (text && parseAddress(text)) || []),
    );
    this.driver.firewall.egress.add({ key: keyOfContainer(container.id), policy, sources });
    this.#active.add(container.id);
    this.#listen();
  }

  /** After a restart of the engine: what was learned before is in the kernel, and holds on. */
  adopt(container: Container, run: RunNetwork): void {
    if (!this.policy(container)) return;
    const key = keyOfContainer(container.id);
    const learned = this.driver.firewall.egress.learned(key);
    this.apply(container, run);
    if (learned.length === 0) return;
    const until = performance.now() + LEAST_MS + GRACE_MS;
    this.#learned.set(container.id, new Map(learned.map((one) => [keyOf(one), { learned: one, until }])));
    this.driver.firewall.egress.learn(key, learned);
    this.#timer ??= setInterval(() => this.#sweep(), SWEEP_MS).unref();
  }

  release(id: string): void {
    if (!this.#active.delete(id)) return;
    this.#learned.delete(id);
    this.driver.firewall.egress.remove(keyOfContainer(id));
    if (this.#active.size > 0) return;
    clearInterval(this.#timer);
    this.#timer = undefined;
    if (this.#listener && this.#listener !== "opening") this.#listener.close();
    this.#listener = undefined;
  }

  /** Whether the world may be asked for a name: whoever is kept from it must not speak to it in questions either. */
  mayAsk(container: Container, name: string): boolean {
    const policy = this.policy(container);
    return !policy?.closed || matching(policy, name).length > 0;
  }

  /** An answer of the world, before the container has it. */
  answered(container: Container, name: string, addresses: readonly { address: string; ttl: number }[]): void {
    const policy = this.policy(container);
    const names = policy ? matching(policy, name) : [];
    if (!policy || names.length === 0 || !this.#active.has(container.id)) return;
    const known = this.#learned.get(container.id) ?? new Map<string, { learned: Learned; until: number }>();
    this.#learned.set(container.id, known);
    const now = performance.now();
    const found: Learned[] = [];
    for (const { address: text, ttl } of addresses) {
      const address = parseAddress(text);
      if (!address || !mayLearn(policy, address)) continue;
      for (const { port } of names) {
        const learned: Learned = port === undefined ? { address } : { address, port };
        known.set(keyOf(learned), { learned, until: now + Math.max(ttl * 1000, LEAST_MS) + GRACE_MS });
        found.push(learned);
      }
    }
    this.driver.firewall.egress.learn(keyOfContainer(container.id), found);
    this.#timer ??= setInterval(() => this.#sweep(), SWEEP_MS).unref();
  }

  /** What inspect shows; undefined without rules. */
  shown(container: Container): { Denied: { Packets: number; Bytes: number } } | undefined {
    if (!this.policy(container)) return undefined;
    const { packets, bytes } = this.#active.has(container.id)
      ? this.driver.firewall.egress.denied(keyOfContainer(container.id))
      : { packets: 0, bytes: 0 };
    return { Denied: { Packets: packets, Bytes: bytes } };
  }

  close(): void {
    clearInterval(this.#timer);
    if (this.#listener && this.#listener !== "opening") this.#listener.close();
    this.#active.clear();
  }

  #sweep(): void {
    const now = performance.now();
    for (const [id, known] of this.#learned) {
      const over = [...known].filter(([, { until }]) => until <= now);
      for (const [key] of over) known.delete(key);
      this.driver.firewall.egress.forget(
        keyOfContainer(id),
        over.map(([, { learned }]) => learned),
      );
    }
  }

  #listen(): void {
    if (this.#listener) return;
    this.#listener = "opening";
    const again = () => {
      this.#listener = undefined;
      if (this.#active.size > 0) this.#listen();
    };
    listenToDenials(this.driver.denials, (denial) => this.#denied(denial), again).then(
      (listener) => {
        if (this.#active.size > 0) this.#listener = listener;
        else listener.close();
      },
      (error) => this.log(`egress: denials are counted, but not told of: ${messageOf(error)}`),
    );
  }

  #denied({ key, address, protocol, port }: Denial): void {
    const container = this.table.all().find(({ id }) => id.startsWith(key));
    if (!container) return;
    const to = port === undefined ? address : `${address.includes(":") ? `[${address}]` : address}:${port}`;
    this.log(`container ${container.record.name}: egress to ${to} (${protocol}) denied`);
    this.events.emit("container", "egress_denied", container.id, {
      name: container.record.name,
      image: container.record.image,
      destination: to,
      protocol,
    });
  }
}

const keyOfContainer = (id: string) => id.slice(0, 12);
