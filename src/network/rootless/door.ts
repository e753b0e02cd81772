/** First argument of the program that leads to `relayMain` of relay-process.ts; main.ts looks for it before all else. */
export const RELAY_DOOR = "--inro-relay";

/** What the relay is told, a line of JSON each. `fd`: of the engine's, which listens; it is copied. */
export type RelayOrder =
  | { open: string; fd: number; protocol: "tcp" | "udp"; family: 4 | 6; address: string; port: number }
  | { close: string };
