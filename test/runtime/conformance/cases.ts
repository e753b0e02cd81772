import type { Case } from "./case.ts";
import { capabilityCases } from "./cases/capabilities.ts";
import { cgroupCases, resourceCases } from "./cases/cgroups.ts";
import { eventCases, inspectCases, updateCases } from "./cases/commands.ts";
import { deviceCases, deviceRuleCases } from "./cases/devices.ts";
import { execCases, terminalCases } from "./cases/exec.ts";
import { hookCases } from "./cases/hooks.ts";
import { configCases, killCases, lifecycleCases, stateCases } from "./cases/lifecycle.ts";
import { linuxCases } from "./cases/linux.ts";
import { idmapCases, mountCases, pathCases, propagationCases } from "./cases/mounts.ts";
import { namespaceCases, sysctlCases, timeCases, userCases } from "./cases/namespaces.ts";
import { processCases, schedulerCases } from "./cases/process.ts";
import { rlimitCases } from "./cases/rlimits.ts";

import { seccompCases } from "./cases/seccomp.ts";

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
