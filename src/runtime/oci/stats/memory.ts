import type { CgroupDirectory } from "../../../cgroups/directory.ts";
import { type Figure, MAX, number, pressure, sparse, table } from "./figures.ts";

type Directory = CgroupDirectory | undefined;

/** Bytes. `swap` is memory and swap, in both versions. `unified` has the pressure, in hybrid mode too. */
export function memoryV1(memory: Directory, unified: Directory): Figure {
  const entry = (prefix: string): Figure => ({
    limit: number(memory, `${prefix}.limit_in_bytes`),
    ...sparse({
      usage: number(memory, `${prefix}.usage_in_bytes`),
      max: number(memory, `${prefix}.max_usage_in_bytes`),
    }),
    failcnt: number(memory, `${prefix}.failcnt`),
  });
  const raw = table(memory, "memory.stat");
  return {
    ...sparse({ cache: raw.cache }),
    usage: entry("memory"),
    swap: entry("memory.memsw"),
    kernel: entry("memory.kmem"),
    kernelTCP: entry("memory.kmem.tcp"),
    raw: Object.keys(raw).length > 0 ? raw : undefined,
    psi: pressure(unified, "memory.pressure"),
  };
}

export function memoryV2(unified: Directory): Figure {
  const raw = table(unified, "memory.stat");
  const [usage, limit] = [number(unified, "memory.current"), number(unified, "memory.max")];
  const swapLimit = number(unified, "memory.swap.max");
  const none: Figure = { limit: 0n, failcnt: 0n };
  return {
    ...sparse({ cache: raw.file }),
    usage: {
      limit,
      ...sparse({ usage, max: number(unified, "memory.peak") }),
      failcnt: table(unified, "memory.events").max ?? 0n,
    },
    swap: {
      limit: swapLimit === MAX || limit === MAX ? MAX : swapLimit + limit,
      ...sparse({ usage: number(unified, "memory.swap.current") + usage }),
      failcnt: 0n,
    },
    kernel: none,
    kernelTCP: none,
    raw: Object.keys(raw).length > 0 ? raw : undefined,
    psi: pressure(unified, "memory.pressure"),
  };
}
