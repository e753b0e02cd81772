import { invalid } from "../../base/errors.ts";
import { parseEgress } from "../../network/egress-policy.ts";
import { resolveCapabilities } from "../../security/capabilities.ts";
import { READONLY_PATHS } from "../../security/paths.ts";
import type { ContainerConfig, HostConfig } from "../../spec/docker-api.ts";
import type { ImageConfig } from "../../spec/oci-image.ts";
import { portRequests } from "../networks/ports.ts";
import { checkBandwidth } from "./bandwidth.ts";
import { injectDevices } from "./cdi.ts";
import { checkDevices } from "./devices.ts";
import { checkEnv } from "./environment.ts";
import { checkExpiry } from "./expiry.ts";
import { record } from "./fields.ts";
import { checkHealth, healthCheck } from "./health.ts";
import { type HostFacts, hostFacts } from "./host-facts.ts";
import { checkDns, checkHostNames } from "./hosts.ts";
import { checkUser, checkWorkingDir, cleanPath, mergeImage } from "./image-defaults.ts";
import { checkLimits } from "./limits.ts";
import { completeLogConfig, DEFAULT_LOG, type LogConfig } from "./log-config.ts";
import { checkModes, namespaceModes, networkMode, usernsRequest } from "./modes.ts";
import { planMounts } from "./mount-plan.ts";
import { containerConfig, hostConfig } from "./request-fields.ts";
import { checkRestartPolicy } from "./restart-policy.ts";
import {
  checkAnnotations,
  checkCgroupParent,
  checkIsolation,
  checkPaths,
  checkPorts,
  checkStorageOptions,
} from "./scalars.ts";
import { parseSecurityOptions } from "./security-options.ts";
import { parseSignal } from "./signals.ts";
import { checkSysctls } from "./sysctls.ts";
import { rlimits } from "./ulimits.ts";
import { discardedPorts, refuseRuntime, refuseUnsupported } from "./unsupported.ts";

/** What a container is made of: checked, completed, and what docker would warn of. */
export interface Validated {
  config: ContainerConfig;
  host: HostConfig;
  warnings: string[];
}

/** The image that a create request names; the engine needs its config for {@link validateCreate}. Throws invalid. */
export function requestedImage(body: unknown): string {
  const { Image } = containerConfig({ Image: record(body, "the request body").Image }, "");
  if (!Image) throw invalid("no image specified");
  return Image;
}

/**
 * Checks the untrusted body of POST /containers/create, fills it from the image's config and docker's defaults. Unknown
 * fields are left out, as docker does. Throws InroError only: invalid for what is wrong, notImplemented for what inro
 * does not do yet. An absent hostname stays absent: see `hostnameOf`.
 */
export function validateCreate(
  body: unknown,
  image?: ImageConfig["config"],
  facts: HostFacts = hostFacts(),
  log: LogConfig = DEFAULT_LOG,
): Validated {
  const request = record(body, "the request body");
  const requestHost = record(request.HostConfig ?? {}, "HostConfig");
  refuseUnsupported(requestHost);
  const asked = containerConfig(request, "");
  const given = hostConfig(requestHost, "HostConfig");
  // As docker before it had network modes.
  if (asked.NetworkDisabled) given.NetworkMode = "none";

  checkModes(asked, given, facts.cgroup);
  const config = mergeImage(asked, image);
  checkConfig(config);
  if (config.WorkingDir) config.WorkingDir = cleanPath(config.WorkingDir);
  withEgress(asked, given);
  checkBandwidth(given);
  if (![...(config.Entrypoint ?? []), ...(config.Cmd ?? [])][0]) throw invalid("no command specified");

  checkRestartPolicy(given);
  checkExpiry(given);
  if (given.RestartOnUnhealthy && !healthCheck(config)) throw invalid("RestartOnUnhealthy needs a health check");
  const { host: limited, warnings } = checkLimits(given, facts);
  const host = normalize(limited, facts, log, asked.NetworkDisabled === true);
  const network = host.NetworkMode ?? "none";
  warnings.push(...discardedPorts(host, network), ...refuseRuntime(given), ...kernelMemoryWarning(requestHost));
  checkHost(config, host, facts);
  return { config, host, warnings };
}

