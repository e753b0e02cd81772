import type { Flag } from "./flags.ts";

export const liveFlag: Flag = {
  name: "live",
  type: "bool",
  help: "Even while a running container may be writing to it",
};
