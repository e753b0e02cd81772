import { COMMANDS } from "./commands.ts";

/** What a command is for, and how it is called. */
const ABOUT: Readonly<Record<string, readonly [about: string, ...examples: string[]]>> = {
  create: [
    "Makes a container from the bundle's config.json. Its process waits for `start`. The caller of create has to wait for\nthe process's end (wait(2)), as a subreaper.",
    "inro-runtime create --bundle /run/bundle --pid-file /run/pid web",
  ],
  start: ["Lets the process of a created container run its command.", "inro-runtime start web"],
  run: [
    "Makes a container and starts it. In the foreground it passes signals and terminal on, removes the container after its\nend, and has its exit status: the code, or 128 + the signal.",
    "inro-runtime spec && inro-runtime run test",
    "inro-runtime run --detach --bundle /run/bundle web",
  ],
  exec: [
    "Runs another process in a container. Exit status: the process's own; 255 if it could not be started.",
    "inro-runtime exec web ps ax",
    "inro-runtime exec --tty --user 1000:1000 --cwd /srv web sh",
    "inro-runtime exec --detach --process process.json --pid-file /run/exec.pid web",
  ],
  kill: [
    "Sends a signal, by name or number, to the container's process. Default: SIGTERM.",
    "inro-runtime kill web KILL",
  ],
  delete: ["Removes a container that has ended, or was never started.", "inro-runtime delete --force web"],
  state: ['Prints the state of a container as JSON (runtime.md, "State").', "inro-runtime state web"],
  list: ["Lists the containers below --root.", "inro-runtime list --format json"],
  ps: [
    "Lists the processes of a container, with options for ps(1).",
    "inro-runtime ps --format json web",
    "inro-runtime ps web -o pid,args",
  ],
  pause: ["Stops all processes of a container, by its cgroup.", "inro-runtime pause web"],
  resume: ["Lets the processes of a paused container go on.", "inro-runtime resume web"],
  update: [
    "Changes the limits of a container: those of a file as in linux.resources, or single ones. -1 is no limit.",
    "inro-runtime update --memory 512m --pids-limit 100 web",
    'echo \'{"cpu": {"quota": 50000}}\' | inro-runtime update --resources - web',
  ],
  events: [
    "Prints what a container uses as lines of JSON, and when it runs out of memory.",
    "inro-runtime events --stats web",
  ],
  checkpoint: [
    "Writes the state of a container's processes to files with CRIU, and ends them.",
    "inro-runtime checkpoint --image-path /var/tmp/image web",
  ],
  restore: [
    "Makes a container from the files of `checkpoint`.",
    "inro-runtime restore --bundle /run/bundle --image-path /var/tmp/image --detach web",
  ],
  spec: ["Writes a config.json to start from.", "inro-runtime spec --rootless"],
  features: ["Prints as JSON what this runtime knows (features.md).", "inro-runtime features"],
};

