import { invalid } from "../../base/errors.ts";
import { NATIVE_ABI } from "../../linux/call.ts";
import type { Filter } from "../../security/seccomp/compile.ts";
import type { Seccomp, Spec } from "../../spec/oci-runtime.ts";
import { FilterCache } from "./filter-cache.ts";
import { stringifyJson } from "./json.ts";
import type { SpawnRequest } from "./spawn.ts";
import type { ociState } from "./state.ts";

/** The seccomp filter of a process, and for one that notifies what becomes of its listener. */
export interface ProcessFilter {
  filter: Filter | undefined;
  onListener: SpawnRequest["onListener"];
}

/**
 * The filter of `linux.seccomp` for `process` of the same spec. The section comes from outside and is checked in full.
 * `root` has the cache; `state` is the container's when the listener is handed over.
 */
export async function processFilter(
  spec: Spec,
  root: string,
  state: () => ReturnType<typeof ociState>,
): Promise<ProcessFilter> {
  const filter = await seccompFilter(spec, root);
  if (!filter?.listener) return { filter, onListener: undefined };
  const { handOver, listenerTarget } = await import("./listener.ts");
  const target = listenerTarget(spec.linux!.seccomp!);
  return { filter, onListener: (pid, fd) => handOver(target, pid, fd, state()) };
}

/** The filter alone. */
export async function seccompFilter(spec: Spec, root: string): Promise<Filter | undefined> {
  const section: unknown = spec.linux?.seccomp;
  if (!section) return undefined;
  const caps = spec.process?.capabilities?.bounding ?? [];
  const text = stringifyJson([section, caps]);
  const known = compiled.get(text);
  if (known) return known;
  const cache = new FilterCache(root, text);
  const cached = cache.read();
  if (cached) return remember(text, cached);
  const { compileFilter } = await import("../../security/seccomp/compile.ts");
  const { kernelVersion, resolveProfile } = await import("../../security/seccomp/profile.ts");
  const { release } = await import("node:os");
  const profile: Seccomp | undefined = resolveProfile(section, {
    caps,
    abi: NATIVE_ABI,
    kernel: kernelVersion(release()),
  });
  // A filter that is asked for and says nothing must not be none.
  if (!profile) throw invalid("config.json: linux.seccomp.defaultAction: required");
  const filter = compileFilter(profile, NATIVE_ABI);
  cache.write(filter);
  return remember(text, filter);
}

/** What a resident has met, by its text. */
const compiled = new Map<string, Filter>();
const MAX_COMPILED = 16;

function remember(text: string, filter: Filter): Filter {
  if (compiled.size >= MAX_COMPILED) compiled.clear();
  compiled.set(text, filter);
  return filter;
}
