import { writeFileSync } from "node:fs";
import { join } from "node:path";
import { hostFacts } from "../src/engine/config/host-facts.ts";
import { toSpec } from "../src/engine/config/to-spec.ts";
import { validateCreate } from "../src/engine/config/validate-create.ts";
import type { Spec } from "../src/spec/oci-runtime.ts";
import { IMAGE } from "./busybox.ts";

/**
 * The OCI config of `inro run --rm --network none IMAGE true`, made by the engine's own code, for the floor and for the
 * OCI runtimes: the same namespaces, mounts, masked paths, capabilities and seccomp profile for all. `dir` gets the
 * files that are bound on /etc/hostname, hosts and resolv.conf.
 */
export function containerSpec(id: string, dir: string): Spec {
  const facts = hostFacts();
  const body = { Image: IMAGE, Cmd: ["true"], HostConfig: { NetworkMode: "none", AutoRemove: true } };
  const { config, host } = validateCreate(body, undefined, facts);
  const files = { hostname: join(dir, "hostname"), hosts: join(dir, "hosts"), resolv: join(dir, "resolv.conf") };
  for (const path of Object.values(files)) writeFileSync(path, "127.0.0.1\tlocalhost\n");
  return toSpec({ id, config, host, rootfs: { lookup: () => undefined }, files, volumes: [], facts });
}
