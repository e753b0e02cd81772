import { invalid } from "../../base/errors.ts";
import type { HostConfig } from "../../spec/docker-api.ts";

const POLICIES = ["no", "always", "unless-stopped", "on-failure"];

/** RestartPolicy and RestartOnUnhealthy, by docker's rules. Throws invalid. */
export function checkRestartPolicy({ RestartPolicy: policy, RestartOnUnhealthy, AutoRemove }: HostConfig): void {
  const { Name: name = "", MaximumRetryCount: retries = 0 } = policy ?? {};
  if (name !== "" && !POLICIES.includes(name)) {
    throw invalid(
      `invalid restart policy: unknown policy '${name.slice(0, 64)}'; use one of 'no', 'always', 'on-failure', or 'unless-stopped'`,
    );
  }
  if (retries < 0) throw invalid("invalid restart policy: maximum retry count cannot be negative");
  if (retries > 0 && name !== "on-failure") {
    throw invalid("invalid restart policy: maximum retry count can only be used with 'on-failure'");
  }
  if (AutoRemove && ((name !== "" && name !== "no") || RestartOnUnhealthy)) {
    throw invalid("can't create 'AutoRemove' container with restart policy");
  }
}
