import type { CgroupDirectory } from "../../../cgroups/directory.ts";
import { type Figure, pressure, sparse } from "./figures.ts";

type Directory = CgroupDirectory | undefined;

const V1 = {
  ioServiceBytesRecursive: "io_service_bytes_recursive",
  ioServicedRecursive: "io_serviced_recursive",
  ioQueueRecursive: "io_queued_recursive",
  ioServiceTimeRecursive: "io_service_time_recursive",
  ioWaitTimeRecursive: "io_wait_time_recursive",
  ioMergedRecursive: "io_merged_recursive",
  ioTimeRecursive: "time_recursive",
  sectorsRecursive: "sectors_recursive",
} as const;

/** Of the I/O scheduler that counts: CFQ, BFQ, or what the throttling sees, which is all there is with others. */
export function ioV1(blkio: Directory, unified: Directory): Figure {
  const counts = (prefix: string) => entriesOf(blkio, `${prefix}.io_serviced_recursive`).length > 0;
  const prefix = ["blkio", "blkio.bfq"].find(counts) ?? "blkio.throttle";
  const tables = Object.entries(V1).map(([name, file]) => [name, entriesOf(blkio, `${prefix}.${file}`)]);
  return { ...sparse(Object.fromEntries(tables)), psi: pressure(unified, "io.pressure") };
}

/** Lines are `8:0 Read 123`, or `8:0 123`; the sum over all devices is left out. */
function entriesOf(blkio: Directory, file: string): Figure[] {
  const found: Figure[] = [];
  for (const line of blkio?.tryRead(file)?.split("\n") ?? []) {
    const match = /^(\d+):(\d+) (?:([A-Za-z]+) )?(\d+)$/.exec(line);
    if (!match) continue;
    const [, major = "", minor = "", op, value = ""] = match;
    found.push(sparse({ major: BigInt(major), minor: BigInt(minor), op, value: BigInt(value) }));
  }
  return found;
}

/** What io.stat has of v1's tables. */
export function ioV2(unified: Directory): Figure {
  const bytes: Figure[] = [];
  const operations: Figure[] = [];
  for (const line of unified?.tryRead("io.stat")?.split("\n") ?? []) {
    const match = /^(\d+):(\d+) (.*)$/.exec(line);
    if (!match) continue;
    const [, major = "", minor = "", pairs = ""] = match;
    const add = (to: Figure[], op: string, value: string) =>
      to.push(sparse({ major: BigInt(major), minor: BigInt(minor), op, value: BigInt(value) }));
    for (const [, key, value = "0"] of pairs.matchAll(/(\w+)=(\d+)/g)) {
      if (key === "rbytes") add(bytes, "Read", value);
      else if (key === "wbytes") add(bytes, "Write", value);
      else if (key === "rios") add(operations, "Read", value);
      else if (key === "wios") add(operations, "Write", value);
    }
  }
  return {
    ...sparse({ ioServiceBytesRecursive: bytes, ioServicedRecursive: operations }),
    psi: pressure(unified, "io.pressure"),
  };
}