/** By which clients that know no `Egress` say it; an image's label is not theirs. Rules stand apart by blanks. */
const EGRESS_LABEL = "inro.egress";

/** Completes HostConfig.Egress. Throws invalid for what is no rule, and for networks that are not the container's own. */
function withEgress(asked: ContainerConfig, given: HostConfig): void {
  const labelled = asked.Labels?.[EGRESS_LABEL]?.split(/\s+/).filter(Boolean) ?? [];
  const rules = [...(given.Egress ?? []), ...labelled];
  if (rules.length === 0) return;
  parseEgress(rules);
  given.Egress = rules;
  const mode = given.NetworkMode ?? "";
  if (mode === "host" || mode.startsWith("container:")) {
    throw invalid(
      `egress rules conflict with network mode ${mode.split(":")[0]}: the network is not the container's own`,
    );
  }
}

function checkConfig(config: ContainerConfig): void {
  checkEnv(config.Env ?? []);
  if (config.User) checkUser(config.User);
  if (config.WorkingDir) checkWorkingDir(config.WorkingDir);
  if (config.StopSignal) parseSignal(config.StopSignal);
  if ((config.StopTimeout ?? 0) < -1)
    throw invalid(`invalid stop timeout ${config.StopTimeout}, use -1 to wait for ever`);
  checkPorts(config.ExposedPorts ?? {});
  if (config.Healthcheck) checkHealth(config.Healthcheck);
}

/** Everything that the launch would fail on is found here, where the client still listens. */
function checkHost(config: ContainerConfig, host: HostConfig, facts: HostFacts): void {
  const modes = namespaceModes(host, facts.cgroup);
  checkHostNames(config, host);
  planMounts(config, host);
  checkDevices(injectDevices(config, host).host);
  checkSysctls(host.Sysctls ?? {}, modes);
  rlimits(host.Ulimits ?? [], facts);
  checkCgroupParent(host.CgroupParent ?? "");
  checkAnnotations(host.Annotations ?? {});
  checkPaths(host);
  checkIsolation(host.Isolation ?? "");
  checkStorageOptions(host.StorageOpt ?? {});
  portRequests(config, host);
  checkDns(host);
  for (const group of host.GroupAdd ?? []) checkUser(group);
  resolveCapabilities({
    add: host.CapAdd ?? [],
    drop: host.CapDrop ?? [],
    privileged: false,
    available: facts.capabilities,
  });
  const options = parseSecurityOptions(host.SecurityOpt ?? [], facts);
  if (options.writableCgroups && usernsRequest(host.UsernsMode)) {
    throw invalid("option WritableCgroups conflicts with user namespaces");
  }
}

/** The stored form: defaults that docker resolves at create, so that inspect shows what will be. */
function normalize(given: HostConfig, facts: HostFacts, log: LogConfig, disabled: boolean): HostConfig {
  const modes = namespaceModes(given, facts.cgroup);
  const unconfined = parseSecurityOptions(given.SecurityOpt ?? [], facts).unconfinedPaths;
  const open = given.Privileged || unconfined;
  return {
    ...given,
    NetworkMode: disabled ? "none" : networkMode(given.NetworkMode),
    IpcMode: given.IpcMode || "private",
    CgroupnsMode: modes.cgroup.kind,
    ShmSize: given.ShmSize || 64 * 1024 * 1024,
    LogConfig: completeLogConfig(given.LogConfig ?? {}, log),
    RestartPolicy: {
      Name: given.RestartPolicy?.Name || "no",
      MaximumRetryCount: given.RestartPolicy?.MaximumRetryCount ?? 0,
    },
    Runtime: "inro",
    MaskedPaths: given.MaskedPaths ?? (open ? [] : [...facts.maskedPaths]),
    ReadonlyPaths: given.ReadonlyPaths ?? (open ? [] : [...READONLY_PATHS]),
  };
}

/** Linux has had none since 5.4; docker takes the number and leaves it. */
function kernelMemoryWarning({ KernelMemory, KernelMemoryTCP }: Record<string, unknown>): string[] {
  if (!KernelMemory && !KernelMemoryTCP) return [];
  return ["your kernel does not support kernel memory limits, KernelMemory discarded"];
}
