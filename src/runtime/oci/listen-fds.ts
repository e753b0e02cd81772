import { invalid } from "../../base/errors.ts";

/** Socket activation: what a service manager passed on after stdio (sd_listen_fds(3)). */
export interface ListenFds {
  count: number;
  /** For the container, where its process is pid 1 and finds them at 3 and up. */
  env: string[];
}

/** Descriptors meant for another process than `pid` are none of ours. */
export function listenFds(env: Readonly<Record<string, string | undefined>>, pid: number): ListenFds | undefined {
  if (env.LISTEN_PID !== String(pid) || !env.LISTEN_FDS) return undefined;
  if (!/^\d{1,9}$/.test(env.LISTEN_FDS)) throw invalid(`LISTEN_FDS: ${JSON.stringify(env.LISTEN_FDS)} is no number`);
  const count = Number(env.LISTEN_FDS);
  if (count === 0) return undefined;
  const names = env.LISTEN_FDNAMES ? [`LISTEN_FDNAMES=${env.LISTEN_FDNAMES}`] : [];
  return { count, env: [`LISTEN_FDS=${count}`, "LISTEN_PID=1", ...names] };
}
