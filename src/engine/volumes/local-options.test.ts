import { expect, test } from "bun:test";
import { localVolume } from "./local-options.ts";

test.each([
  [{}, { kind: "directory" }],
  [
    { type: "none", device: "/srv//data/", o: "bind" },
    { kind: "bind", device: "/srv/data", recursive: false, readOnly: false },
  ],
  [
    { type: "bind", device: "/srv", o: "ro,rbind,rslave" },
    { kind: "bind", device: "/srv", recursive: true, readOnly: true, propagation: "rslave" },
  ],
  [
    { type: "tmpfs", device: "tmpfs" },
    { kind: "tmpfs", data: [], flags: [] },
  ],
  [
    { type: "tmpfs", device: "x", o: "size=1m,nosuid,uid=5,size=2m" },
    {
      kind: "tmpfs",
      data: [
        ["uid", "5"],
        ["size", "2m"],
      ],
      flags: ["nosuid"],
    },
  ],
  [
    { type: "nfs", device: ":/export", o: "addr=10.0.0.1,rw" },
    { kind: "filesystem", type: "nfs", device: ":/export", words: ["addr=10.0.0.1", "rw"] },
  ],
])("%j", (options, expected) => {
  expect(localVolume(options as never)).toEqual(expected as never);
});

test.each([
  [{ kind: "x" }, 'invalid option: "kind"'],
  [{ __proto__x: "x" }, 'invalid option: "__proto__x"'],
  [{ type: "tmpfs" }, 'missing required option: "device"'],
  [{ device: "/x" }, 'missing required option: "type"'],
  [{ o: "bind" }, 'missing required option: "device"'],
  [{ type: "none", device: "/x" }, '"none" is no file system'],
  [{ type: "none", device: "rel", o: "bind" }, "mount path must be absolute"],
  [{ type: "none", device: "/x", o: "bind,size=1m" }, '"size=1m" does not go with bind'],
  [{ type: "tmpfs", device: "t", o: "remount" }, "invalid tmpfs option"],
  [{ type: "../x", device: "/x" }, "is no file system"],
  [{ type: "ext4", device: "sda" }, "is no device of ext4"],
  [{ size: "1x" }, "invalid size: '1x'"],
  [{ size: "10GiB" }, "quota size requested but no quota support"],
  [{ type: "tmpfs", device: "t", o: "a\0b" }, "has a NUL"],
])("refused: %j", (options, message) => {
  expect(() => localVolume(options as never)).toThrow(message);
});