/** What a flag takes, and what it is for; of one command only with its name before a colon. */
const FLAGS: Readonly<Record<string, readonly [takes: string, text: string]>> = {
  bundle: ["DIR", "where config.json and the root file system are; default: here"],
  "console-socket": ["PATH", "socket that is sent the terminal's master; for a terminal without us in the foreground"],
  "pidfd-socket": ["PATH", "socket that is sent a pidfd of the process"],
  "pid-file": ["PATH", "file for the process's pid, written when it is there"],
  "no-pivot": ["", "no pivot_root(2): for a root file system in the initramfs only, since it is easier to leave"],
  "no-new-keyring": ["", "keep the caller's session keyring"],
  "preserve-fds": ["N", "pass N descriptors on, from 3, after those of LISTEN_FDS"],
  detach: ["", "return when the process runs"],
  "no-subreaper": ["", "for compatibility: there is no subreaper"],
  keep: ["", "do not remove the container after its end"],
  cwd: ["DIR", "working directory; default: the container's"],
  env: ["NAME=VALUE", "add to the environment; may be repeated"],
  tty: ["", "with a terminal"],
  user: ["UID[:GID]", "in numbers; default: the container's"],
  "additional-gids": ["GID", "another group, in numbers; may be repeated"],
  process: ["FILE", "the process as in config.json; what it leaves out is the container's"],
  "process-label": ["LABEL", "SELinux label of the process"],
  apparmor: ["PROFILE", "AppArmor profile of the process"],
  "no-new-privs": ["", "no privileges by execve(2)"],
  cap: ["CAP_NAME", "another capability; may be repeated"],
  "exec:cgroup": ["[CONTROLLER,...:]PATH", "cgroup below the container's; may be repeated"],
  "ignore-paused": ["", "in a paused container too: the process waits until it is resumed"],
  all: ["", "to every process of the container, ended or not"],
  force: ["", "end it first, if it runs; no error if there is none"],
  format: ["table|json", "default: table"],
  quiet: ["", "ids alone"],
  interval: ["DURATION", "between two figures; default: 5s"],
  stats: ["", "once, and return"],
  resources: ["FILE|-", "limits as JSON; other flags do not count then"],
  "blkio-weight": ["N", "share of disk time, 10 to 1000"],
  "cpu-period": ["US", "period of the quota"],
  "cpu-quota": ["US", "processor time in a period"],
  "cpu-burst": ["US", "what may be saved up of the quota"],
  "cpu-rt-period": ["US", "period of real-time scheduling"],
  "cpu-rt-runtime": ["US", "real-time scheduling in a period"],
  "cpu-share": ["N", "share of processor time, relative to others"],
  "cpu-idle": ["0|1", "processors only when nobody else wants them"],
  "cpuset-cpus": ["LIST", "processors, such as 0-3,7"],
  "cpuset-mems": ["LIST", "memory nodes"],
  memory: ["BYTES", "with k, m or g"],
  "memory-reservation": ["BYTES", "soft limit"],
  "memory-swap": ["BYTES", "memory and swap together"],
  "kernel-memory": ["BYTES", "for compatibility: without effect"],
  "kernel-memory-tcp": ["BYTES", "for compatibility: without effect"],
  "pids-limit": ["N", "processes and threads"],
  "l3-cache-schema": ["TEXT", "Intel RDT: share of the cache"],
  "mem-bw-schema": ["TEXT", "Intel RDT: memory bandwidth"],
  "spec:rootless": ["", "for a plain user, in a user namespace"],
  "image-path": ["DIR", "CRIU's files; default: ./checkpoint"],
  "work-path": ["DIR", "CRIU's logs; default: with the files"],
  "parent-path": ["DIR", "files of an earlier --pre-dump, relative to these"],
  "leave-running": ["", "do not end the container"],
  "tcp-established": ["", "with open TCP connections"],
  "tcp-skip-in-flight": ["", "without TCP connections that are not open yet"],
  "link-remap": ["", "with files that have been deleted but for a hard link"],
  "ext-unix-sk": ["", "with Unix sockets to outside"],
  "shell-job": ["", "with the terminal that it was started from"],
  "lazy-pages": ["", "memory comes later, by userfaultfd"],
  "status-fd": ["FD", "descriptor that is told when lazy pages can be served"],
  "page-server": ["ADDRESS:PORT", "where the memory goes"],
  "file-locks": ["", "with file locks"],
  "pre-dump": ["", "only memory, and the container runs on"],
  "manage-cgroups-mode": ["MODE", "soft, full, strict or ignore; default: soft"],
  "empty-ns": ["NAMESPACE", "make it, but restore nothing in it"],
  "auto-dedup": ["", "free what later files replace"],
  "lsm-profile": ["TYPE:LABEL", "another security label"],
  "lsm-mount-context": ["LABEL", "another SELinux context of mounts"],
  help: ["", "this text"],
};

const GLOBAL = `  --root DIR                 state of the containers; default: /run/inro-runtime, $XDG_RUNTIME_DIR/inro-runtime
  --log FILE                 where errors and warnings go, besides stderr
  --log-format text|json     default: text
  --debug                    log more
  --systemd-cgroup           cgroups by systemd: cgroupsPath is SLICE:PREFIX:NAME
  --rootless true|false|auto whether cgroups that a plain user may not make are left out; default: auto
  -v, --version              version of program and specification
  -h, --help                 this text
`;

/** All commands, and what is before them. */
export function generalHelp(): string {
  const lines = Object.entries(ABOUT).map(([name, [about]]) => `  ${name.padEnd(12)} ${firstSentence(about)}`);
  return `inro-runtime: OCI runtime with runc's command line

usage: inro-runtime [FLAG...] COMMAND [ARG...]

${lines.join("\n")}

flags:
${GLOBAL}
inro-runtime COMMAND --help says more of each.
`;
}

const firstSentence = (text: string) =>
  text
    .replaceAll("\n", " ")
    .replace(/(?<=[^.]\.) .*$/, "")
    .replace(/\.$/, "");

/** One command, with its flags and examples. The name is one of {@link COMMANDS}. */
export function commandHelp(name: string): string {
  const { usage, flags } = COMMANDS[name]!;
  const [about, ...examples] = ABOUT[name] ?? [""];
  const lines = [...Object.keys(flags), "help,h"].map((key) => {
    const [long = "", short] = key.split(",");
    const [takes, text] = describeFlag(name, long) ?? ["", ""];
    const spelled = `${short ? `-${short}, ` : ""}--${long}${takes ? ` ${takes}` : ""}`;
    return `  ${spelled.padEnd(32)} ${text}`;
  });
  return `${about}

usage: inro-runtime ${usage}

${lines.join("\n")}

examples:
${examples.map((example) => `  ${example}`).join("\n")}
`;
}

/** Undefined for a flag that nobody described. */
export function describeFlag(command: string, flag: string): readonly [takes: string, text: string] | undefined {
  return FLAGS[`${command}:${flag}`] ?? FLAGS[flag];
}

/** For the test that every command has one. */
export const isDescribed = (command: string) => (ABOUT[command]?.length ?? 0) > 1;
