import { expect, test } from "bun:test";
import { Annotations } from "./annotations.ts";

const amd64 = { os: "linux", architecture: "amd64" };
const arm64 = { os: "linux", architecture: "arm64" };

test("levels and platforms, of flags and of outputs", () => {
  const found = new Annotations(
    ["a=1", "index:b=2=3", "manifest[linux/arm64],manifest-descriptor:c=x:y", "org.example.key=v:w"],
    { "annotation.d": "4", "annotation-index.e": "5", "annotation-manifest[linux/amd64].f": "6", push: "true" },
  );
  expect(found.of("index")).toEqual({ b: "2=3", e: "5" });
  expect(found.of("manifest", amd64)).toEqual({ a: "1", "org.example.key": "v:w", d: "4", f: "6" });
  expect(found.of("manifest", arm64)).toEqual({ a: "1", c: "x:y", "org.example.key": "v:w", d: "4" });
  expect(found.of("manifest-descriptor", amd64)).toEqual({ c: "x:y" });
  expect(found.of("index-descriptor")).toBeUndefined();
  expect(() => found.only(["manifest", "manifest-descriptor"])).toThrow("single platform");
  found.only(["manifest", "manifest-descriptor", "index"]);
});

test.each(["", "key", "=x"])("%p is refused", (text) => {
  expect(() => new Annotations([text], {})).toThrow();
});
