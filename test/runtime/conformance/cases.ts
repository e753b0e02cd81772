import type { Case } from "./case.ts";
import { capabilityCases } from "./cases/capabilities.ts";
import { configCases, killCases, lifecycleCases, stateCases } from "./cases/lifecycle.ts";
import { processCases, schedulerCases } from "./cases/process.ts";
import { rlimitCases } from "./cases/rlimits.ts";

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
];
