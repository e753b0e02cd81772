/** Docker's label of a volume that was made without a name. */
export const ANONYMOUS_LABEL = "com.docker.volume.anonymous";

/** Label of a snapshot: the volume that it was taken of. */
export const SNAPSHOT_LABEL = "inro.snapshot-of";

/** Without those that say what a volume is: a copy with a name is something else. */
export function plainLabels({ [ANONYMOUS_LABEL]: _, [SNAPSHOT_LABEL]: __, ...labels }: Record<string, string>) {
  return labels;
}
