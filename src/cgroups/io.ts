import { invalid } from "../base/errors.ts";
import type { ThrottleDevice } from "../spec/oci-runtime.ts";
import { type Controller, deviceNumber, INT64_MAX, integer } from "./controller.ts";
import type { CgroupDirectory } from "./directory.ts";

const THROTTLES = [
  { property: "throttleReadBpsDevice", v1: "read_bps_device", v2: "rbps" },
  { property: "throttleWriteBpsDevice", v1: "write_bps_device", v2: "wbps" },
  { property: "throttleReadIOPSDevice", v1: "read_iops_device", v2: "riops" },
  { property: "throttleWriteIOPSDevice", v1: "write_iops_device", v2: "wiops" },
] as const;

const CAUSES = { ENODEV: "no such block device, or a partition", EINVAL: "no such block device, or out of range" };

/** Kernel: cgroup-v1/blkio-controller.rst, cgroup-v2.rst "IO", block/bfq-iosched.rst. Weights 10..1000; rates per second. */
export const io: Controller = {
  v1Name: "blkio",
  v2Name: "io",
  needed({ blockIO: b = {} }) {
    return Object.values(b).some((v) => (Array.isArray(v) ? v.length > 0 : (v ?? 0) !== 0));
  },

  v1(directory, { blockIO: b = {} }, { warn }) {
    // The file's name depends on the I/O scheduler: CFQ had blkio.weight, BFQ has its own, most kernels neither.
    const prefix = ["blkio.weight", "blkio.bfq.weight"].find((file) => directory.has(file));
    if (b.weight) {
      const value = weight(b.weight);
      if (prefix) directory.write(prefix, value);
      else warn("blkio weight", NO_WEIGHT);
    }
    if (b.leafWeight) {
      if (directory.has("blkio.leaf_weight")) directory.write("blkio.leaf_weight", weight(b.leafWeight));
      else warn("blkio leaf weight", "only the CFQ scheduler had it (before Linux 5.0)");
    }
    for (const device of b.weightDevice ?? []) {
      const { number, own, leaf } = weightDevice(device);
      if (own !== undefined) {
        const file = `${prefix}_device`;
        if (prefix && directory.has(file)) directory.write(file, `${number} ${own}`, CAUSES);
        else warn(`blkio weight of device ${number}`, NO_WEIGHT);
      }
      if (leaf !== undefined) {
        if (directory.has("blkio.leaf_weight_device")) {
          directory.write("blkio.leaf_weight_device", `${number} ${leaf}`, CAUSES);
        } else warn(`blkio leaf weight of device ${number}`, "only the CFQ scheduler had it (before Linux 5.0)");
      }
    }
    for (const { property, v1 } of THROTTLES) {
      for (const throttle of b[property] ?? []) {
        const { number, rate } = throttleDevice(property, throttle);
        directory.write(`blkio.throttle.${v1}`, `${number} ${rate}`, CAUSES);
      }
    }
  },

  v2(directory, { blockIO: b = {} }, { warn }) {
    if (b.weight) {
      const value = weight(b.weight);
      if (directory.has("io.bfq.weight")) directory.write("io.bfq.weight", value);
      else if (directory.has("io.weight")) directory.write("io.weight", ioWeight(b.weight));
      else warn("io weight", NO_WEIGHT);
    }
    if (b.leafWeight) warn("io leaf weight", "cgroup v2 has none");
    for (const device of b.weightDevice ?? []) writeDeviceWeight(directory, weightDevice(device), warn);
    for (const { property, v2 } of THROTTLES) {
      for (const throttle of b[property] ?? []) {
        const { number, rate } = throttleDevice(property, throttle);
        directory.write("io.max", `${number} ${v2}=${rate === "0" ? "max" : rate}`, CAUSES);
      }
    }
  },
};

const NO_WEIGHT = "the kernel has no weights for block devices (CONFIG_BFQ_GROUP_IOSCHED or CONFIG_BLK_CGROUP_IOCOST)";

const weight = (value: number) => integer("blkio weight", value, 10, 1000);

/** 10..1000 of BFQ and CFQ as io.weight's 1..10000, linearly. */
export function ioWeight(value: number): number {
  return Math.floor(1 + ((Number(weight(value)) - 10) * 9999) / 990);
}

function writeDeviceWeight(
  directory: CgroupDirectory,
  { number, own, leaf }: ReturnType<typeof weightDevice>,
  warn: (what: string, why: string) => void,
): void {
  if (own !== undefined) {
    if (directory.has("io.bfq.weight")) directory.write("io.bfq.weight", `${number} ${own}`, CAUSES);
    else if (directory.has("io.weight")) directory.write("io.weight", `${number} ${ioWeight(Number(own))}`, CAUSES);
    else warn(`io weight of device ${number}`, NO_WEIGHT);
  }
  if (leaf !== undefined) warn(`io leaf weight of device ${number}`, "cgroup v2 has none");
}

function weightDevice(device: { major: number; minor: number; weight?: number; leafWeight?: number }) {
  const number = deviceNumber("blkio device", device);
  const own = device.weight ? weight(device.weight) : undefined;
  const leaf = device.leafWeight ? weight(device.leafWeight) : undefined;
  if (own === undefined && leaf === undefined)
    throw invalid(`blkio device ${number} has neither weight nor leafWeight`);
  return { number, own, leaf };
}

function throttleDevice(property: string, device: ThrottleDevice) {
  return { number: deviceNumber(property, device), rate: integer(`${property} rate`, device.rate, 0, INT64_MAX * 2) };
}
