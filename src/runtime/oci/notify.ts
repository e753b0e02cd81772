import { chmodSync, existsSync, mkdirSync, read as readAsync } from "node:fs";
import { join } from "node:path";
import { SysError } from "../../base/errors.ts";
import { sys, trySys } from "../../linux/call.ts";
import * as k from "../../linux/constants.ts";
import { bytes, room, scratch } from "../../linux/ffi.ts";
import { close, openat } from "../../linux/file.ts";
import { POLLIN, poll } from "../../linux/poll.ts";
import { pipe } from "../../linux/process.ts";
import { sendWithDescriptor } from "../../linux/unix-socket.ts";
import type { Spec } from "../../spec/oci-runtime.ts";

/**
 * sd_notify(3) through the container's wall, as runc has it: the service manager's socket is not in the container, one
 * of ours is, and that it is ready goes on to the manager, with the pid that it is to watch.
 *
 *   container                    start, or run                        service manager
 *     | READY=1, /run/notify ---> |                                     |
 *     |                           | READY=1; MAINPID=…; BARRIER=1 ----> | NOTIFY_SOCKET
 */

/** In the state directory, and what is in it. */
const DIRECTORY = "notify";
const SOCKET = "notify.sock";
const INSIDE = "/run/notify";
const MAX_MESSAGE = 4096;
const BARRIER_MS = 30_000;

/** The config with the socket's directory and its name in the environment. Makes the directory. */
export function withNotify(spec: Spec, stateDirectory: string): Spec {
  const source = join(stateDirectory, DIRECTORY);
  mkdirSync(source, { mode: 0o755 });
  const mount = { destination: INSIDE, type: "bind", source, options: ["bind", "nosuid", "noexec", "nodev", "ro"] };
  const env = (spec.process!.env ?? []).filter((entry) => !entry.startsWith("NOTIFY_SOCKET="));
  return {
    ...spec,
    mounts: [...(spec.mounts ?? []), mount],
    process: { ...spec.process!, env: [...env, `NOTIFY_SOCKET=${INSIDE}/${SOCKET}`] },
  };
}

/** The container's socket, bound, and the way to the manager's. */
export class Notifications {
  readonly #socket: number;

  /** `manager` is the value of NOTIFY_SOCKET. */
  constructor(
    stateDirectory: string,
    readonly manager: string,
  ) {
    const directory = openat(k.AT_FDCWD, join(stateDirectory, DIRECTORY), k.O_PATH | k.O_DIRECTORY);
    try {
      // However long the directory's name is, this one fits into a socket's address.
      const path = `/proc/self/fd/${directory}/${SOCKET}`;
      this.#socket = datagramSocket();
      withAddress(path, (address, length) => sys("bind", SOCKET, this.#socket, address, length));
      chmodSync(path, 0o777);
    } finally {
      close(directory);
    }
  }

  close(): void {
    close(this.#socket);
  }

  /** Blocks until the container says that it is ready, or the process of `pidfd` has ended. */
  waitReady(pidfd: number, mainPid: number): void {
    const buffer = Buffer.alloc(MAX_MESSAGE);
    while (pollBoth(this.#socket, pidfd)) {
      const size = scratch(() => {
        const { address, view } = room(MAX_MESSAGE);
        const n = trySys("recvfrom", this.#socket, address, MAX_MESSAGE, MSG_DONTWAIT, 0, 0);
        if (n > 0) view.copy(buffer, 0, 0, n);
        return n;
      });
      const ready = readyLine(buffer.subarray(0, Math.max(size, 0)));
      if (ready === undefined) continue;
      this.#tell(ready, mainPid);
      return;
    }
  }

  /** As long as this process lives, beside its event loop. */
  async forward(mainPid: number): Promise<void> {
    for (let first = true; ; ) {
      const ready = readyLine(await receive(this.#socket));
      if (ready === undefined) continue;
      this.#tell(ready, first ? mainPid : undefined);
      first = false;
    }
  }

  #tell(ready: string, mainPid: number | undefined): void {
    const socket = datagramSocket();
    try {
      withAddress(this.manager, (address, length) => sys("connect", this.manager, socket, address, length));
      const send = (line: string) =>
        scratch(() => sys("sendto", this.manager, socket, bytes(Buffer.from(line)), Buffer.byteLength(line), 0, 0, 0));
      send(`${ready}\n`);
      if (mainPid !== undefined) send(`MAINPID=${mainPid}\n`);
      barrier(socket);
    } finally {
      close(socket);
    }
  }
}

/** For a container that was created with such a socket; undefined for another. */
export function openNotifications(stateDirectory: string, manager: string): Notifications | undefined {
  return existsSync(join(stateDirectory, DIRECTORY)) ? new Notifications(stateDirectory, manager) : undefined;
}

const MSG_DONTWAIT = 0x40;

function readyLine(message: Buffer): string | undefined {
  return message
    .toString("utf8")
    .split("\n")
    .find((line) => line.startsWith("READY="));
}

function receive(socket: number): Promise<Buffer> {
  const buffer = Buffer.alloc(MAX_MESSAGE);
  return new Promise((resolve, reject) =>
    readAsync(socket, buffer, 0, buffer.length, null, (error, n) =>
      error ? reject(error) : resolve(buffer.subarray(0, n)),
    ),
  );
}

/** Waits until the manager has read what came before: it then closes the pipe (sd_notify_barrier(3)). */
function barrier(socket: number): void {
  const [near, far] = pipe();
  try {
    sendWithDescriptor(socket, Buffer.from("BARRIER=1"), far);
    close(far);
    poll([[near, POLLIN]], BARRIER_MS);
  } finally {
    close(near);
  }
}

const datagramSocket = () => sys("socket", "AF_UNIX", k.AF_UNIX, k.SOCK_DGRAM | k.SOCK_CLOEXEC, 0);

/** struct sockaddr_un (unix(7)); `@` begins an abstract name. */
function withAddress(path: string, use: (address: number, length: number) => void): void {
  const name = Buffer.from(path);
  if (name.length > 107) throw new SysError("address", path, 36, "a socket's path has at most 107 bytes");
  const abstract = name[0] === 0x40;
  scratch(() => {
    const { address, view } = room(110);
    view.writeUInt16LE(k.AF_UNIX, 0);
    view.set(name, 2);
    if (abstract) view[2] = 0;
    use(address, 2 + name.length + (abstract ? 0 : 1));
  });
}

/** False when the process of `pidfd` has ended and nothing waits in the socket. */
function pollBoth(socket: number, pidfd: number): boolean {
  const [message] = poll(
    [
      [socket, POLLIN],
      [pidfd, POLLIN],
    ],
    -1,
  );
  return message !== 0;
}
