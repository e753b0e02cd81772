import { writeSync } from "node:fs";
import { codeOf, invalid } from "../../base/errors.ts";
import type { Log } from "./log.ts";
import type { Flags, Parsed } from "./options.ts";

/** What the global flags come to. */
export interface Globals {
  root: string;
  /** `--root` was given, so it must exist. */
  rootGiven: boolean;
  /** `--rootless`; undefined is auto. */
  rootless: boolean | undefined;
  /** `--systemd-cgroup`. */
  systemd: boolean;
  log: Log;
  warn(message: string): void;
}

export interface Command {
  usage: string;
  flags: Flags;
  /** How many arguments, from and to. */
  args: readonly [min: number, max: number];
  /** Flags end at the first argument: what follows is another program's. */
  stopEarly?: boolean;
  /** A resident may do it: it takes a moment, and prints nothing. */
  brief?: boolean;
  run(globals: Globals, parsed: Parsed): Promise<number>;
}

const CREATE: Flags = {
  "bundle,b": "text",
  "console-socket": "text",
  "pidfd-socket": "text",
  "pid-file": "text",
  "no-pivot": "bool",
  "no-new-keyring": "bool",
  "preserve-fds": "count",
};

const UPDATE: Flags = {
  "resources,r": "text",
  "blkio-weight": "text",
  "cpu-period": "text",
  "cpu-quota": "text",
  "cpu-burst": "text",
  "cpu-rt-period": "text",
  "cpu-rt-runtime": "text",
  "cpu-share": "text",
  "cpu-idle": "text",
  "cpuset-cpus": "text",
  "cpuset-mems": "text",
  memory: "text",
  "memory-reservation": "text",
  "memory-swap": "text",
  "kernel-memory": "text",
  "kernel-memory-tcp": "text",
  "pids-limit": "text",
  "l3-cache-schema": "text",
  "mem-bw-schema": "text",
};

async function create(globals: Globals, parsed: Parsed, how: { fifo: boolean; wait: boolean }) {
  const env = process.env;
  const listen = env.LISTEN_FDS ? (await import("./listen-fds.ts")).listenFds(env, process.pid) : undefined;
  const { createContainer } = await import("./create.ts");
  return await createContainer(
    {
      root: globals.root,
      id: parsed.rest[0]!,
      bundle: parsed.texts.get("bundle") ?? process.cwd(),
      consoleSocket: parsed.texts.get("console-socket"),
      pidFile: parsed.texts.get("pid-file"),
      noPivot: parsed.bools.has("no-pivot"),
      noNewKeyring: parsed.bools.has("no-new-keyring"),
      pidfdSocket: parsed.texts.get("pidfd-socket"),
      preserve: Number(parsed.texts.get("preserve-fds") ?? 0),
      listen,
      notifySocket: env.NOTIFY_SOCKET || undefined,
      rootless: globals.rootless,
      systemd: globals.systemd,
      warn: globals.warn,
    },
    how,
  );
}

/** What both have of CRIU's options (runc-checkpoint(8), runc-restore(8)). */
const CRIU: Flags = {
  "image-path": "text",
  "work-path": "text",
  "tcp-established": "bool",
  "ext-unix-sk": "bool",
  "shell-job": "bool",
  "file-locks": "bool",
  "lazy-pages": "bool",
  "auto-dedup": "bool",
  "manage-cgroups-mode": "text",
  "empty-ns": "list",
};

const CHECKPOINT: Flags = {
  ...CRIU,
  "parent-path": "text",
  "leave-running": "bool",
  "tcp-skip-in-flight": "bool",
  "link-remap": "bool",
  "status-fd": "count",
  "page-server": "text",
  "pre-dump": "bool",
};

const RESTORE: Flags = {
  ...CRIU,
  "bundle,b": "text",
  "console-socket": "text",
  "detach,d": "bool",
  "pid-file": "text",
  "no-subreaper": "bool",
  "no-pivot": "bool",
  "lsm-profile": "text",
  "lsm-mount-context": "text",
};

