import { trySys } from "../../linux/call.ts";
import { room, scratch } from "../../linux/ffi.ts";
import { CAPABILITIES, capabilityNumber, lastCapability } from "../../security/capabilities.ts";
import type { Capabilities, Process, Spec } from "../../spec/oci-runtime.ts";

/**
 * `process` without the capabilities that nobody could give it: unknown ones, those of newer kernels, and those that we
 * lack ourselves, unless a user namespace gives them all. For each `warn` is called; the specification asks for no more
 * (config.md, "capabilities"). Ambient ones that are not both permitted and inheritable go too: the kernel refuses them
 * one by one.
 */
export function withGrantable(process: Process, spec: Spec, warn: (message: string) => void): Process {
  const given = process.capabilities;
  if (!given) return process;
  const inUserns = spec.linux?.namespaces?.some(({ type }) => type === "user") === true;
  const own = inUserns ? undefined : permitted();
  const highest = lastCapability();
  const lost = new Set<string>();
  const capabilities: Capabilities = {};
  for (const set of ["bounding", "effective", "inheritable", "permitted", "ambient"] as const) {
    if (!given[set]) continue;
    capabilities[set] = given[set].filter((name) => {
      const number = capabilityNumber(name);
      const can =
        number !== undefined && number <= highest && (own === undefined || (own & (1n << BigInt(number))) !== 0n);
      if (!can) lost.add(name);
      return can;
    });
  }
  if (lost.size > 0) warn(`ignoring unknown or unavailable capabilities: [${[...lost].sort().join(" ")}]`);
  if (capabilities.ambient) {
    capabilities.ambient = capabilities.ambient.filter((name) => {
      const can = capabilities.permitted?.includes(name) && capabilities.inheritable?.includes(name);
      if (!can) warn(`can't raise ambient capability ${name}: it is not both permitted and inheritable`);
      return can;
    });
  }
  return { ...process, capabilities };
}

/** What a process that we spawn may have: as root it is given what is permitted to us (capget(2)). */
function permitted(): bigint {
  return scratch(() => {
    const header = room(8);
    header.view.writeUInt32LE(0x20080522 /* _LINUX_CAPABILITY_VERSION_3 */, 0);
    const data = room(24);
    if (trySys("capget", header.address, data.address) < 0) return (1n << BigInt(CAPABILITIES.length)) - 1n;
    return BigInt(data.view.readUInt32LE(4)) | (BigInt(data.view.readUInt32LE(16)) << 32n);
  });
}
