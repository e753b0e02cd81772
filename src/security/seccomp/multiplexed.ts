import type { Comparison } from "./decisions.ts";

interface Multiplexer {
  by: "socketcall" | "ipc";
  when: readonly Comparison[];
}

// Call numbers of socketcall(2) and ipc(2) on i386 (linux/net.h, linux/ipc.h).
const SOCKETCALL = `socket 1 bind 2 connect 3 listen 4 accept 5 getsockname 6 getpeername 7 socketpair 8 send 9 recv 10
  sendto 11 recvfrom 12 shutdown 13 setsockopt 14 getsockopt 15 sendmsg 16 recvmsg 17 accept4 18 recvmmsg 19 sendmmsg 20`;
const IPC = `semop 1 semget 2 semctl 3 semtimedop 4 msgsnd 11 msgrcv 12 msgget 13 msgctl 14 shmat 21 shmdt 22 shmget 23
  shmctl 24`;

/**
 * i386 calls that also exist inside socketcall(2) or ipc(2): a rule on one of them must cover both doors, as with
 * libseccomp. `when` picks the call out by the multiplexer's first argument.
 */
export const MULTIPLEXED: ReadonlyMap<string, Multiplexer> = new Map([
  // The upper half of ipc's number is a version, which the kernel ignores for finding the call.
  ...entries("ipc", IPC, 0xffffn),
  ...entries("socketcall", SOCKETCALL, 0xffff_ffffn),
]);

function entries(by: Multiplexer["by"], table: string, mask: bigint): [string, Multiplexer][] {
  const words = table.split(/\s+/);
  return Array.from({ length: words.length / 2 }, (_, i) => {
    const valueTwo = BigInt(words[2 * i + 1]!);
    return [words[2 * i]!, { by, when: [{ index: 0, op: "SCMP_CMP_MASKED_EQ", value: mask, valueTwo }] }];
  });
}
