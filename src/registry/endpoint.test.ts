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
