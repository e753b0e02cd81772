import { describe, expect, test } from "bun:test";
import { isIP } from "node:net";
import fc from "fast-check";
import {
  addressBytes,
  addressOfBytes,
  contains,
  formatAddress,
  formatSubnet,
  overlap,
  parseAddress,
  parseSubnet,
  type Subnet,
} from "./address.ts";
import { chooseSubnet, chooseV6Subnet } from "./default-pools.ts";
import { AddressPool } from "./pool.ts";

const subnet = (text: string) => parseSubnet(text)!;
const address = (text: string) => parseAddress(text)!;
const any = fc.oneof(
  fc.bigInt(0n, 2n ** 32n - 1n).map((value) => ({ family: 4, value }) as const),
  fc.bigInt(0n, 2n ** 128n - 1n).map((value) => ({ family: 6, value }) as const),
  // Runs of zeros are what the short form is about.
  fc.array(fc.constantFrom(0n, 0n, 1n, 0xffffn), { minLength: 8, maxLength: 8 }).map((groups) => {
    return { family: 6, value: groups.reduce<bigint>((all, group) => all * 65536n + group, 0n) } as const;
  }),
);

describe("addresses", () => {
  test("every one comes back from its text and from its bytes", () => {
    fc.assert(
      fc.property(any, (one) => {
        const text = formatAddress(one);
        expect(isIP(text)).toBe(one.family);
        expect(parseAddress(text)).toEqual(one);
        expect(addressOfBytes(addressBytes(one))).toEqual(one);
        if (one.family === 6) expect(text).toBe(new URL(`http://[${text}]`).hostname.slice(1, -1));
      }),
    );
  });

  test("any text is an address where it is one for node, and none elsewhere", () => {
    const text = fc.oneof(fc.string(), fc.ipV4(), fc.ipV6(), fc.stringMatching(/^[0-9a-f:.]{1,20}$/));
    fc.assert(
      fc.property(text, (one) => expect(parseAddress(one) !== undefined).toBe(isIP(one) !== 0 && !one.includes("%"))),
    );
  });

  test.each([
    ["10.1.2.3/8", "10.0.0.0/8"],
    ["fd00:1::7/64", "fd00:1::/64"],
    ["0.0.0.0/0", "0.0.0.0/0"],
    ["::ffff:1.2.3.4/128", "::ffff:102:304/128"],
  ])("subnet of %s", (text, expected) => expect(formatSubnet(subnet(text))).toBe(expected));

  test.each(["10.0.0.0", "10.0.0.0/33", "::/129", "/8", "10.0.0/8", "10.0.0.0/-1", "10.0.0.0/8/8", ""])(
    "no subnet: %p",
    (text) => expect(parseSubnet(text)).toBeUndefined(),
  );

  test("contains, overlap", () => {
    expect(contains(subnet("10.0.0.0/8"), address("10.255.0.1"))).toBe(true);
    expect(contains(subnet("10.0.0.0/8"), address("11.0.0.0"))).toBe(false);
    expect(contains(subnet("::/0"), address("1.2.3.4"))).toBe(false);
    expect(overlap(subnet("10.0.0.0/8"), subnet("10.9.0.0/16"))).toBe(true);
    expect(overlap(subnet("10.0.0.0/16"), subnet("10.1.0.0/16"))).toBe(false);
  });
});

describe("a pool", () => {
  const all = (pool: AddressPool) => {
    const given: string[] = [];
    for (let one = pool.give(); one; one = pool.give()) given.push(formatAddress(one));
    return given;
  };

  test.each<[string, string | undefined, string[], string[]]>([
    ["10.0.0.0/29", undefined, ["10.0.0.1"], ["10.0.0.2", "10.0.0.3", "10.0.0.4", "10.0.0.5", "10.0.0.6"]],
    ["10.0.0.0/24", "10.0.0.128/30", [], ["10.0.0.128", "10.0.0.129", "10.0.0.130", "10.0.0.131"]],
    ["10.0.0.0/31", undefined, [], ["10.0.0.0", "10.0.0.1"]],
    ["10.0.0.7/32", undefined, [], ["10.0.0.7"]],
    ["fd00::/126", undefined, ["fd00::1"], ["fd00::2", "fd00::3"]],
  ])("%s, range %s", (text, range, taken, expected) => {
    const pool = new AddressPool(subnet(text), range ? subnet(range) : undefined);
    for (const one of taken) expect(pool.take(address(one))).toBe(true);
    expect(Number(pool.available)).toBe(expected.length);
    expect(all(pool)).toEqual(expected);
    expect(Number(pool.available)).toBe(0);
  });

  test("what became free rests until the others were given", () => {
    const pool = new AddressPool(subnet("10.0.0.0/29"));
    const first = pool.give()!;
    pool.free(first);
    expect(formatAddress(pool.give()!)).toBe("10.0.0.2");
    expect(all(pool)).toEqual(["10.0.0.3", "10.0.0.4", "10.0.0.5", "10.0.0.6", "10.0.0.1"]);
    expect(pool.take(first)).toBe(false);
  });

  test("nothing is given twice", () => {
    const steps = fc.array(fc.oneof(fc.constant("give"), fc.nat(20)), { maxLength: 100 });
    fc.assert(
      fc.property(steps, (list) => {
        const pool = new AddressPool(subnet("10.0.0.0/28"));
        const out = new Map<bigint, ReturnType<typeof address>>();
        for (const step of list) {
          if (step === "give") {
            const one = pool.give();
            expect(one === undefined).toBe(out.size === 14);
            if (!one) continue;
            expect(out.has(one.value)).toBe(false);
            out.set(one.value, one);
          } else {
            const one = [...out.values()][step as number];
            if (!one) continue;
            pool.free(one);
            out.delete(one.value);
          }
        }
      }),
    );
  });
});

test("subnets that nobody chose avoid those that are taken", () => {
  expect(formatSubnet(chooseSubnet([])!)).toBe("172.17.0.0/16");
  const vpn = subnet("172.16.0.0/12");
  expect(formatSubnet(chooseSubnet([vpn])!)).toBe("192.168.0.0/20");
  expect(formatSubnet(chooseSubnet([vpn, subnet("192.168.1.0/24")])!)).toBe("192.168.16.0/20");
  expect(chooseSubnet([vpn, subnet("192.168.0.0/16")])).toBeUndefined();
  const six: Subnet = chooseV6Subnet([]);
  expect(formatSubnet(six)).toMatch(/^fd.*::\/64$/);
});
