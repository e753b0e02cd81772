import type { Message } from "../linux/netlink/message.ts";
import { type Monitor, monitor } from "../linux/netlink/monitor.ts";
import { NETLINK_NETFILTER, NFNLGRP_NFTABLES, removesFrom, type Table } from "../linux/netlink/nftables.ts";

/** A table of ours: the firewall's, the guard's. */
export interface Watched {
  readonly table: Table;
  /** By which the kernel names our own changes. */
  readonly port: number;
  /** Whether anything is to be in it. */
  readonly used: boolean;
  build(fresh: boolean): void;
}

/** Changes of others come in bursts: a flush is a message for every rule. */
const PAUSE_MS = 20;

/**
 * Makes our tables anew when somebody else has taken something out of one (`nft flush ruleset`). The kernel tells;
 * nothing is asked for.
 */
export class FirewallWatch {
  #monitor: Monitor | undefined;
  #starting = false;
  #timer: ReturnType<typeof setTimeout> | undefined;
  readonly #broken = new Set<Watched>();
  #closed = false;

  constructor(
    private readonly tables: readonly Watched[],
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
        for (const watched of this.tables) this.#repair(watched);
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
    for (const watched of this.tables) {
      const { table } = watched;
      if (messages.some((message) => removesFrom(message, table) && message.port !== watched.port))
        this.#repair(watched);
    }
  }

  #repair(watched: Watched): void {
    this.#broken.add(watched);
    this.#timer ??= setTimeout(() => {
      this.#timer = undefined;
      const broken = [...this.#broken].filter(({ used }) => used);
      this.#broken.clear();
      if (this.#closed) return;
      for (const one of broken) {
        const { family, name } = one.table;
        try {
          one.build(true);
          this.log(`firewall: somebody has changed table ${family} ${name}; it is made anew`);
        } catch (error) {
          this.log(`firewall: table ${family} ${name} cannot be made anew: ${String(error)}`);
        }
      }
    }, PAUSE_MS);
  }
}
