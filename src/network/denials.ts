import { decodeAttributes, encodeAttributes, readText } from "../linux/netlink/attributes.ts";
import { encodeMessage, type Message, NLM_F_REQUEST } from "../linux/netlink/message.ts";
import { type Monitor, monitor } from "../linux/netlink/monitor.ts";
import { NETLINK_NETFILTER } from "../linux/netlink/nftables.ts";
import { addressOfBytes, formatAddress } from "./address.ts";

/** A packet that a rule has dropped and told of. */
export interface Denial {
  /** Of whose rules, as the rule calls it. */
  key: string;
  address: string;
  protocol: string;
  port?: number;
}

/** linux/netfilter/nfnetlink_log.h. */
const NFNL_SUBSYS_ULOG = 4;
const NFULNL_MSG_PACKET = 0;
const NFULNL_MSG_CONFIG = 1;
const NFULA_CFG_CMD = 1;
const NFULA_CFG_MODE = 2;
const NFULA_PAYLOAD = 9;
const NFULA_PREFIX = 10;
const BIND = 1;
const COPY_PACKET = 2;
const COPIED = 64;
/** struct nfgenmsg. */
const HEADER = 4;

const PROTOCOLS: Readonly<Record<number, string>> = { 1: "icmp", 6: "tcp", 17: "udp", 58: "icmpv6", 132: "sctp" };
const WITH_PORTS = new Set([6, 17, 132]);

/**
 * Listens to a group of this network namespace. One that somebody else listens to stays silent. `onLost`: more came than
 * was taken; it is to be opened anew.
 */
export function listenToDenials(
  group: number,
  onDenial: (denial: Denial) => void,
  onLost: () => void,
): Promise<Monitor> {
  const type = (NFNL_SUBSYS_ULOG << 8) | NFULNL_MSG_CONFIG;
  const config = (attribute: number, value: Buffer) =>
    encodeMessage({
      type,
      flags: NLM_F_REQUEST,
      sequence: 0,
      payload: Buffer.concat([Buffer.from([0, 0, group >> 8, group & 255]), encodeAttributes([[attribute, value]])]),
    });
  const subscription = Buffer.concat([
    config(NFULA_CFG_CMD, Buffer.from([BIND])),
    config(NFULA_CFG_MODE, Buffer.from([0, 0, 0, COPIED, COPY_PACKET, 0])),
  ]);
  const take = (messages: readonly Message[]) => {
    for (const message of messages) {
      const denial = denialIn(message);
      if (denial) onDenial(denial);
    }
  };
  return monitor(NETLINK_NETFILTER, 0, take, onLost, subscription);
}

/** Of a message of nfnetlink_log; undefined for another, and for a packet that is too short to tell. */
export function denialIn({ type, payload }: Message): Denial | undefined {
  if (type !== ((NFNL_SUBSYS_ULOG << 8) | NFULNL_MSG_PACKET) || payload.length < HEADER) return undefined;
  const attributes = decodeAttributes(payload.subarray(HEADER));
  const [prefix, packet] = [attributes.get(NFULA_PREFIX), attributes.get(NFULA_PAYLOAD)];
  if (!prefix || !packet || packet.length < 20) return undefined;
  const v6 = packet[0]! >> 4 === 6;
  if (v6 && packet.length < 40) return undefined;
  const protocol = v6 ? packet[6]! : packet[9]!;
  const address = formatAddress(addressOfBytes(v6 ? packet.subarray(24, 40) : packet.subarray(16, 20)));
  const transport = v6 ? 40 : (packet[0]! & 15) * 4;
  const denial: Denial = { key: readText(prefix), address, protocol: PROTOCOLS[protocol] ?? String(protocol) };
  if (WITH_PORTS.has(protocol) && packet.length >= transport + 4) denial.port = packet.readUInt16BE(transport + 2);
  return denial;
}
