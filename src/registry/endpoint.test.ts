import { expect, test } from "bun:test";
import { endpoints } from "./endpoint.ts";

test("where a domain is asked for", () => {
  const base = (domain: string) => endpoints(domain).map((endpoint) => endpoint.base);
  expect(base("registry.test:5000")).toEqual(["https://registry.test:5000"]);
  expect(base("127.0.0.1:5000")).toEqual(["http://127.0.0.1:5000"]);
  expect(base("[::1]")).toEqual(["http://[::1]"]);
  for (const domain of ["registry.test:99999", "[::::]:1", "a:b:c"]) {
    expect(() => base(domain)).toThrow("invalid registry address");
  }
});

test("mirrors, insecure registries and networks", () => {
  const base = (domain: string, registries: Parameters<typeof endpoints>[1]) =>
    endpoints(domain, registries).map((endpoint) => endpoint.base);
  const mirrors = ["https://hub.test/", "a.test=https://m.test/x", "a.test:5000=http://n.test"];
  expect(base("docker.io", { mirrors })).toEqual(["https://hub.test", "https://registry-1.docker.io"]);
  expect(base("a.test", { mirrors })).toEqual(["https://m.test/x", "https://a.test"]);
  expect(base("a.test:5000", { mirrors })).toEqual(["http://n.test", "https://a.test:5000"]);
  expect(base("b.test", { mirrors })).toEqual(["https://b.test"]);
  const insecure = ["b.test:5000", "10.0.0.0/8", "fd00::/8"];
  expect(base("b.test:5000", { insecure })).toEqual(["http://b.test:5000"]);
  expect(base("b.test", { insecure })).toEqual(["https://b.test"]);
  expect(base("10.1.2.3:80", { insecure })).toEqual(["http://10.1.2.3"].map((text) => `${text}:80`));
  expect(base("11.1.2.3", { insecure })).toEqual(["https://11.1.2.3"]);
  expect(base("[fd00::1]:5000", { insecure })).toEqual(["http://[fd00::1]:5000"]);
});
