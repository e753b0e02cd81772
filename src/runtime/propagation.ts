import * as k from "../linux/constants.ts";
import type { Spec } from "../spec/oci-runtime.ts";
import type { Builder } from "./builder.ts";

/** Words of `linux.rootfsPropagation` (runtime-spec config-linux.md, "Rootfs Mount Propagation"); each also with `r`. */
export type RootfsPropagation = NonNullable<NonNullable<Spec["linux"]>["rootfsPropagation"]>;

/** Of a bind without a word of its own. Only `rshared` lets what the container mounts appear on the host. */
export function inheritedPropagation(root: RootfsPropagation | undefined): number {
  if (root === "rshared") return k.MS_SHARED;
  return root === "slave" || root === "rslave" || root === "shared" ? k.MS_SLAVE : k.MS_PRIVATE;
}

/** Of the root while the container is set up: pivot_root(2) takes no shared one. */
export function rootPropagation(root: RootfsPropagation | undefined): number {
  return root === "slave" || root === "rslave" ? k.MS_SLAVE : k.MS_PRIVATE;
}

const AFTER: Partial<Record<RootfsPropagation, number>> = {
  shared: k.MS_SHARED,
  rshared: k.MS_SHARED,
  rslave: k.MS_SLAVE,
  unbindable: k.MS_UNBINDABLE,
  runbindable: k.MS_UNBINDABLE,
};

/** After pivot_root(2), on `/`; the forms with `r` on all that is mounted below it too. */
export function propagateRoot(p: Builder, root: RootfsPropagation | undefined): void {
  const propagation = root && AFTER[root];
  if (!propagation) return;
  p.setAttributes("linux.rootfsPropagation", p.root!, { propagation, recursive: root.startsWith("r") });
}
