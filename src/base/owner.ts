/** Set by an engine that has entered its user's namespaces: the user's id outside of them. */
export const ROOTLESS_UID = "INRO_ROOTLESS_UID";

/**
 * The user whose engine this is, as the machine knows him: of an engine in a user namespace of its own the one outside.
 * 0 is the machine's root, or that of a user namespace which somebody else has made.
 */
export function ownerUid(env: Record<string, string | undefined> = process.env): number {
  const outside = env[ROOTLESS_UID];
  return outside !== undefined && /^[1-9]\d{0,9}$/.test(outside) ? Number(outside) : (process.getuid?.() ?? 0);
}

/** Whether this process has to enter its user's namespaces before it can be an engine. */
export function mustEnter(env: Record<string, string | undefined> = process.env): boolean {
  return process.geteuid?.() !== 0 && env[ROOTLESS_UID] === undefined;
}
