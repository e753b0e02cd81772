import { describe, expect, test } from "bun:test";
import type { Descriptor, Platform } from "../spec/oci-image.ts";
import {
  choosePlatform,
  formatPlatform,
  hostPlatform,
  normalizePlatform,
  parsePlatform,
  satisfies,
} from "./platform.ts";

const of = (text: string): Platform => {
  const [os, architecture, variant] = text.split("/") as [string, string, string?];
  return { os, architecture, ...(variant ? { variant } : {}) };
};

describe("normalizePlatform", () => {
  const cases = [
    ["linux/x86_64", "linux/amd64"],
    ["linux/amd64/v1", "linux/amd64"],
    ["linux/amd64/v3", "linux/amd64/v3"],
    ["linux/aarch64", "linux/arm64"],
    ["linux/arm64/v8", "linux/arm64"],
    ["linux/arm64/9", "linux/arm64/v9"],
    ["linux/arm", "linux/arm/v7"],
    ["linux/armhf", "linux/arm/v7"],
    ["linux/armel", "linux/arm/v6"],
    ["linux/i386", "linux/386"],
    ["macOS/ARM64", "darwin/arm64"],
  ] as const;
  for (const [from, to] of cases) {
    test(from, () => expect(formatPlatform(normalizePlatform(of(from)))).toBe(to));
  }
});

describe("parsePlatform", () => {
  const host = hostPlatform();
  const cases = [
    ["linux/arm64", "linux/arm64"],
    ["arm64", "linux/arm64"],
    ["linux", formatPlatform(host)],
    ["linux/arm/v6", "linux/arm/v6"],
  ] as const;
  for (const [from, to] of cases) test(from, () => expect(formatPlatform(parsePlatform(from))).toBe(to));
  for (const text of ["", "a/b/c/d", "linux/", "linux/a b", "linux/\0"]) {
    test(`refuses ${JSON.stringify(text)}`, () => expect(() => parsePlatform(text)).toThrow("invalid platform"));
  }
  for (const text of ["nintendo64", "amd65"]) {
    test(`refuses ${text}`, () =>
      expect(() => parsePlatform(text)).toThrow("unknown operating system or architecture"));
  }
});

describe("choosePlatform", () => {
  const entries = (...platforms: string[]): Descriptor[] =>
    platforms.map((text, i) => ({ mediaType: "m", digest: `d${i}`, size: 1, ...(text ? { platform: of(text) } : {}) }));
  const cases: [string, string[], boolean, string][] = [
    ["linux/amd64", ["linux/arm64", "linux/amd64", "linux/amd64"], true, "d1"],
    ["linux/amd64/v3", ["linux/amd64", "linux/amd64/v2"], true, "d1"],
    ["linux/amd64", ["linux/386"], false, "d0"],
    ["linux/arm64", ["linux/arm/v7", "linux/arm64/v8"], false, "d1"],
    ["linux/arm64", ["linux/arm/v6", "linux/arm/v7"], false, "d1"],
    ["linux/arm/v7", ["linux/arm/v6", "linux/arm/v5"], true, "d0"],
    ["linux/arm", ["linux/arm"], true, "d0"],
    ["linux/amd64", ["linux/arm64", ""], true, "d1"],
    ["linux/amd64", ["unknown/unknown", "linux/amd64"], true, "d1"],
  ];
  for (const [wanted, available, explicit, digest] of cases) {
    test(`${wanted} of ${available}`, () => {
      expect(choosePlatform(entries(...available), of(wanted), explicit).digest).toBe(digest);
    });
  }
  const none: [string, string[], boolean][] = [
    ["linux/amd64", ["linux/386"], true],
    ["linux/amd64", ["linux/amd64/v2"], false],
    ["linux/arm/v6", ["linux/arm/v7"], false],
    ["linux/amd64", ["windows/amd64"], false],
    ["linux/amd64", [], false],
    ["linux/amd64", ["", ""], false],
  ];
  for (const [wanted, available, explicit] of none) {
    test(`none for ${wanted} in ${available}`, () => {
      expect(() => choosePlatform(entries(...available), of(wanted), explicit)).toThrow(
        `no matching manifest for ${wanted}`,
      );
    });
  }
  test("never an attestation", () => {
    const [entry] = entries("linux/amd64");
    entry!.annotations = { "vnd.docker.reference.type": "attestation-manifest" };
    expect(() => choosePlatform([entry!], of("linux/amd64"), true)).toThrow("(available: none)");
  });
});

test("satisfies", () => {
  expect(satisfies(of("linux/386"), of("linux/amd64"), false)).toBe(true);
  expect(satisfies(of("linux/386"), of("linux/amd64"), true)).toBe(false);
  expect(satisfies(of("linux/arm64/v8"), of("linux/arm64"), true)).toBe(true);
});
