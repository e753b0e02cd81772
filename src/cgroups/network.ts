import { invalid } from "../base/errors.ts";
import { type Controller, integer, UINT32_MAX } from "./controller.ts";

/** Kernel: cgroup-v1/net_cls.rst. Only v1 has it. */
export const netCls: Controller = {
  v1Name: "net_cls",
  needed: ({ network = {} }) => network.classID !== undefined,
  v1(directory, { network = {} }) {
    if (network.classID === undefined) return;
    directory.write("net_cls.classid", integer("network classID", network.classID, 0, UINT32_MAX));
  },
};

/** Kernel: cgroup-v1/net_prio.rst. Only v1 has it. */
export const netPrio: Controller = {
  v1Name: "net_prio",
  needed: ({ network = {} }) => (network.priorities ?? []).length > 0,
  v1(directory, { network = {} }) {
    for (const { name, priority } of network.priorities ?? []) {
      if (!/^[^\s/:\0]{1,15}$/.test(name)) {
        throw invalid(`invalid interface name ${JSON.stringify(String(name).slice(0, 40))}`);
      }
      const value = integer(`network priority of ${name}`, priority, 0, UINT32_MAX);
      directory.write("net_prio.ifpriomap", `${name} ${value}`, {
        ENODEV: "no such interface",
        EINVAL: "no such interface",
      });
    }
  },
};
