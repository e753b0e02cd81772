import type { Message } from "../linux/netlink/message.ts";
import { type Monitor, monitor } from "../linux/netlink/monitor.ts";
import { NETLINK_NETFILTER, NFNLGRP_NFTABLES, removesFrom } from "../linux/netlink/nftables.ts";
import type { Firewall } from "./firewall.ts";

/** Changes of others come in bursts: a flush is a message for every rule. */
const PAUSE_MS = 20;

/**
 * Makes the firewall's table anew when somebody else has taken something out of it (`nft flush ruleset`). The kernel tells;
 * nothing is asked for.
 */
export class FirewallWatch {
  #monitor: Monitor | undefined;
  #starting = false;
  #timer: ReturnType<typeof setTimeout> | undefined;
  #closed = false;

  constructor(
    private readonly firewall: Firewall,
    private readonly log: (line: string) => void,
  ) {}

  /** Listens, if it does not yet. */
  start(): void {
    if (this.#monitor || this.#starting || this.#closed) return;
    this.#starting = true;
    const groups = 1 << (NFNLGRP_NFTABLES - 1);
    monitor(
      NETLINK_NETFILTER,
      groups,
      (messages) => this.#look(messages),
      () => {
        this.#monitor = undefined;
        this.#repair();
        this.start();
      },
    ).then(
      (opened) => {
        this.#starting = false;
        if (this.#closed) opened.close();
        else this.#monitor = opened;
      },
      (error) => {
        this.#starting = false;
        this.log(`firewall: changes of others are not seen: ${String(error)}`);
      },
    );
  }

  close(): void {
    this.#closed = true;
    clearTimeout(this.#timer);
    this.#monitor?.close();
  }

  #look(messages: readonly Message[]): void {
    const { table, port } = this.firewall;
    if (messages.some((message) => message.port !== port && removesFrom(message, table))) this.#repair();
  }

  #repair(): void {
    this.#timer ??= setTimeout(() => {
      this.#timer = undefined;
      if (this.#closed || this.firewall.networks.length === 0) return;
      try {
        this.firewall.build(true);
        this.log(`firewall: somebody has changed table ${this.firewall.table.name}; it is made anew`);
      } catch (error) {
        this.log(`firewall: table ${this.firewall.table.name} cannot be made anew: ${String(error)}`);
      }
    }, PAUSE_MS);
  }
}
