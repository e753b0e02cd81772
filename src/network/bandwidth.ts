import { codeOf, messageOf, unavailable } from "../base/errors.ts";
import { type Attribute, encodeAttributes, text, u32 } from "../linux/netlink/attributes.ts";
import { NLM_F_CREATE, NLM_F_REPLACE } from "../linux/netlink/message.ts";
import type { NetworkStack } from "./host.ts";

/** Bytes in a second, in each direction as the container has it; absent: as much as there is. */
export interface Bandwidth {
  egress?: number;
  ingress?: number;
}

const RTM_NEWQDISC = 36;
/** struct tcmsg (rtnetlink(7)). */
const HEADER = 20;
const TC_H_ROOT = 0xffff_ffff;
const TCA_KIND = 1;
const TCA_OPTIONS = 2;
const TCA_TBF_PARMS = 1;
const TCA_TBF_RATE64 = 4;
const TCA_TBF_BURST = 6;
/** struct tc_tbf_qopt: two of struct tc_ratespec, and limit, buffer, mtu. */
const PARMS_SIZE = 36;
const LINKLAYER_ETHERNET = 1;
/** Packets of segmentation offload come as one. */
const LEAST_BURST = 64 * 1024;
/** What may go at once, and what may wait, in seconds of the rate. */
const BURST_S = 0.02;
const QUEUE_S = 0.1;

export const burstOf = (rate: number): number => Math.max(Math.ceil(rate * BURST_S), LEAST_BURST);

/** What goes out by an interface waits for its turn: tc-tbf(8). A kernel without it is `unavailable`. */
export function shape(stack: NetworkStack, name: string, rate: number): void {
  const header = Buffer.alloc(HEADER);
  header.writeInt32LE(stack.link(name)!.index, 4);
  header.writeUInt32LE(TC_H_ROOT, 12);
  const burst = burstOf(rate);
  const parms = Buffer.alloc(PARMS_SIZE);
  parms[1] = LINKLAYER_ETHERNET;
  parms.writeUInt32LE(Math.min(rate, 0xffff_ffff), 8);
  parms.writeUInt32LE(Math.min(Math.ceil(rate * QUEUE_S) + burst, 0xffff_ffff), 24);
  const rate64 = Buffer.alloc(8);
  rate64.writeBigUInt64LE(BigInt(rate));
  const options: Attribute[] = [
    [TCA_TBF_PARMS, parms],
    [TCA_TBF_RATE64, rate64],
    [TCA_TBF_BURST, u32(burst)],
  ];
  const attributes: Attribute[] = [
    [TCA_KIND, text("tbf")],
    [TCA_OPTIONS, options],
  ];
  try {
    stack.socket.request({
      type: RTM_NEWQDISC,
      flags: NLM_F_CREATE | NLM_F_REPLACE,
      payload: Buffer.concat([header, encodeAttributes(attributes)]),
      operation: "RTM_NEWQDISC",
      object: name,
      header: HEADER,
      attributes: { 1: "TCA_KIND", 2: "TCA_OPTIONS" },
    });
  } catch (error) {
    const why = codeOf(error) === "ENOENT" ? "; this kernel has no tbf (CONFIG_NET_SCH_TBF)" : "";
    throw unavailable(`limit what ${name} sends: ${messageOf(error)}${why}`, error);
  }
}
