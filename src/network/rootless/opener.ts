import * as k from "../../linux/constants.ts";
import { close } from "../../linux/file.ts";
import { raise, sealedExecutable, socketpair, spawn } from "../../linux/process.ts";
import { encode } from "../../program/elf.ts";
import { MACHINE } from "../../program/machine.ts";
import { Builder, FD } from "../../runtime/builder.ts";
import { sendDescriptor } from "../../runtime/terminal.ts";
import { AF } from "../address.ts";

const SOCK_SEQPACKET = 5;
const SOCK_STREAM = 1;
const SOCK_DGRAM = 2;

/** What is asked for, by the size of the message: a message has no other content. */
export const ASKS = [
  { size: 1, family: 4, type: SOCK_STREAM },
  { size: 2, family: 4, type: SOCK_DGRAM },
  { size: 3, family: 6, type: SOCK_STREAM },
  { size: 4, family: 6, type: SOCK_DGRAM },
] as const;

const CONNECTION = FD.free;

/**
 * Starts the process that stays in the machine's network namespace when a plain user's engine leaves it, and gives it
 * sockets from there, unbound: ports of the machine are bound by them, with the rights that the user has there. It is 16 KB
 * of memory, and ends with its connection. It is our child; the caller closes `fd`, which is CLOEXEC.
 */
export function startOpener(): { fd: number; pid: number } {
  const [ours, theirs] = socketpair(SOCK_SEQPACKET).map(raise) as [number, number];
  const executable = sealedExecutable("inro-sockets", encode(openerProgram(), MACHINE));
  try {
    const fds = [
      [theirs, FD.report],
      [theirs, CONNECTION],
    ] as const;
    return { fd: ours, pid: spawn({ path: `/proc/self/fd/${executable}`, argv: ["inro-sockets"], fds }) };
  } finally {
    close(theirs);
    close(executable);
  }
}

function openerProgram(): Builder {
  const p = new Builder();
  const message = p.room(8, "message");
  const [next, over] = [p.label("next"), p.label("over")];
  p.call("sockets", "prctl", [k.PR_SET_NAME, p.text("inro-sockets"), 0, 0, 0]);
  p.call("sockets", "close", [FD.report]);
  p.place(next);
  const size = p.slot("size");
  p.call("what is asked for", "recvfrom", [CONNECTION, message, 8, 0, 0, 0], { into: size, ignore: "all" });
  p.branch("the engine has gone", size, "at most", 0, over);
  for (const ask of ASKS) {
    const other = p.label("another");
    const [socket, sent] = [p.slot("socket"), p.label("sent")];
    const asked = p.label("asked");
    p.branch("this?", size, "equal", ask.size, asked);
    // The only jump is a conditional one.
    p.branch("or another", size, "at most", 0xffff, other);
    p.place(asked);
    p.call("socket", "socket", [AF[ask.family], ask.type | k.SOCK_CLOEXEC, 0], { into: socket, ignore: "all" });
    p.branch("there is none", socket, "at most", -1, over);
    sendDescriptor(p, "socket", CONNECTION, socket);
    p.call("socket", "close", [socket]);
    p.place(sent);
    p.branch("the next", size, "at most", 0xffff, next);
    p.place(other);
  }
  p.branch("the next", size, "at most", 0xffff, next);
  p.place(over);
  p.exit("no further", p.room(8, "0"));
  return p;
}
