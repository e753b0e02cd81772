import { compare, immediate, meta, nat, payload, register } from "../../linux/netlink/nft-expressions.ts";
import {
  deleteTable,
  NFPROTO,
  NftSocket,
  newChain,
  newRule,
  newTable,
  type Table,
} from "../../linux/netlink/nftables.ts";
import { addressBytes, parseAddress } from "../address.ts";

const TABLE: Table = { family: "ipv4", name: "inro-dns" };
const DNS_PORT = 53;
const DSTNAT = -100;
const DESTINATION = 16;
const PROTOCOLS = [6, 17];

/** In a network namespace, leads what is sent to `address` at port 53, by TCP and UDP, to `port`. */
export function redirect(namespace: number, address: string, port: number): void {
  const socket = new NftSocket(namespace);
  const R = register;
  const bytes = addressBytes(parseAddress(address)!);
  try {
    socket.transaction([
      newTable(TABLE),
      deleteTable(TABLE),
      newTable(TABLE),
      newChain(TABLE, { name: "output", base: { type: "nat", hook: "output", priority: DSTNAT } }),
      ...PROTOCOLS.map((protocol) =>
        newRule(TABLE, "output", [
          payload("network", DESTINATION, 4, R(0)),
          compare(R(0), "==", bytes),
          meta("l4proto", R(0)),
          compare(R(0), "==", Buffer.from([protocol])),
          payload("transport", 2, 2, R(0)),
          compare(R(0), "==", word(DNS_PORT)),
          immediate(R(0), bytes),
          immediate(R(1), word(port)),
          nat("destination", NFPROTO.ipv4, { address: R(0), port: R(1) }),
        ]),
      ),
    ]);
  } finally {
    socket.close();
  }
}

const word = (port: number) => Buffer.from([port >> 8, port & 255]);
