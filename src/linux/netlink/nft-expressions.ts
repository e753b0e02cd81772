import { type Attribute, be32, be64, text } from "./attributes.ts";

/** Expressions of nf_tables rules (linux/netfilter/nf_tables.h): pure. A rule is a list of them, run in order. */

export type Expression = readonly [name: string, data: readonly Attribute[]];

/** Registers of 4 bytes; what is longer goes on in those after it. */
export const register = (n: number): number => 8 + n;
const VERDICT = 0;

export const VALUE = 1;
const VERDICT_DATA = 2;

/** What a rule comes to; `jump` and `goto` name a chain. */
export type Verdict = "accept" | "drop" | "return" | { jump: string } | { goto: string };

const CODES = { drop: 0, accept: 1, jump: -3, goto: -4, return: -5 } as const;

/** NFTA_DATA_VERDICT. */
export function verdictData(verdict: Verdict): Attribute[] {
  if (typeof verdict === "string") return [[VERDICT_DATA, [[1, be32(CODES[verdict])]]]];
  const [kind, chain] = "jump" in verdict ? (["jump", verdict.jump] as const) : (["goto", verdict.goto] as const);
  return [
    [
      VERDICT_DATA,
      [
        [1, be32(CODES[kind])],
        [2, text(chain)],
      ],
    ],
  ];
}

export const verdict = (value: Verdict): Expression => [
  "immediate",
  [
    [1, be32(VERDICT)],
    [2, verdictData(value)],
  ],
];

/** Loads `data` into register `into`. */
export const immediate = (into: number, data: Uint8Array): Expression => [
  "immediate",
  [
    [1, be32(into)],
    [2, [[VALUE, data]]],
  ],
];

export const META = { mark: 3, iif: 4, oif: 5, iifname: 6, oifname: 7, pkttype: 13, nfproto: 15, l4proto: 16 } as const;

/** Loads what is known of the packet. */
export const meta = (key: keyof typeof META, into: number): Expression => [
  "meta",
  [
    [2, be32(META[key])],
    [1, be32(into)],
  ],
];

const BASES = { link: 0, network: 1, transport: 2 } as const;

/** Loads bytes of a header. */
export const payload = (base: keyof typeof BASES, offset: number, length: number, into: number): Expression => [
  "payload",
  [
    [1, be32(into)],
    [2, be32(BASES[base])],
    [3, be32(offset)],
    [4, be32(length)],
  ],
];

const OPERATORS = { "==": 0, "!=": 1, "<": 2, "<=": 3, ">": 4, ">=": 5 } as const;

/** Ends the rule here unless it holds. */
export const compare = (from: number, operator: keyof typeof OPERATORS, data: Uint8Array): Expression => [
  "cmp",
  [
    [1, be32(from)],
    [2, be32(OPERATORS[operator])],
    [3, [[VALUE, data]]],
  ],
];

/** `into = (from & mask) ^ xor`. */
export const bitwise = (from: number, into: number, mask: Uint8Array, xor?: Uint8Array): Expression => [
  "bitwise",
  [
    [1, be32(from)],
    [2, be32(into)],
    [3, be32(mask.length)],
    [4, [[VALUE, mask]]],
    [5, [[VALUE, xor ?? new Uint8Array(mask.length)]]],
  ],
];

/** Ends the rule unless the key is in the set (with `not`: if it is). Of a map the value goes `into` a register. */
export const lookup = (set: string, from: number, options: { into?: number; not?: boolean } = {}): Expression => [
  "lookup",
  [
    [1, text(set)],
    [2, be32(from)],
    ...(options.into === undefined ? [] : [[3, be32(options.into)] as Attribute]),
    ...(options.not ? [[5, be32(1)] as Attribute] : []),
  ],
];

/** The verdict that a map has for the key. */
export const verdictMap = (set: string, from: number): Expression => lookup(set, from, { into: VERDICT });

const CT = { state: 0, status: 2, mark: 3 } as const;
/** Bits of `ct state`; the machine's own byte order. */
export const CT_STATE = { invalid: 1, established: 2, related: 4, new: 8, untracked: 64 } as const;
/** Of `ct status` (IPS_DST_NAT). */
export const CT_DNAT = 32;

/** Loads what connection tracking knows. */
export const ct = (key: keyof typeof CT, into: number): Expression => [
  "ct",
  [
    [2, be32(CT[key])],
    [1, be32(into)],
  ],
];

/** Loads the kind of the destination (RTN_*), as the routes have it. */
export const destinationType = (into: number): Expression => [
  "fib",
  [
    [1, be32(into)],
    [2, be32(3)],
    [3, be32(2)],
  ],
];
export const RTN_LOCAL = 2;

/** Addresses and ports come from registers. */
export const nat = (
  kind: "source" | "destination",
  family: number,
  registers: { address?: number; port?: number },
): Expression => [
  "nat",
  [
    [1, be32(kind === "source" ? 0 : 1)],
    [2, be32(family)],
    ...(registers.address === undefined ? [] : [[3, be32(registers.address)] as Attribute]),
    ...(registers.port === undefined ? [] : [[5, be32(registers.port)] as Attribute]),
  ],
];

export const masquerade = (): Expression => ["masq", []];

export const counter = (): Expression => [
  "counter",
  [
    [1, be64(0)],
    [2, be64(0)],
  ],
];

/** Counts in a counter of the table, which outlives its rules. */
export const counterObject = (name: string): Expression => [
  "objref",
  [
    [1, be32(COUNTER)],
    [2, text(name)],
  ],
];
/** NFT_OBJECT_COUNTER. */
export const COUNTER = 1;

/** Ends the rule for what comes more often in a second. */
export const limit = (perSecond: number): Expression => [
  "limit",
  [
    [1, be64(perSecond)],
    [2, be64(1)],
    [3, be32(perSecond)],
    [4, be32(0)],
  ],
];

/** Ends the rule for what keeps to so many bytes in a second; `burst` bytes may come at once. */
export const above = (bytesPerSecond: number, burst: number): Expression => [
  "limit",
  [
    [1, be64(bytesPerSecond)],
    [2, be64(1)],
    [3, be32(burst)],
    [4, be32(1)],
    [5, be32(1)],
  ],
];

/** Tells a listener of the group (nfnetlink_log) of the packet: its first bytes, under a name. */
export const logTo = (group: number, prefix: string): Expression => [
  "log",
  [
    [1, Buffer.from([group >> 8, group & 255])],
    [2, text(prefix)],
    [3, be32(64)],
  ],
];

/** Sends a copy of the packet to the address in a register, by the link whose index is in the other. */
export const duplicate = (address: number, device: number): Expression => [
  "dup",
  [
    [1, be32(address)],
    [2, be32(device)],
  ],
];
