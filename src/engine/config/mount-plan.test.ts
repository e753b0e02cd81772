import { expect, test } from "bun:test";
import { planMounts } from "./mount-plan.ts";
import { tmpfsOptions } from "./tmpfs-options.ts";
import { parseVolume } from "./volume-spec.ts";

test.each([
  ["/data", { type: "volume", source: "", destination: "/data", mode: "" }],
  ["/a:/b", { type: "bind", source: "/a", destination: "/b", mode: "" }],
  ["/a/../c//d/:/b/", { type: "bind", source: "/c/d", destination: "/b" }],
  ["/a:/b:ro,rslave,z", { type: "bind", readOnly: true, propagation: "rslave", relabel: "z", mode: "ro,rslave,z" }],
  ["/a:/b:cached", { type: "bind", readOnly: false }],
  ["vol:/b:nocopy", { type: "volume", source: "vol", noCopy: true }],
  ["/p:/proc/cpuinfo", { type: "bind", destination: "/proc/cpuinfo" }],
])("%s", (text, expected) => {
  expect(parseVolume(text)).toMatchObject(expected as never);
});

test.each([
  ["", "invalid volume specification: ''"],
  [":/b", "invalid volume specification: ':/b'"],
  ["/a:/b:ro:x", "invalid volume specification: '/a:/b:ro:x'"],
  [
    "/a:ro",
    `invalid volume specification: '/a:ro': invalid mount config for type "bind": invalid mount path: 'ro' mount path must be absolute`,
  ],
  ["data", "invalid mount path: 'data' mount path must be absolute"],
  ["/a:/b:ro,rw", "invalid mode: ro,rw"],
  ["/a:/b:foo", "invalid mode: foo"],
  ["/a:/", "invalid specification: destination can't be '/'"],
  ["/a:/b/../..", "invalid specification: destination can't be '/'"],
  ["/a:/proc/self", "invalid mount path: '/proc/self' is inside /proc"],
  ["/a:/x/../proc", "invalid mount path: '/x/../proc' is inside /proc"],
  ["./a:/b", '"./a" includes invalid characters for a local volume name'],
  ["a:/b", "volume name is too short"],
  ["/a:/b:nocopy", 'invalid mount config for type "bind": field VolumeOptions must not be specified'],
  ["vol:/b:rshared", 'invalid mount config for type "volume": field BindOptions must not be specified'],
])("refused: %s", (text, message) => {
  expect(() => parseVolume(text)).toThrow(message);
});

test.each([
  ["", "noexec,nosuid,nodev,rprivate"],
  ["exec,suid", "nodev,rprivate,exec,suid"],
  ["size=64m,mode=1777,size=1g", "noexec,nosuid,nodev,rprivate,mode=1777,size=1g"],
  ["ro,rslave", "noexec,nosuid,nodev,ro,rslave"],
])("tmpfs %s", (text, expected) => {
  expect(tmpfsOptions(text).join(",")).toBe(expected);
});

test.each(["foo", "size", "size=", "size=1x", "mode=9", "remount", "__proto__=1", "size=1 2", "context=x"])(
  "tmpfs refuses %s",
  (text) => {
    expect(() => tmpfsOptions(text)).toThrow("invalid tmpfs option");
  },
);

test("parents come first, and a bind takes the place of the image's volume", () => {
  const plan = planMounts(
    { Volumes: { "/a": {}, "/v": {} } },
    { Binds: ["/s:/a/b/c", "/s:/a/b"], Mounts: [{ Type: "volume", Target: "/a", Source: "data" }] },
  );
  expect(plan.map(({ type, source, destination }) => [type, source, destination])).toEqual([
    ["volume", "data", "/a"],
    ["volume", "", "/v"],
    ["bind", "/s", "/a/b"],
    ["bind", "/s", "/a/b/c"],
  ]);
});

test("a missing source is made for Binds, and for Mounts only when asked", () => {
  const mount = { Type: "bind", Source: "/s", Target: "/m" } as const;
  const made = (host: object) => planMounts({}, host)[0]?.createSource;
  expect(made({ Binds: ["/s:/b"] })).toBe(true);
  expect(made({ Mounts: [mount] })).toBe(false);
  expect(made({ Mounts: [{ ...mount, BindOptions: { CreateMountpoint: true } }] })).toBe(true);
});

test.each([
  [{ Type: "bind", Target: "/x" }, "field Source must not be empty"],
  [{ Type: "bind", Source: "a", Target: "/x" }, "invalid mount path: 'a' mount path must be absolute"],
  [{ Type: "bind", Source: "/a", Target: "/x", BindOptions: { Propagation: "up" } }, "invalid propagation mode: up"],
  [{ Type: "tmpfs", Source: "a", Target: "/x" }, "field Source must not be specified"],
  [{ Type: "tmpfs", Target: "/x", TmpfsOptions: { Mode: 0o10000 } }, "Mode must be a file mode"],
  [{ Type: "volume", Target: "/x", VolumeOptions: { Subpath: "a" } }, "must not set Subpath"],
  [{ Type: "volume", Source: "/a", Target: "/x" }, "includes invalid characters"],
])("refused mount: %j", (mount, message) => {
  expect(() => planMounts({}, { Mounts: [mount as never] })).toThrow(message);
});
