import { describe, expect, test } from "bun:test";
import { route } from "./router.ts";

const params = (method: string, path: string) => route(method, path, "1.24")?.params;

describe("paths to routes", () => {
  test.each([
    ["GET", "/_ping", []],
    ["GET", "/v1.44/containers/json", []],
    ["GET", "/containers/abc/json", ["abc"]],
    ["GET", "/containers/json/json", ["json"]],
    ["GET", "/containers/a/b/json", ["a/b"]],
    ["GET", "/containers//a/json", ["/a"]],
    ["GET", "/containers/a%2Fb%20c/json", ["a/b c"]],
    ["GET", "/containers/a/attach/ws", ["a"]],
    ["DELETE", "/containers/a", ["a"]],
    ["DELETE", "/containers/a/checkpoints/b", ["a", "b"]],
    ["DELETE", "/containers/create", ["create"]],
    ["GET", "/images/registry.test:5000/a/b:1/json", ["registry.test:5000/a/b:1"]],
    ["GET", "/images/get/get", ["get"]],
    ["POST", "/images/a/tag", ["a"]],
    ["OPTIONS", "/whatever", []],
  ])("%s %s", (method, path, wanted) => expect(params(method, path)).toEqual(wanted));

  test.each([
    ["POST", "/_ping"],
    ["GET", "/_ping/"],
    ["GET", "/containers//json"],
    ["GET", "/containers/a/nothing"],
    ["GET", "/v1.44"],
    ["GET", "/vX/_ping"],
    ["GET", ""],
    ["GET", "/*"],
    ["DELETE", "/containers/"],
  ])("%s %s leads nowhere", (method, path) => expect(params(method, path)).toBeUndefined());

  test("what is no escape is invalid", () =>
    expect(() => params("GET", "/containers/%zz/json")).toThrow("invalid escape"));
});

test("versions between the operator's oldest and ours", () => {
  expect(route("GET", "/v1.44/version", "1.44")?.version).toBe(1.44);
  expect(route("GET", "/version", "1.44")?.version).toBe(1.55);
  expect(() => route("GET", "/v1.43/version", "1.44")).toThrow("Minimum supported API version is 1.44");
  expect(() => route("GET", "/v1.5/version", "1.24")).toThrow("too old");
  expect(() => route("GET", "/v2.0/version", "1.24")).toThrow("too new");
  expect(() => route("GET", "/v1.../version", "1.24")).toThrow("too old");
});
