import { newId } from "../../base/digest.ts";
import { conflict, InroError, invalid, notFound, unavailable } from "../../base/errors.ts";
import {
  formatAddress,
  formatSubnet,
  type IpFamily,
  overlap,
  parseSubnet,
  type Subnet,
} from "../../network/address.ts";
import { chooseSubnet, chooseV6Subnet } from "../../network/default-pools.ts";
import { nowText } from "../clock.ts";
import type { Container } from "../container.ts";
import type { EventLog } from "../events.ts";
import { labelsMatch } from "../list-filters.ts";
import type { Filters } from "../requests.ts";
import type { ContainerTable } from "../table.ts";
import { parseUntil } from "../until.ts";
import { NetworkAddresses } from "./addresses.ts";
import type { NetworkDriver } from "./driver.ts";
import type { NetworkStore } from "./network-store.ts";
import type { NetworkRecord } from "./records.ts";
import { BRIDGE_NAME, exists, gatewayMode, INHIBIT_V4, isOn, networkDraft, PREDEFINED } from "./validate.ts";

/** Of the default network, with the first number that nobody has: there may be other engines. */
const DEFAULT_BRIDGE = "inro";

/** The networks that there are. `ref` is a name, a full id or a unique prefix of one. */
export class Networks {
  readonly #records = new Map<string, NetworkRecord>();
  readonly #addresses = new Map<string, NetworkAddresses>();
  /** Names of those that are being removed. */
  readonly #leaving = new Set<string>();

  constructor(
    private readonly store: NetworkStore,
    readonly driver: NetworkDriver,
    private readonly table: ContainerTable,
    private readonly events: EventLog,
    /** Names of those that are always there. */
    private readonly predefined: readonly string[] = Object.keys(PREDEFINED),
  ) {
    for (const record of store.all()) this.#records.set(record.id, record);
  }

  /** Where a container is that names no network. */
  get defaultName(): string {
    return this.predefined.includes("bridge") ? "bridge" : "none";
  }

