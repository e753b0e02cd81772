import { headersSize, PF_R, PF_X, PT_LOAD, STACK, writeHeaders } from "./elf-header.ts";
import { newCode } from "./front-code.ts";
import type { Machine } from "./layout.ts";

/**
 * The front of a resident program: a static executable of some 1 KB that hands its call to the resident, and stands for
 * it to whoever waits for the call. Where no resident takes it, it becomes the program itself, which lies beside it
 * under the name `inro`, with all that the call brought.
 *
 *     front                                resident
 *       | connect ------------------------> |
 *       | <---------------- taken: 1 byte - | who it is, and what is asked, the kernel tells
 *       | go: 1 byte ---------------------> |
 *       | <------- status: 4 bytes -------- | the call is over: exit
 *       | <-- 5 bytes, and a descriptor --- | becomes that program, connection and all
 *
 * A resident that is busy elsewhere takes the call late or never: then it is done without it, and no `go` was said.
 */
export interface FrontOptions {
  /** Where the resident listens (AF_UNIX, SOCK_SEQPACKET); only those may make it whom the front's user trusts. */
  socket: string;
  /** argv[0] of the program where nobody listens, and where the call was not taken. */
  absent: string;
  refused: string;
}

/** The connection's number in the front, and in what it becomes. */
export const FRONT_FD = 950;
/** What a message is, by its size in bytes; the wait for {@link TAKEN} has an end. */
export const TAKEN = 1;
export const STATUS = 4;
export const BECOME = 5;

const PATIENCE_US = 250_000;
const ADDRESS = 0x40_0000;
const PAGE = 65536;
const LOST = "inro-runtime: its resident has ended in the middle of the call\n";

const AF_UNIX = 1;
const SOCK_SEQPACKET = 5;
const SOL_SOCKET = 1;
const SO_RCVTIMEO = 20;
const SO_SNDTIMEO = 21;
const MSG_NOSIGNAL = 0x4000;
const MSG_CMSG_CLOEXEC = 0x4000_0000;
const AT_EMPTY_PATH = 0x1000;
const EINTR = 4;

/** Scratch: a message, struct msghdr with its iovec and control data (recvmsg(2), cmsg(3)), a path. */
const MESSAGE = 0;
const HEADER = 16;
const IOVEC = 80;
const CONTROL = 96;
const PATH = 128;
const PATH_SIZE = 4096;
const CONTROL_SIZE = 24;
/** Of struct cmsghdr. */
const CMSG_HEADER = 16;

/** The whole executable file. */
export function front(machine: Machine, options: FrontOptions): Uint8Array {
  const codeAt = headersSize(2);
  const texts: Uint8Array[] = [];
  let end = Math.ceil((codeAt + code(machine, options, () => 0).length) / 8) * 8;
  const textsAt = end;
  const place = (bytes: Uint8Array) => {
    texts.push(bytes);
    end += bytes.length;
    return ADDRESS + end - bytes.length;
  };
  const finished = code(machine, options, place);
  const file = Buffer.alloc(end);
  writeHeaders(file, {
    machine,
    entry: ADDRESS + codeAt,
    page: PAGE,
    segments: [{ type: PT_LOAD, flags: PF_R | PF_X, offset: 0, address: ADDRESS, size: end }, STACK],
  });
  file.set(finished, codeAt);
  file.set(Buffer.concat(texts), textsAt);
  return file;
}

/** `place` answers where bytes will lie; the code's length does not depend on it. */
function code(machine: Machine, options: FrontOptions, place: (bytes: Uint8Array) => number): Uint8Array {
  const text = (value: string) => place(Buffer.from(`${value}\0`));
  const address = Buffer.concat([Buffer.from([AF_UNIX, 0]), Buffer.from(`${options.socket}\0`)]);
  const time = place(new Uint8Array(new BigInt64Array([0n, BigInt(PATIENCE_US)]).buffer));
  const forever = place(new Uint8Array(16));
  const [absent, refused] = [text(options.absent), text(options.refused)];
  const c = newCode(machine);

  c.chooseName(absent);
  c.call("socket", AF_UNIX, SOCK_SEQPACKET, 0);
  c.whenNegative("alone");
  c.keep(MESSAGE);
  c.call("dup3", { load: MESSAGE }, FRONT_FD, 0);
  c.whenNegative("alone");
  c.call("close", { load: MESSAGE });
  // A full queue would hold connect(2) up.
  c.call("setsockopt", FRONT_FD, SOL_SOCKET, SO_SNDTIMEO, time, 16);
  c.call("setsockopt", FRONT_FD, SOL_SOCKET, SO_RCVTIMEO, time, 16);
  c.call("connect", FRONT_FD, place(address), address.length);
  c.unless(0, "alone");

  c.chooseName(refused);
  c.call("recvfrom", FRONT_FD, { scratch: MESSAGE }, 8, 0, 0, 0);
  c.unless(TAKEN, "alone");
  c.call("sendto", FRONT_FD, { scratch: MESSAGE }, 1, MSG_NOSIGNAL, 0, 0);
  c.unless(1, "alone");
  c.call("setsockopt", FRONT_FD, SOL_SOCKET, SO_RCVTIMEO, forever, 16);
  c.store(HEADER + 16, { scratch: IOVEC });
  c.store(HEADER + 24, 1);
  c.store(HEADER + 32, { scratch: CONTROL });
  c.store(HEADER + 40, CONTROL_SIZE);
  c.store(IOVEC, { scratch: MESSAGE });
  c.store(IOVEC + 8, 8);
  c.label("wait");
  c.call("recvmsg", FRONT_FD, { scratch: HEADER }, MSG_CMSG_CLOEXEC);
  c.when(-EINTR, "wait");
  c.when(STATUS, "status");
  c.unless(BECOME, "lost");
  c.call("execveat", { load: CONTROL + CMSG_HEADER }, text(""), "argv", "envp", AT_EMPTY_PATH);
  c.label("lost");
  c.call("write", 2, text(LOST), LOST.length);
  c.call("exit_group", 1);
  c.label("status");
  c.call("exit_group", { load: MESSAGE });

  c.label("alone");
  c.call("close", FRONT_FD);
  c.call("readlinkat", 0, text("/proc/self/exe"), { scratch: PATH }, PATH_SIZE);
  c.whenNegative("nowhere");
  c.renameLast(PATH, "inro");
  c.takeName();
  c.call("execve", { scratch: PATH }, "argv", "envp");
  c.label("nowhere");
  c.call("exit_group", 127);
  return c.finish();
}
