/** Docker's own command line, where there is one. */
export const docker = Bun.which("docker") ?? undefined;

const version = docker ? Bun.spawnSync([docker, "--version"]).stdout.toString() : "";

/** Its major version; 0 without one. */
export const dockerVersion = Number(/version (\d+)/.exec(version)?.[1] ?? 0);