  /** All that are recorded; the predefined ones are, once they were asked for. */
  get known(): NetworkRecord[] {
    return [...this.#records.values()];
  }

  all(): NetworkRecord[] {
    this.#predefine();
    return this.known;
  }

  byId(id: string): NetworkRecord | undefined {
    return this.#records.get(id);
  }

  /** By name, full id, or unique prefix of an id, in this order. Throws notFound, or invalid for an ambiguous one. */
  get(ref: string): NetworkRecord {
    this.#predefine();
    const name = ref === "default" ? this.defaultName : ref;
    const all = this.known;
    // As in docker a whole id comes first: a name may look like one.
    const exact = this.#records.get(name) ?? all.find((one) => one.name === name);
    if (exact) return exact;
    const found = /^[0-9a-f]{1,64}$/.test(name) ? all.filter(({ id }) => id.startsWith(name)) : [];
    if (found.length > 1) throw invalid(`network ${name} is ambiguous (${found.length} matches found on ID prefix)`);
    if (!found[0]) throw notFound(`network ${ref.slice(0, 256)} not found`);
    return found[0];
  }

  /** The addresses of a network; its subnets are chosen now, if nobody has. */
  addresses(network: NetworkRecord): NetworkAddresses {
    let addresses = this.#addresses.get(network.id);
    if (!addresses) {
      const settled = this.#settle(network);
      addresses = new NetworkAddresses(settled);
      this.#addresses.set(network.id, addresses);
    }
    return addresses;
  }

  /** `body` is the untrusted NetworkCreateRequest. */
  create(body: unknown): { Id: string; Warning: string } {
    this.#predefine();
    const draft = networkDraft(body, (name) => this.get(name));
    if (this.#leaving.has(draft.name) || this.known.some(({ name }) => name === draft.name)) throw exists(draft.name);
    const id = newId();
    const bridge = draft.driver === "bridge" ? (draft.options[BRIDGE_NAME] ?? `br-${id.slice(0, 12)}`) : undefined;
    let record: NetworkRecord = { id, created: nowText(), ...draft, ...(bridge ? { bridge } : {}) };
    if (!record.configOnly) {
      if (bridge) this.#checkBridgeName(bridge);
      // The default network has the first of the subnets that nobody chose, also when it is used later.
      if (!record.chosen && this.defaultName === "bridge") this.addresses(this.get("bridge"));
      record = this.#choose(record);
    }
    this.store.insert([record]);
    this.#records.set(id, record);
    if (record.driver === "bridge" && !record.configOnly) {
      try {
        this.driver.ensure(record, this.addresses(record));
      } catch (error) {
        // It has left nothing in the kernel.
        this.#records.delete(id);
        this.#addresses.delete(id);
        this.store.delete(id);
        throw error;
      }
    }
    this.#emit("create", record);
    return { Id: id, Warning: record.configOnly ? "" : (this.driver.obstacle(record) ?? "") };
  }

  /** Predefined, or in use by a running container: forbidden. */
  async remove(ref: string): Promise<void> {
    const record = this.get(ref);
    if (Object.hasOwn(PREDEFINED, record.name)) {
      throw new InroError("forbidden", `${record.name} is a pre-defined network and cannot be removed`);
    }
    const users = this.users(record.id);
    if (users.length > 0) {
      const list = users.map(({ record: { name }, id }) => `name:"${name}" id:"${id.slice(0, 12)}"`).join(", ");
      throw new InroError(
        "forbidden",
        `error while removing network: network ${record.name} has active endpoints (${list}): disconnect them or stop the containers first`,
      );
    }
    const dependent = this.known.find(({ configFrom }) => record.configOnly && configFrom === record.name);
    if (dependent) {
      throw new InroError("forbidden", `configuration network ${record.name} is in use by network ${dependent.name}`);
    }
    await this.#forget(record);
    this.#emit("destroy", record);
  }

  /** Removes those that no container is in, running or not (filters `until`, `label`, `label!`). */
  async prune(filters: Filters = new Map()): Promise<{ NetworksDeleted: string[] }> {
    const until = parseUntil(filters.get("until"));
    const deleted: string[] = [];
    for (const record of this.all()) {
      if (Object.hasOwn(PREDEFINED, record.name) || this.members(record.id).length > 0) continue;
      if (until !== undefined && Date.parse(record.created) > until) continue;
      if (!labelsMatch(record.labels, filters)) continue;
      if (record.configOnly && this.known.some(({ configFrom }) => configFrom === record.name)) continue;
      await this.#forget(record);
      this.#emit("destroy", record);
      deleted.push(record.name);
    }
    this.events.emit("network", "prune", "", { reclaimed: "0" });
    return { NetworksDeleted: deleted };
  }

  /** Containers that have an endpoint in it now. */
  users(id: string): Container[] {
    return this.table.all().filter(({ state }) => state.network?.endpoints.some(({ network }) => network === id));
  }

  /** Containers that are to be in it. */
  members(id: string): Container[] {
    return this.table
      .all()
      .filter(({ record }) => record.endpoints !== undefined && Object.hasOwn(record.endpoints, id));
  }

  /** Of the machine's subnets and those of other networks, with their owners. */
  #taken(except?: string): { subnet: Subnet; owner: string; direct: boolean }[] {
    const networks = this.known
      .filter(({ id, configOnly, driver }) => id !== except && !configOnly && driver === "bridge")
      .flatMap(({ name, ipam }) =>
        ipam.Config.flatMap(({ Subnet }) => {
          const subnet = Subnet ? parseSubnet(Subnet) : undefined;
          return subnet ? [{ subnet, owner: `network ${name}`, direct: true }] : [];
        }),
      );
    const own = new Set(networks.map(({ subnet }) => formatSubnet(subnet)));
    const host = this.driver.hostSubnets().filter(({ subnet }) => !own.has(formatSubnet(subnet)));
    return [...networks, ...host];
  }

  /** Completes subnets and gateways; one that overlaps another's is forbidden. */
  #choose(record: NetworkRecord): NetworkRecord {
    const config = record.ipam.Config.map((entry) => ({ ...entry }));
    const taken = this.#taken(record.id);
    const has = (family: IpFamily) => config.some(({ Subnet }) => Subnet && parseSubnet(Subnet)!.family === family);
    if (record.driver === "bridge") {
      for (const { Subnet } of config) {
        const subnet = Subnet ? parseSubnet(Subnet) : undefined;
        // A route by a router may well be wider: to the whole of a company's network, say.
        const other = subnet && taken.find((one) => one.direct && overlap(one.subnet, subnet));
        if (!other) continue;
        throw new InroError(
          "forbidden",
          `invalid pool request: Pool overlaps with other one on this address space: ${Subnet} and ${formatSubnet(other.subnet)} of ${other.owner}`,
        );
      }
    }
    const none = taken.map(({ subnet }) => subnet);
    if (record.ipv4 && !has(4)) {
      const subnet = chooseSubnet(none);
      if (!subnet) {
        throw unavailable(
          "all predefined address pools have been fully subnetted: remove a network, or choose a subnet with --subnet",
        );
      }
      config.unshift({ Subnet: formatSubnet(subnet) });
    }
    if (record.ipv6 && !has(6)) config.push({ Subnet: formatSubnet(chooseV6Subnet(none)) });
    for (const entry of config) {
      const subnet = entry.Subnet ? parseSubnet(entry.Subnet)! : undefined;
      if (!subnet || entry.Gateway || !this.#wantsGateway(record, subnet)) continue;
      const aux = new Set(Object.values(entry.AuxiliaryAddresses ?? {}));
      let value = (entry.IPRange ? parseSubnet(entry.IPRange)!.base : subnet.base) + 1n;
      if (subnet.prefix >= 31 && subnet.family === 4) value = subnet.base;
      while (aux.has(formatAddress({ family: subnet.family, value }))) value++;
      entry.Gateway = formatAddress({ family: subnet.family, value });
    }
    return { ...record, ipam: { ...record.ipam, Config: config } };
  }

  #wantsGateway(record: NetworkRecord, subnet: Subnet): boolean {
    if (record.driver === "bridge") {
      if (subnet.family === 4 && isOn(record.options, INHIBIT_V4, false)) return false;
      return gatewayMode(record, subnet.family) !== "isolated";
    }
    return !record.internal;
  }

