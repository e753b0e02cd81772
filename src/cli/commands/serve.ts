import { closeSync, writeSync } from "node:fs";
import { parseDuration } from "../../base/duration.ts";
import { type Command, ExitError } from "../command.ts";
import type { Flag } from "../flags.ts";
import { stderr } from "../output.ts";

/** Flags that are settings of the engine, by the setting's name in its configuration. */
const SETTING_FLAGS: Record<string, Flag> = {
  hosts: {
    name: "host",
    short: "H",
    type: "list",
    help: "Listen here: unix:///PATH, tcp://HOST:PORT, fd://; may repeat (default: the user's socket)",
  },
  group: { name: "group", short: "G", type: "string", help: "Group of the socket (default: inro, if there is one)" },
  "data-root": { name: "data-root", type: "string", help: "Where images and containers are kept" },
  "exec-root": { name: "exec-root", type: "string", help: "Where run-time files are kept" },
  tlsverify: {
    name: "tlsverify",
    type: "bool",
    help: "Serve TCP to clients with a certificate; there is no other way",
  },
  tlscacert: { name: "tlscacert", type: "string", value: "file", help: "Authority that signs clients' certificates" },
  tlscert: { name: "tlscert", type: "string", value: "file", help: "The engine's own certificate" },
  tlskey: { name: "tlskey", type: "string", value: "file", help: "Its key" },
  "access-log": { name: "access-log", type: "string", value: "file", help: "A line for every API call; - is stderr" },
  "access-log-format": {
    name: "access-log-format",
    type: "string",
    choices: ["text", "json"],
    help: "Form of its lines: text or json",
  },
  sockets: {
    name: "socket",
    type: "list",
    value: "path=…,allow=…",
    help: "A further socket with limited rights, see above; may repeat",
  },
  bridge: { name: "bridge", type: "string", choices: ["none"], help: "none: no default network; containers have none" },
  "log-driver": { name: "log-driver", type: "string", help: "Log of containers that ask for none (json-file)" },
  "log-opts": {
    name: "log-opt",
    type: "list",
    value: "key=value",
    help: "Its options, such as max-size=10m; may repeat",
  },
  ip: {
    name: "ip",
    type: "string",
    value: "address",
    default: "127.0.0.1",
    help: "Where ports are published that name no address; docker's is 0.0.0.0",
  },
  pidfile: { name: "pidfile", type: "string", value: "file", help: "Write the engine's process id here" },
  "min-api-version": {
    name: "min-api-version",
    type: "string",
    value: "version",
    help: "Oldest version of the API to serve (1.24)",
  },
  labels: { name: "label", type: "list", value: "key=value", help: "Label of the engine, shown by info; may repeat" },
  "default-ulimits": {
    name: "default-ulimit",
    type: "list",
    value: "name=soft[:hard]",
    help: "Limit of containers that do not set it; may repeat",
  },
  "default-shm-size": { name: "default-shm-size", type: "string", value: "bytes", help: "Size of /dev/shm (64m)" },
  "default-ipc-mode": {
    name: "default-ipc-mode",
    type: "string",
    choices: ["private", "shareable"],
    help: "IPC namespace of containers that do not say",
  },
  "default-cgroupns-mode": {
    name: "default-cgroupns-mode",
    type: "string",
    choices: ["private", "host"],
    help: "Cgroup namespace of containers that do not say",
  },
  "cgroup-parent": { name: "cgroup-parent", type: "string", help: "Cgroup below which containers' are made" },
  "no-new-privileges": { name: "no-new-privileges", type: "bool", help: "Containers gain no privileges by execve" },
  "seccomp-profile": { name: "seccomp-profile", type: "string", choices: ["builtin"], help: "builtin", hidden: true },
  init: { name: "init", type: "bool", help: "An init as the first process of containers" },
  "default-stop-timeout": {
    name: "default-stop-timeout",
    type: "int",
    value: "seconds",
    help: "Time between a stop signal and SIGKILL (10)",
  },
  "image-gc-max-size": {
    name: "image-gc-max-size",
    type: "string",
    value: "size",
    help: "Space of images; unused ones go when they take more",
  },
  "image-gc-max-age": {
    name: "image-gc-max-age",
    type: "string",
    value: "duration",
    help: "Images go that no container has had for so long",
  },
  "storage-driver": {
    name: "storage-driver",
    type: "string",
    choices: ["overlay2", "erofs"],
    help: "How layers are kept: unpacked, or as tars (erofs where that works)",
  },
  "live-restore": {
    name: "live-restore",
    type: "bool",
    help: "Containers outlive the engine in any case",
    hidden: true,
  },
  "insecure-registries": {
    name: "insecure-registry",
    type: "list",
    value: "host[:port]",
    help: "Registry, or network of registries, to speak to without TLS; may repeat",
  },
  "registry-mirrors": {
    name: "registry-mirror",
    type: "list",
    value: "[host=]url",
    help: "Registry to ask before docker.io, or before that host; may repeat",
  },
  "registry-ca": {
    name: "registry-ca",
    type: "list",
    value: "[host=]file",
    help: "Authority (PEM) to trust for registries, or one of them; may repeat",
  },
  "registry-certs": {
    name: "registry-certs",
    type: "list",
    value: "directory",
    help: "In place of /etc/inro/certs.d and /etc/docker/certs.d; may repeat",
  },
  "signature-policy": {
    name: "signature-policy",
    type: "string",
    value: "file",
    help: "Which images may be pulled, and whose signatures they need (containers-policy.json)",
  },
};

