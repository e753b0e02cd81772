import { expect, test } from "bun:test";
import { parseEndpoint, resolveEndpoint } from "./endpoint.ts";

test.each([
  ["unix:///run/x.sock", { kind: "unix", path: "/run/x.sock" }],
  ["/run/x.sock", { kind: "unix", path: "/run/x.sock" }],
  ["tcp://127.0.0.1:99", { kind: "tcp", host: "127.0.0.1", port: 99 }],
  ["http://[::1]:99/", { kind: "tcp", host: "::1", port: 99 }],
  ["tcp://name", { kind: "tcp", host: "name", port: 2375 }],
])("%s", (text, expected) => {
  expect(parseEndpoint(text)).toMatchObject(expected);
});

test.each(["unix://relative", "ftp://x", "tcp://x:0", "tcp://x:99999", "tcp://", "x"])("%s is invalid", (text) => {
  expect(() => parseEndpoint(text)).toThrow("invalid host");
});

test("the flag, INRO_HOST, DOCKER_HOST, the default, in this order; only the default starts an engine", () => {
  const env = { INRO_HOST: "unix:///i", DOCKER_HOST: "unix:///d", XDG_RUNTIME_DIR: "/run/user/7" };
  expect(resolveEndpoint("unix:///f", env)).toMatchObject({ path: "/f", default: false });
  expect(resolveEndpoint(undefined, env)).toMatchObject({ path: "/i", default: false });
  expect(resolveEndpoint(undefined, { ...env, INRO_HOST: undefined })).toMatchObject({ path: "/d", default: false });
  expect(resolveEndpoint(undefined, {}).default).toBe(true);
  expect(resolveEndpoint(undefined, { ...env, INRO_AUTOSTART: "1" })).toMatchObject({ path: "/i", default: true });
  expect(resolveEndpoint(undefined, { INRO_AUTOSTART: "0" }).default).toBe(false);
});
