import { invalid } from "../../base/errors.ts";
import type { ContainerConfig, ExecCreateRequest, HostConfig } from "../../spec/docker-api.ts";
import type { Process, Spec } from "../../spec/oci-runtime.ts";
import { checkEnv, environment } from "./environment.ts";
import { type HostFacts, hostFacts } from "./host-facts.ts";
import { hostnameOf } from "./hosts.ts";
import { checkUser, checkWorkingDir } from "./image-defaults.ts";
import { capabilitySets, containerCapabilities, findUser, givable, type Lookup } from "./process.ts";
import { execRequest } from "./request-fields.ts";

/** Checks the untrusted body of POST /containers/{id}/exec. Throws invalid. */
export function validateExec(body: unknown): ExecCreateRequest {
  const request = execRequest(body, "");
  if (!request.Cmd?.[0]) throw invalid("no exec command specified");
  checkEnv(request.Env ?? []);
  if (request.User) checkUser(request.User);
  if (request.WorkingDir) checkWorkingDir(request.WorkingDir);
  return request;
}

/**
 * The process of an exec in a running container: what the request leaves open is as in the container. `privileged`
 * gives all capabilities; the container's seccomp filter and masked paths stay. `spec` is the one it was started with.
 * Throws invalid for an unknown user.
 */
export function execProcess(
  container: { id: string; config: ContainerConfig; host: HostConfig; spec: Spec },
  request: ExecCreateRequest,
  lookup: Lookup,
  facts: HostFacts = hostFacts(),
): Process {
  const { id, config, host, spec } = container;
  const all = facts.lastGid === undefined ? undefined : facts.lastGid + 1;
  const ids = spec.linux?.uidMappings?.reduce((sum, mapping) => sum + mapping.size, 0) ?? all;
  const user = findUser(lookup, request.User || config.User || "", host.GroupAdd ?? [], ids);
  const terminal = request.Tty ?? false;
  const [height = 0, width = 0] = request.ConsoleSize ?? [];
  const names = request.Privileged ? [...facts.capabilities] : containerCapabilities(host, facts);
  const { rlimits, noNewPrivileges = false, apparmorProfile, oomScoreAdj } = spec.process ?? {};
  return {
    terminal,
    ...(terminal && height > 0 && width > 0 ? { consoleSize: { height, width } } : {}),
    user: { uid: user.uid, gid: user.gid, additionalGids: givable(user.additionalGids, host, facts) },
    args: request.Cmd ?? [],
    env: environment(
      { hostname: hostnameOf(id, config, host, facts), terminal, home: user.home },
      config.Env ?? [],
      request.Env ?? [],
    ),
    cwd: request.WorkingDir || config.WorkingDir || "/",
    capabilities: capabilitySets(names, user.uid),
    ...(rlimits ? { rlimits } : {}),
    noNewPrivileges,
    ...(apparmorProfile ? { apparmorProfile } : {}),
    ...(oomScoreAdj === undefined ? {} : { oomScoreAdj }),
  };
}
