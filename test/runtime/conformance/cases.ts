import type { Case } from "./case.ts";
import { capabilityCases } from "./cases/capabilities.ts";
import { cgroupCases } from "./cases/cgroups.ts";
import { inspectCases } from "./cases/commands.ts";
import { configCases } from "./cases/config.ts";
import { deviceCases, deviceRuleCases } from "./cases/devices.ts";
import { killCases } from "./cases/end.ts";
import { execCases } from "./cases/exec.ts";
import { hookCases } from "./cases/hooks.ts";
import { lifecycleCases, stateCases } from "./cases/lifecycle.ts";
import { linuxCases } from "./cases/linux.ts";
import { idmapCases, mountCases } from "./cases/mounts.ts";
import { namespaceCases, timeCases, userCases } from "./cases/namespaces.ts";
import { processCases, schedulerCases } from "./cases/process.ts";
import { resourceCases } from "./cases/resources.ts";
import { rlimitCases } from "./cases/rlimits.ts";
import { pathCases, propagationCases } from "./cases/rootfs.ts";
import { seccompCases } from "./cases/seccomp.ts";
import { sysctlCases } from "./cases/sysctl.ts";
import { terminalCases } from "./cases/terminal.ts";
import { eventCases, updateCases } from "./cases/update.ts";

/** All, in the order of the table. */
export const CASES: readonly Case[] = [
  ...lifecycleCases,
  ...stateCases,
  ...killCases,
  ...configCases,
  ...processCases,
  ...schedulerCases,
  ...rlimitCases,
  ...capabilityCases,
  ...mountCases,
  ...idmapCases,
  ...propagationCases,
  ...pathCases,
  ...deviceCases,
  ...deviceRuleCases,
  ...resourceCases,
  ...cgroupCases,
  ...namespaceCases,
  ...timeCases,
  ...userCases,
  ...sysctlCases,
  ...seccompCases,
  ...hookCases,
  ...linuxCases,
  ...terminalCases,
  ...execCases,
  ...inspectCases,
  ...updateCases,
  ...eventCases,
];
