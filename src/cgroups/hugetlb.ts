import { invalid, unavailable } from "../base/errors.ts";
import { type Controller, INT64_MAX, integer } from "./controller.ts";

/** Writes each page size's limit, and the one for reservations where the kernel has it (Linux 5.7). */
function writer(suffix: string): NonNullable<Controller["v1"]> {
  return (directory, { hugepageLimits = [] }) => {
    for (const { pageSize, limit } of hugepageLimits) {
      if (!/^[1-9]\d{0,5}[KMG]B$/.test(pageSize)) {
        throw invalid(`invalid huge page size ${JSON.stringify(String(pageSize).slice(0, 40))}: must be like 2MB`);
      }
      const value = integer(`limit of ${pageSize} huge pages`, limit, 0, INT64_MAX * 2);
      const file = `hugetlb.${pageSize}.${suffix}`;
      if (!directory.has(file)) throw unavailable(`the kernel has no huge pages of ${pageSize} (no ${file})`);
      directory.write(file, value);
      const reserved = `hugetlb.${pageSize}.rsvd.${suffix}`;
      if (directory.has(reserved)) directory.write(reserved, value);
    }
  };
}

/** Kernel: cgroup-v1/hugetlb.rst, cgroup-v2.rst "HugeTLB". Limits in bytes. */
export const hugetlb: Controller = {
  v1Name: "hugetlb",
  v2Name: "hugetlb",
  needed: ({ hugepageLimits = [] }) => hugepageLimits.length > 0,
  v1: writer("limit_in_bytes"),
  v2: writer("max"),
};
