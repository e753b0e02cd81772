import { expect, test } from "bun:test";
import * as k from "../linux/constants.ts";
import { MOUNT_WORDS, parseMountOptions } from "./mount-options.ts";

const parse = (...options: string[]) => parseMountOptions({ destination: "/x", options });
const ATIME = k.MOUNT_ATTR__ATIME;

test.each<[string, Partial<ReturnType<typeof parse>>]>([
  ["ro", { set: k.MOUNT_ATTR_RDONLY, clear: 0 }],
  ["ro rw", { set: 0, clear: k.MOUNT_ATTR_RDONLY }],
  ["rw ro", { set: k.MOUNT_ATTR_RDONLY, clear: 0 }],
  ["nosuid nodev noexec", { set: k.MOUNT_ATTR_NOSUID | k.MOUNT_ATTR_NODEV | k.MOUNT_ATTR_NOEXEC }],
  ["nosuid suid", { set: 0, clear: k.MOUNT_ATTR_NOSUID }],
  ["nosymfollow", { set: k.MOUNT_ATTR_NOSYMFOLLOW }],
  ["relatime", { set: 0, clear: ATIME }],
  ["noatime", { set: k.MOUNT_ATTR_NOATIME, clear: ATIME }],
  ["noatime atime", { set: 0, clear: ATIME }],
  // As mount(2): strictatime is over the others, and only its own opposite takes it away.
  ["strictatime noatime", { set: k.MOUNT_ATTR_STRICTATIME, clear: ATIME }],
  ["strictatime atime", { set: k.MOUNT_ATTR_STRICTATIME, clear: ATIME }],
  ["noatime nostrictatime", { set: k.MOUNT_ATTR_NOATIME, clear: ATIME }],
  ["rro", { set: 0, recursiveSet: k.MOUNT_ATTR_RDONLY, recursiveClear: 0 }],
  ["rro rrw", { recursiveSet: 0, recursiveClear: k.MOUNT_ATTR_RDONLY }],
  ["rnoatime", { recursiveSet: k.MOUNT_ATTR_NOATIME, recursiveClear: ATIME }],
  ["rnoatime rstrictatime", { recursiveSet: k.MOUNT_ATTR_STRICTATIME, recursiveClear: ATIME }],
  ["rrelatime", { recursiveSet: 0, recursiveClear: ATIME }],
  ["ratime", { recursiveSet: 0, recursiveClear: ATIME }],
  ["rsymfollow", { recursiveSet: 0, recursiveClear: k.MOUNT_ATTR_NOSYMFOLLOW }],
  ["private", { propagation: k.MS_PRIVATE, propagationRecursive: false }],
  ["rslave", { propagation: k.MS_SLAVE, propagationRecursive: true }],
  ["bind", { bind: true, recursive: false }],
  ["rbind", { bind: true, recursive: true }],
  ["remount bind ro", { bind: true, remount: true, set: k.MOUNT_ATTR_RDONLY }],
  ["sync dirsync lazytime mand", { flags: k.MS_SYNCHRONOUS | k.MS_DIRSYNC | k.MS_LAZYTIME | k.MS_MANDLOCK }],
  ["sync async lazytime nolazytime mand nomand iversion noiversion silent loud", { flags: 0 }],
  ["iversion silent", { flags: k.MS_I_VERSION | k.MS_SILENT }],
  ["idmap", { idmap: "mount" }],
  ["ridmap", { idmap: "recursive" }],
  ["tmpcopyup", { copyUp: true }],
  ["defaults", { flags: 0, data: [] }],
  [
    "size=1m huge usrquota x=a=b",
    {
      data: [
        ["size", "1m"],
        ["huge", undefined],
        ["usrquota", undefined],
        ["x", "a=b"],
      ],
    },
  ],
  // No recursive form: the file system's own.
  ["rsync", { data: [["rsync", undefined]] }],
])("%s", (options, expected) => {
  expect(parse(...options.split(" "))).toMatchObject(expected as object);
});

test("no word of the specification is taken for the file system's", () => {
  expect(parse(...MOUNT_WORDS).data).toEqual([]);
  expect(new Set(MOUNT_WORDS).size).toBe(MOUNT_WORDS.length);
});
