import { expect } from "bun:test";
import { rmSync, symlinkSync, writeFileSync } from "node:fs";
import { join } from "node:path";
import { section } from "../case.ts";

const config = section("bundle.md");

export const configCases = [
  config.does("bundle: no config.json", async (c) => {
    const container = c.container("true");
    rmSync(join(container.bundle, "config.json"));
    expect((await container.launch("create")).code).not.toBe(0);
    await c.nothingLeft(container);
  }),
  config.does("bundle: config.json is no JSON", async (c) => {
    const container = c.container("true");
    c.edit(container, (text) => text.slice(0, -5));
    expect((await container.launch("create")).code).not.toBe(0);
    await c.nothingLeft(container);
  }),
  config.shows(
    "unknown properties are ignored",
    { futureThing: { a: 1 }, process: { futureThing: 1 }, linux: { futureThing: [] } },
    "echo ok",
    "ok",
    { spec: "config.md#extensibility" },
  ),
  config.shows(
    "annotations: unknown ones are ignored",
    { annotations: { "com.example.key": "", "org.opencontainers.image.stopSignal": "SIGTERM" } },
    "echo ok",
    "ok",
    { spec: "config.md#annotations" },
  ),
  config.shows("ociVersion 1.0.0", { ociVersion: "1.0.0" }, "echo ok", "ok", {
    spec: "config.md#specification-version",
  }),
  config.shows("ociVersion 1.3.0", { ociVersion: "1.3.0" }, "echo ok", "ok", {
    spec: "config.md#specification-version",
    differs: { crun: "1.8.1 knows versions up to 1.1" },
  }),
  config.refuses("ociVersion: no version", { ociVersion: "x" }, /ociVersion: "x" is no SemVer version/, {
    spec: "config.md#specification-version",
    differs: { runc: "1.1.5 does not look at it" },
  }),
  config.refuses("ociVersion: 2.0.0", { ociVersion: "2.0.0" }, /ociVersion: 2\.0\.0 is not supported/, {
    spec: "config.md#specification-version",
    differs: { runc: "1.1.5 does not look at it" },
  }),
  config.refuses("ociVersion: missing", { ociVersion: undefined }, /ociVersion: required/, {
    spec: "config.md#specification-version",
    differs: { runc: "1.1.5 does not look at it" },
  }),
  config.shows(
    "root.path: absolute",
    (s) => {
      s.root!.path = "rootfs/../rootfs";
    },
    "ls -d /bin",
    "/bin",
    { spec: "config.md#root" },
  ),
  config.refuses(
    "root.path: missing directory",
    { root: { path: "nowhere" } },
    /root\.path: .*nowhere does not exist/,
    { spec: "config.md#root" },
  ),
  config.refuses("root: missing", { root: undefined }, /root: required/, { spec: "config.md#root" }),
  config.does(
    "root.path: a file",
    async (c) => {
      const container = c.container("true", { root: { path: "file" } });
      writeFileSync(join(container.bundle, "file"), "");
      expect((await container.launch("create")).code).not.toBe(0);
      await c.nothingLeft(container);
    },
    { spec: "config.md#root" },
  ),
  config.does(
    "root.path: a symbolic link",
    async (c) => {
      const container = c.container("true", { root: { path: "link" } });
      symlinkSync("rootfs", join(container.bundle, "link"));
      expect((await container.launch("create")).code).not.toBe(0);
      await c.nothingLeft(container);
    },
    { spec: "runc", differs: { crun: "follows it" } },
  ),
  config.shows("root.readonly", {}, "touch /x 2>&1 || true", /Read-only file system/, { spec: "config.md#root" }),
  config.shows("root.readonly: false", { root: { readonly: false } }, "touch /x && ls /x", "/x", {
    spec: "config.md#root",
  }),
  config.refuses("process: a list", { process: [] }, /process: must be an object/, { spec: "config.md#process" }),
  config.refuses("mounts: an object", { mounts: {} }, /mounts: must be an array/, { spec: "config.md#mounts" }),
  config.shows("hostname", { hostname: "given" }, "hostname", "given", { spec: "config.md#hostname" }),
  config.shows("domainname", { domainname: "given.example" }, "cat /proc/sys/kernel/domainname", "given.example", {
    spec: "config.md#domainname",
    differs: { runc: "1.1.5 does not know it" },
  }),
  config.refuses(
    "hostname: without a uts namespace",
    (s) => {
      s.linux.namespaces = s.linux.namespaces!.filter(({ type }) => type !== "uts");
      s.hostname = "x";
    },
    /hostname: needs a uts namespace/,
    { spec: "runc" },
  ),
];
