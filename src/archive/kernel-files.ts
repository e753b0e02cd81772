import { sys } from "../linux/call.ts";
import { room, scratch } from "../linux/ffi.ts";

/** magic.h: file systems whose files are the kernel's, and no content of a container's. */
const KERNEL_FILES = new Set([
  0x9fa0, // proc
  0x62656572, // sysfs
  0x27e0eb, // cgroup
  0x63677270, // cgroup2
  0x1cd1, // devpts
  0x19800202, // mqueue
  0x64626720, // debugfs
  0x74726163, // tracefs
  0x73636673, // securityfs
  0xcafe4a11, // bpf
  0x65735543, // fusectl
  0x62656570, // configfs
  0x6165676c, // pstore
  0xde5e81e4, // efivarfs
  0x42494e4d, // binfmt_misc
]);

const ST_RDONLY = 1;

/** fstatfs(2) of an open file, O_PATH too. */
export function fileSystemOf(fd: number): { kernel: boolean; readOnly: boolean } {
  return scratch(() => {
    const { address, view } = room(120);
    sys("fstatfs", `fd ${fd}`, fd, address);
    return {
      kernel: KERNEL_FILES.has(Number(view.readBigUInt64LE(0) & 0xffff_ffffn)),
      readOnly: (view.readUInt32LE(80) & ST_RDONLY) !== 0,
    };
  });
}
