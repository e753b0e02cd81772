import { describe, expect, test } from "bun:test";
import { canonical, familiar, familiarName, parseReference, withDefaultTag } from "./reference.ts";

const hex = "a".repeat(64);

describe("parseReference", () => {
  const cases: [string, string, string][] = [
    ["busybox", "docker.io/library/busybox:latest", "busybox:latest"],
    ["busybox:1.36", "docker.io/library/busybox:1.36", "busybox:1.36"],
    ["library/busybox", "docker.io/library/busybox:latest", "busybox:latest"],
    ["docker.io/busybox", "docker.io/library/busybox:latest", "busybox:latest"],
    ["index.docker.io/library/busybox", "docker.io/library/busybox:latest", "busybox:latest"],
    ["foo/bar", "docker.io/foo/bar:latest", "foo/bar:latest"],
    ["localhost/foo", "localhost/foo:latest", "localhost/foo:latest"],
    ["localhost:5000/foo:t", "localhost:5000/foo:t", "localhost:5000/foo:t"],
    ["[::1]:5000/a/b", "[::1]:5000/a/b:latest", "[::1]:5000/a/b:latest"],
    ["Host/foo", "Host/foo:latest", "Host/foo:latest"],
    ["a__b/c--d.e", "docker.io/a__b/c--d.e:latest", "a__b/c--d.e:latest"],
    [`busybox@sha256:${hex}`, `docker.io/library/busybox@sha256:${hex}`, `busybox@sha256:${hex}`],
    [`r.io/x:1@sha256:${hex}`, `r.io/x:1@sha256:${hex}`, `r.io/x:1@sha256:${hex}`],
    ["127.0.0.1:5000/x", "127.0.0.1:5000/x:latest", "127.0.0.1:5000/x:latest"],
  ];
  for (const [text, full, short] of cases) {
    test(text.slice(0, 60), () => {
      const reference = withDefaultTag(parseReference(text));
      expect(canonical(reference)).toBe(full);
      expect(familiar(reference)).toBe(short);
      expect(canonical(withDefaultTag(parseReference(familiar(reference))))).toBe(full);
    });
  }

  const errors: [string, string][] = [
    ["", "invalid reference format"],
    ["Busybox", "invalid reference format: repository name (library/Busybox) must be lowercase"],
    ["foo/Bar:1", "invalid reference format: repository name (foo/Bar) must be lowercase"],
    [hex, `invalid repository name (${hex}), cannot specify 64-byte hexadecimal strings`],
    ["a..b", "invalid reference format"],
    ["../etc/passwd", "invalid reference format"],
    ["a/../b", "invalid reference format"],
    ["-a", "invalid reference format"],
    ["a:", "invalid reference format"],
    ["a:-x", "invalid reference format"],
    [`a:${"t".repeat(129)}`, "invalid reference format"],
    ["a@sha256:abc", "invalid reference format"],
    [`a@sha256:${hex.toUpperCase()}`, "invalid reference format"],
    ["a\0b", "invalid reference format"],
    ["user:pass@host.io/x", "invalid reference format"],
    ["a___b", "invalid reference format"],
    ["host.io:port/x", "invalid reference format"],
    ["a".repeat(300), "repository name must not be more than 255 characters"],
    ["a/".repeat(100_000), "invalid reference format: longer than 1024 characters"],
  ];
  for (const [text, message] of errors) {
    test(`refuses ${JSON.stringify(text.slice(0, 40))}`, () => {
      expect(() => parseReference(text)).toThrow(message);
    });
  }

  test("does not backtrack on long names", () => {
    const started = performance.now();
    expect(() => parseReference(`${"a-".repeat(500)}!`)).toThrow("invalid reference format");
    expect(performance.now() - started).toBeLessThan(200);
  });

  test("familiarName keeps library/ elsewhere", () => {
    expect(familiarName({ domain: "docker.io", path: "library/a/b" })).toBe("library/a/b");
    expect(familiarName({ domain: "r.io", path: "library/a" })).toBe("r.io/library/a");
  });
});