/** runc's commands, each loaded when it is called. */
export const COMMANDS: Readonly<Record<string, Command>> = {
  create: {
    usage: "create [--bundle DIR] [--console-socket PATH] [--pid-file PATH] ID",
    brief: true,
    flags: CREATE,
    args: [1, 1],
    async run(globals, parsed) {
      await create(globals, parsed, { fifo: true, wait: false });
      return 0;
    },
  },
  start: {
    usage: "start ID",
    brief: true,
    flags: {},
    args: [1, 1],
    async run(globals, parsed) {
      const { startContainer } = await import("./start.ts");
      const { StateDirectory } = await import("./state.ts");
      const directory = new StateDirectory(globals.root, parsed.rest[0]!);
      const state = directory.read();
      const spec = directory.readConfig();
      const { begin } = await import("./behalf.ts");
      begin(!spec.hooks && !process.env.NOTIFY_SOCKET);
      const notify = process.env.NOTIFY_SOCKET ? await import("./notify.ts") : undefined;
      const notifications = notify?.openNotifications(directory.path, process.env.NOTIFY_SOCKET!);
      await startContainer(directory, state, spec, async () => {
        const { destroy } = await import("./delete.ts");
        const { openCgroup } = await import("./cgroup.ts");
        await destroy(directory, state, openCgroup(state.cgroup), spec, globals.warn);
      });
      if (notifications) (await import("./run.ts")).waitUntilReady(notifications, state, globals.warn);
      return 0;
    },
  },
  run: {
    usage: "run [--bundle DIR] [--detach] [--console-socket PATH] [--pid-file PATH] ID",
    brief: true,
    flags: { ...CREATE, "detach,d": "bool", "no-subreaper": "bool", keep: "bool" },
    args: [1, 1],
    async run(globals, parsed) {
      const detach = parsed.bools.has("detach");
      const created = await create(globals, parsed, { fifo: false, wait: !detach });
      const { runContainer } = await import("./run.ts");
      return await runContainer(created, { detach, keep: parsed.bools.has("keep"), warn: globals.warn });
    },
  },
  exec: {
    usage: "exec [--process FILE] [--detach] [--tty] [--user UID[:GID]] ID COMMAND [ARG...]",
    flags: {
      "console-socket": "text",
      "pidfd-socket": "text",
      cwd: "text",
      "env,e": "list",
      "tty,t": "bool",
      "user,u": "text",
      "additional-gids,g": "list",
      "process,p": "text",
      "detach,d": "bool",
      "pid-file": "text",
      "process-label": "text",
      apparmor: "text",
      "no-new-privs": "bool",
      "cap,c": "list",
      "preserve-fds": "count",
      cgroup: "list",
      "ignore-paused": "bool",
    },
    args: [1, Number.POSITIVE_INFINITY],
    stopEarly: true,
    brief: true,
    async run(globals, parsed) {
      const { execContainer } = await import("./exec.ts");
      return await execContainer(globals, parsed, Number(parsed.texts.get("preserve-fds") ?? 0));
    },
  },
  kill: {
    usage: "kill [--all] ID [SIGNAL]",
    brief: true,
    flags: { "all,a": "bool" },
    args: [1, 2],
    async run(globals, parsed) {
      const { killContainer } = await import("./kill.ts");
      await killContainer(globals.root, parsed.rest[0]!, parsed.rest[1] ?? "SIGTERM", parsed.bools.has("all"));
      return 0;
    },
  },
  delete: {
    usage: "delete [--force] ID",
    brief: true,
    flags: { "force,f": "bool" },
    args: [1, 1],
    async run(globals, parsed) {
      const { deleteContainer } = await import("./delete.ts");
      await deleteContainer(globals.root, parsed.rest[0]!, parsed.bools.has("force"), globals.warn);
      return 0;
    },
  },
  state: {
    usage: "state ID",
    flags: {},
    args: [1, 1],
    async run(globals, parsed) {
      const { describe } = await import("./list.ts");
      print(`${JSON.stringify(describe(globals.root, parsed.rest[0]!), undefined, 2)}\n`);
      return 0;
    },
  },
  list: {
    usage: "list [--format table|json] [--quiet]",
    flags: { "format,f": "text", "quiet,q": "bool" },
    args: [0, 0],
    async run(globals, parsed) {
      const { list } = await import("./list.ts");
      print(list(globals, formatOf(parsed), parsed.bools.has("quiet")));
      return 0;
    },
  },
  ps: {
    usage: "ps [--format table|json] ID [PS-OPTION...]",
    flags: { "format,f": "text" },
    args: [1, Number.POSITIVE_INFINITY],
    stopEarly: true,
    async run(globals, parsed) {
      const { ps } = await import("./ps.ts");
      print(await ps(globals.root, parsed.rest[0]!, formatOf(parsed), parsed.rest.slice(1)));
      return 0;
    },
  },
  pause: {
    usage: "pause ID",
    flags: {},
    args: [1, 1],
    run: (globals, parsed) => freeze(globals, parsed, true),
  },
  resume: {
    usage: "resume ID",
    flags: {},
    args: [1, 1],
    run: (globals, parsed) => freeze(globals, parsed, false),
  },
  update: {
    usage: "update [--resources FILE|-] [--memory BYTES] [--cpu-quota US] [--pids-limit N] ... ID",
    flags: UPDATE,
    args: [1, 1],
    async run(globals, parsed) {
      const { updateContainer } = await import("./update.ts");
      await updateContainer(globals.root, parsed.rest[0]!, parsed.texts, globals.warn);
      return 0;
    },
  },
  events: {
    usage: "events [--interval DURATION] [--stats] ID",
    flags: { interval: "text", stats: "bool" },
    args: [1, 1],
    async run(globals, parsed) {
      const { events, parseDuration } = await import("./events.ts");
      events(
        globals.root,
        parsed.rest[0]!,
        parseDuration(parsed.texts.get("interval") ?? "5s"),
        parsed.bools.has("stats"),
      );
      return 0;
    },
  },
  checkpoint: {
    usage: "checkpoint [--image-path DIR] [--work-path DIR] [--leave-running] [--pre-dump] ... ID",
    flags: CHECKPOINT,
    args: [1, 1],
    async run(globals, parsed) {
      const { checkpointContainer } = await import("./criu/checkpoint.ts");
      await checkpointContainer(globals, parsed);
      return 0;
    },
  },
  restore: {
    usage: "restore [--bundle DIR] [--image-path DIR] [--work-path DIR] [--detach] ... ID",
    flags: RESTORE,
    args: [1, 1],
    async run(globals, parsed) {
      const { restoreContainer } = await import("./criu/restore.ts");
      const restored = await restoreContainer(globals, parsed);
      const { runContainer } = await import("./run.ts");
      return await runContainer(restored, { detach: parsed.bools.has("detach"), keep: false, warn: globals.warn });
    },
  },
  spec: {
    usage: "spec [--bundle DIR] [--rootless]",
    flags: { "bundle,b": "text", rootless: "bool" },
    args: [0, 0],
    async run(_globals, parsed) {
      const { writeSpec } = await import("./spec.ts");
      writeSpec(parsed.texts.get("bundle") ?? process.cwd(), parsed.bools.has("rootless"));
      return 0;
    },
  },
  features: {
    usage: "features",
    flags: {},
    args: [0, 0],
    async run() {
      const { features } = await import("./features.ts");
      print(`${JSON.stringify(features(), undefined, 2)}\n`);
      return 0;
    },
  },
};

function formatOf(parsed: Parsed): "table" | "json" {
  const format = parsed.texts.get("format") ?? "table";
  if (format !== "table" && format !== "json") throw invalid(`invalid format option: ${format}`);
  return format;
}

async function freeze(globals: Globals, parsed: Parsed, frozen: boolean): Promise<number> {
  const { setFrozen } = await import("./pause.ts");
  await setFrozen(globals.root, parsed.rest[0]!, frozen);
  return 0;
}

/** Not by process.stdout, which takes longer to set up than most commands run. */
export function print(text: string): void {
  const bytes = Buffer.from(text);
  for (let done = 0; done < bytes.length; ) {
    try {
      done += writeSync(1, bytes, done);
    } catch (error) {
      if (codeOf(error) !== "EAGAIN") throw error;
    }
  }
}
