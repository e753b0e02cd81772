import { existsSync } from "node:fs";
import { sys } from "../src/linux/call.ts";
import * as k from "../src/linux/constants.ts";
import { scratch, str } from "../src/linux/ffi.ts";
import { peakOf } from "./peak.ts";
import type { Answer, Reply, Request } from "./private-mounts.ts";
import { processorTime } from "./processes.ts";

/** The thread of private-mounts.ts: its own mount namespace, in which it mounts, unmounts and spawns. */

const CLONE_FS = 0x200;
const mount = (source: string | 0, target: string, type: string | 0, flags: number, data: string | 0) =>
  scratch(() => {
    const text = (value: string | 0) => (value === 0 ? 0 : str(value));
    sys("mount", target, text(source), str(target), text(type), flags, text(data));
  });
const unmount = (target: string) => scratch(() => sys("umount2", target, str(target), k.MNT_DETACH));

sys("unshare", "a mount namespace for this thread", CLONE_FS | k.CLONE_NEWNS);
mount(0, "/", 0, k.MS_REC | k.MS_PRIVATE, 0);

const NOTHING = { ms: 0, cpu: 0 };

function serve(request: Request): Answer {
  switch (request.kind) {
    case "mount":
      mount("overlay", request.target, "overlay", 0, request.options);
      return NOTHING;
    case "unmount":
      unmount(request.target);
      return NOTHING;
    case "peak":
      return { ...NOTHING, peak: peakOf(request.argv, request.cwd, request.env, request.stderr) };
    case "start": {
      const { argv, argv0, env, stderr } = request;
      const child = Bun.spawn([...argv], { argv0, env, stdio: ["ignore", "ignore", stderr], cwd: "/" });
      return { ...NOTHING, pid: child.pid };
    }
    case "run": {
      const { commands, overlay, cwd, stderr, env, beside } = request;
      // It may have left by itself; then the commands do without it.
      const there = beside !== undefined && existsSync(`/proc/${beside}`);
      const before = there ? processorTime(beside) : 0;
      const start = performance.now();
      let cpu = 0;
      if (overlay) mount("overlay", overlay.target, "overlay", 0, overlay.options);
      for (const argv of commands) {
        const child = Bun.spawnSync([...argv], { cwd, env, stdio: ["ignore", "ignore", stderr] });
        if (!child.success) throw new Error(`${argv.join(" ")}: ${child.signalCode ?? `status ${child.exitCode}`}`);
        cpu += Number(child.resourceUsage.cpuTime.total) / 1000;
      }
      if (overlay) unmount(overlay.target);
      const ms = performance.now() - start;
      if (there && existsSync(`/proc/${beside}`)) cpu += processorTime(beside) - before;
      return { ms, cpu };
    }
  }
}

addEventListener("message", ({ data }: MessageEvent<Request>) => {
  let reply: Reply;
  try {
    reply = { value: serve(data) };
  } catch (error) {
    reply = { error: error instanceof Error ? error.message : String(error) };
  }
  postMessage(reply);
});
