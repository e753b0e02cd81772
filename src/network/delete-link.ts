import * as k from "../linux/constants.ts";
import { close } from "../linux/file.ts";
import { encodeMessage, NLM_F_REQUEST } from "../linux/netlink/message.ts";
import { encodeLink, RTM_DELLINK } from "../linux/netlink/route.ts";
import { pipe, raise, reap, sealedExecutable, spawn } from "../linux/process.ts";
import { encode } from "../program/elf.ts";
import { Program } from "../program/ir.ts";
import { MACHINE } from "../program/machine.ts";

const REPORT = 3;
const NAMESPACE = 4;
const AF_NETLINK = 16;
const SOCK_RAW = 3;

/**
 * Deletes a link, in the network namespace that a descriptor is open on, or in our own. The kernel takes some 30 ms for
 * it, in which the one who asks can do nothing else: a process of three system calls asks. Whether it went is for the
 * caller to see; one that is not there is fine.
 */
export async function deleteLinkAside(index: number, namespace?: number): Promise<void> {
  const [report, far] = pipe();
  const open = [raise(far)];
  let pid: number | undefined;
  try {
    const executable = sealedExecutable("inro-unlink", encode(program(index, namespace !== undefined), MACHINE));
    open.push(executable);
    pid = spawn({
      path: `/proc/self/fd/${executable}`,
      argv: ["inro-unlink"],
      fds: [[open[0]!, REPORT], ...(namespace === undefined ? [] : [[namespace, NAMESPACE] as const])],
    });
    for (const fd of open.splice(0)) close(fd);
    for await (const _ of Bun.file(report).stream());
  } finally {
    for (const fd of open) close(fd);
    close(report);
    if (pid !== undefined) reap(pid, 0);
  }
}

function program(index: number, elsewhere: boolean): Program {
  const p = new Program(REPORT);
  const why = "RTM_DELLINK";
  if (elsewhere) p.call(why, "setns", [NAMESPACE, k.CLONE_NEWNET]);
  const socket = p.slot("socket");
  p.call(why, "socket", [AF_NETLINK, SOCK_RAW | k.SOCK_CLOEXEC, 0], { into: socket });
  const message = encodeMessage({
    type: RTM_DELLINK,
    flags: NLM_F_REQUEST,
    sequence: 1,
    payload: encodeLink({ index }),
  });
  // To the kernel, as with every netlink socket that nobody has connected.
  p.call(why, "write", [socket, p.bytes(message, "RTM_DELLINK"), message.length]);
  p.exit(why, p.room(8, "0"));
  return p;
}
