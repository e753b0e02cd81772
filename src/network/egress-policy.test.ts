import { describe, expect, test } from "bun:test";
import { formatSubnet, parseAddress } from "./address.ts";
import { type EgressPolicy, matching, mayLearn, parseEgress } from "./egress-policy.ts";

const shown = ({ allow, deny, names, closed }: EgressPolicy) => {
  const ranges = (list: EgressPolicy["allow"]) =>
    list.map(({ subnet, ports }) => `${formatSubnet(subnet)}${ports ? ` ${ports.join("-")}` : ""}`);
  return { allow: ranges(allow), deny: ranges(deny), names: names.map((one) => Object.values(one).join(" ")), closed };
};

describe("egress rules", () => {
  test.each<[string[], Partial<ReturnType<typeof shown>>]>([
    [["allow=192.0.2.1"], { allow: ["192.0.2.1/32"], closed: true }],
    [["allow=192.0.2.0/24:443"], { allow: ["192.0.2.0/24 443-443"] }],
    [["allow=192.0.2.7/24"], { allow: ["192.0.2.0/24"] }],
    [["allow=2001:db8::1,[2001:db8::2]:80-90"], { allow: ["2001:db8::1/128", "2001:db8::2/128 80-90"] }],
    [["allow=[2001:db8::/32]:53"], { allow: ["2001:db8::/32 53-53"] }],
    [["allow=Example.COM.:443"], { names: ["example.com false 443"], closed: true }],
    [["allow=*.example.com", "allow=localhost"], { names: ["example.com true", "localhost false"] }],
    [["deny=metadata"], { closed: false }],
    [["deny=10.0.0.0/8,192.0.2.1:25"], { deny: ["10.0.0.0/8", "192.0.2.1/32 25-25"], closed: false }],
    [["deny=all:25"], { deny: ["0.0.0.0/0 25-25", "::/0 25-25"] }],
    [[], { allow: [], deny: [], names: [], closed: false }],
  ])("%j", (rules, what) => {
    expect(shown(parseEgress(rules))).toMatchObject(what);
  });

  test.each([
    ["192.0.2.1", "a rule is allow=TARGET or deny=TARGET"],
    ["permit=all", "a rule is allow=TARGET or deny=TARGET"],
    ["allow=", "a rule is"],
    ["allow=a,,b", "is no address"],
    ["allow=192.0.2.1:0", "is no port"],
    ["allow=192.0.2.1:99999", "is no port"],
    ["allow=192.0.2.1:90-80", "is no port"],
    ["allow=192.0.2.1/33", "is no address"],
    ["allow=192.0.2.256", "is no address"],
    ["allow=-a.example", "is no address"],
    ["allow=a..example", "is no address"],
    ["allow=a b", "is no address"],
    ["allow=a.example:1-2", "a name has one port"],
    ["deny=a.example", "a name cannot be denied"],
  ])("refused: %s", (rule, why) => {
    expect(() => parseEgress([rule])).toThrow(why);
  });

  test("refused: what is too long", () => {
    expect(() => parseEgress([`allow=${"a.".repeat(200)}example`])).toThrow("is no address");
    expect(() => parseEgress([`allow=${"192.0.2.1,".repeat(300)}192.0.2.1`])).toThrow("more than 200 targets");
  });

  test("which names a question is about", () => {
    const policy = parseEgress(["allow=example.com,*.example.com:443,other.example"]);
    expect(matching(policy, "Example.com.")).toEqual([{ name: "example.com", below: false }]);
    expect(matching(policy, "a.b.example.com")).toEqual([{ name: "example.com", below: true, port: 443 }]);
    expect(matching(policy, "badexample.com")).toEqual([]);
  });

  test("an answer opens nothing that is denied, nor the machine's own services", () => {
    const policy = parseEgress(["allow=a.example", "deny=private"]);
    const may = (text: string) => mayLearn(policy, parseAddress(text)!);
    expect(["198.51.100.1", "2001:db8::1"].map(may)).toEqual([true, true]);
    expect(["10.1.2.3", "169.254.169.254", "127.0.0.1", "::1", "fd00:ec2::254", "fe80::1"].map(may)).not.toContain(
      true,
    );
    const open = parseEgress(["allow=a.example"]);
    expect(mayLearn(open, parseAddress("10.1.2.3")!)).toBe(true);
    expect(mayLearn(open, parseAddress("169.254.169.254")!)).toBe(false);
  });
});