export const command: Command = {
  usage: "[OPTIONS]",
  args: [0, 0],
  flags: [
    ...Object.values(SETTING_FLAGS),
    { name: "config-file", type: "string", value: "file", help: "Settings (default: /etc/inro/daemon.json)" },
    { name: "validate", type: "bool", help: "Only check the settings" },
    { name: "idle-timeout", type: "string", value: "duration", help: "Leave when idle for so long (10m); 0: never" },
  ],
  description: `Commands start an engine by themselves; this one runs in the foreground until SIGTERM or SIGINT.

The socket has mode 0660 and belongs to the group inro where there is one: its members are as good as root. TCP is
served with TLS to clients with a certificate of --tlscacert, and not at all without.

Settings may stand in a JSON file too, under the names of docker's daemon.json (hosts, group, labels, log-driver,
registry-mirrors, default-ulimits, …); there "sockets" is a list of objects with the keys below. One that stands in both
places is refused, as is one that does not exist. A registry's certificates and mirrors may stand in certs.d/HOST[:PORT]/
as well, with *.crt, *.cert and *.key as docker has them, and containerd's hosts.toml. SIGHUP reads the file anew: labels, registries, defaults of containers
and rights of sockets change, the rest takes a restart. It reopens the access log too, which is rotated by renaming.

A --socket is a further socket whose clients may do what it says, and nothing else: give it to a container, a CI job or
a monitor in place of the engine's own. Its keys, of which those with "…" may be repeated:
  path=FILE           where it is
  group=GROUP         who may connect
  allow=WHAT…         read-only, containers, exec, files, images, volumes, networks, prune, all, or a route of the API
                      such as "POST /containers/{id}/restart"; builds and the engine's upkeep are never there
  label=KEY[=VALUE]   only what carries the label is there; it is put on everything that is made
  image=PATTERN…      only these images: alpine, registry.example/team/*:stable; "host" must be named
  mount=DIR…          directories below which containers may mount
  capability=NAME…    capabilities beyond the default ones
  device=PATH…  namespace=NAME…  privileged  unconfined  ports
                      devices and namespaces of the host, --privileged, any --security-opt, published ports
  memory=BYTES  cpus=N  pids=N
                      the most that one container gets`,
  examples: [
    ["inro serve", "On the usual socket"],
    ["inro serve -H unix:///tmp/i/inro.sock --data-root /tmp/i/data --exec-root /tmp/i/run", "Apart from any other"],
    ["inro serve --log-driver local --log-opt max-size=50m", "With compressed logs"],
    [
      "inro serve -H tcp://0.0.0.0:2376 --tlscacert ca.pem --tlscert cert.pem --tlskey key.pem",
      "For other machines, with certificates on both sides",
    ],
    [
      "inro serve --socket path=/run/ci.sock,allow=containers,allow=exec,allow=images,label=ci,image=node,memory=2g",
      "For a CI runner, which sees its own containers only",
    ],
  ],
  async run({ options, doors }) {
    const idle = options.has("idle-timeout") ? idleSeconds(options.string("idle-timeout")) : undefined;
    const given = Object.entries(SETTING_FLAGS).filter(([, flag]) => options.has(flag.name));
    const validate = options.bool("validate");
    await doors.serve({
      ...(options.has("config-file") ? { configFile: options.string("config-file") } : {}),
      ...(validate ? { validate } : {}),
      settings: Object.fromEntries(given.map(([key, flag]) => [key, options.value(flag.name)])),
      ...(idle ? { idleTimeout: idle } : {}),
      ready: tellReady,
    });
    if (validate) await stderr.line("configuration OK");
    return 0;
  },
};

function idleSeconds(text: string): number {
  const seconds = /^\d+$/.test(text) ? Number(text) : parseDuration(text);
  if (seconds === undefined || seconds < 0) throw new ExitError(125, `invalid --idle-timeout ${JSON.stringify(text)}`);
  return seconds;
}

/** Tells the command that started this engine, on the descriptor that it reads (client/autostart.ts). */
function tellReady(): void {
  const fd = Number(process.env.INRO_READY_FD);
  if (!Number.isInteger(fd) || fd < 3) return;
  try {
    writeSync(fd, "ready\n");
    closeSync(fd);
  } catch {
    // It does not wait any more.
  }
}