  /** The default network has no subnet before somebody asks. */
  #settle(network: NetworkRecord): NetworkRecord {
    if (network.driver !== "bridge" || network.ipam.Config.some(({ Subnet }) => Subnet)) return network;
    let bridge = network.bridge!;
    if (network.name === "bridge") {
      // Another engine on this machine may have it.
      const names = new Set(this.driver.stack.links().map(({ name }) => name));
      for (let n = 0; names.has(bridge); n++) bridge = `inro${n}`;
    }
    const settled = { ...this.#choose(network), bridge };
    this.store.update(settled);
    this.#records.set(settled.id, settled);
    return settled;
  }

  #checkBridgeName(bridge: string): void {
    const other = this.known.find((one) => one.bridge === bridge);
    if (other) throw conflict(`bridge name ${bridge} is already in use by network ${other.name}`);
    if (this.driver.stack.link(bridge)) {
      throw conflict(`interface ${bridge} exists already: choose another name, or remove it`);
    }
  }

  /** From now on nobody finds it. The row goes last: a network that is half gone when the engine ends is there again. */
  async #forget(record: NetworkRecord): Promise<void> {
    this.#records.delete(record.id);
    this.#addresses.delete(record.id);
    this.#leaving.add(record.name);
    try {
      await this.driver.remove(record);
      this.store.delete(record.id);
    } finally {
      this.#leaving.delete(record.name);
    }
  }

  #predefine(): void {
    const missing = this.predefined.filter((name) => !this.known.some((one) => one.name === name));
    if (missing.length === 0) return;
    const created = nowText();
    const records = missing.map((name): NetworkRecord => {
      const driver = PREDEFINED[name]!;
      return {
        id: newId(),
        name,
        created,
        driver,
        internal: false,
        attachable: false,
        ipv4: true,
        ipv6: false,
        ipam: { Driver: "default", Options: null, Config: [] },
        chosen: false,
        options: {},
        labels: {},
        ...(driver === "bridge" ? { bridge: this.#freeBridge() } : {}),
      };
    });
    this.store.insert(records);
    for (const record of records) this.#records.set(record.id, record);
  }

  #freeBridge(): string {
    const taken = new Set(this.driver.stack.links().map(({ name }) => name));
    let number = 0;
    while (taken.has(`${DEFAULT_BRIDGE}${number}`)) number++;
    return `${DEFAULT_BRIDGE}${number}`;
  }

  #emit(action: string, { id, name, driver }: NetworkRecord): void {
    this.events.emit("network", action, id, { name, type: driver });
  }
}
