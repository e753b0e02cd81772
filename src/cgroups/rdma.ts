import { invalid } from "../base/errors.ts";
import { type Controller, integer, UINT32_MAX } from "./controller.ts";

const write: NonNullable<Controller["v1"]> = (directory, { rdma: devices = {} }) => {
  for (const [device, { hcaHandles, hcaObjects }] of Object.entries(devices)) {
    if (!/^[A-Za-z0-9_.-]{1,64}$/.test(device))
      throw invalid(`invalid rdma device ${JSON.stringify(device.slice(0, 64))}`);
    if (hcaHandles === undefined && hcaObjects === undefined) {
      throw invalid(`rdma device ${device} has neither hcaHandles nor hcaObjects`);
    }
    let line = device;
    if (hcaHandles !== undefined)
      line += ` hca_handle=${integer(`rdma ${device} hcaHandles`, hcaHandles, 0, UINT32_MAX)}`;
    if (hcaObjects !== undefined)
      line += ` hca_object=${integer(`rdma ${device} hcaObjects`, hcaObjects, 0, UINT32_MAX)}`;
    directory.write("rdma.max", line, { ENODEV: "no such rdma device" });
  }
};

/** Kernel: cgroup-v1/rdma.rst, cgroup-v2.rst "RDMA". */
export const rdma: Controller = {
  v1Name: "rdma",
  v2Name: "rdma",
  needed: ({ rdma: devices = {} }) => Object.keys(devices).length > 0,
  v1: write,
  v2: write,
};
