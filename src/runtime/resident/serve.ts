import { chmodSync, lstatSync, mkdirSync, renameSync, rmdirSync, rmSync, writeFileSync } from "node:fs";
import { dirname, join } from "node:path";
import { forbidden, messageOf } from "../../base/errors.ts";
import { detectHierarchy } from "../../cgroups/hierarchy.ts";
import { close } from "../../linux/file.ts";
import { Readiness } from "../../linux/readiness.ts";
import { hasCapability } from "../../linux/rights.ts";
import { accept, isListening, listenPackets } from "../../linux/seqpacket.ts";
import { main } from "../cli.ts";
import { Declined } from "../oci/behalf.ts";
import { complain } from "../oci/log.ts";
import { Identity } from "./call.ts";
import { Hands } from "./hands.ts";
import { Turn } from "./turn.ts";

const IDLE_MS = 60_000;
const BACKLOG = 64;
const MOST = 1024;
const CAP_SYS_PTRACE = 19;

/**
 * The resident: does the calls of fronts (program/front.ts) in one process that is warm, until nobody has called for a
 * minute. What may wait long or is rare it leaves to them ({@link Declined}), and whoever sees another machine, has
 * other rights or is of another build too. Only root may reach it, and it serves root alone.
 */
export async function serveResident(socket: string, idle = IDLE_MS): Promise<number> {
  // What a front has open is taken with it.
  if (!hasCapability(CAP_SYS_PTRACE)) return 1;
  const identity = new Identity();
  leaveCgroups();
  const listener = listen(socket);
  if (listener === undefined) return 0;
  const mine = lstatSync(socket).ino;
  const readiness = new Readiness(MOST);
  const hands = new Hands();
  let calls = 0;
  let last = performance.now();
  const serve = async (connection: number) => {
    const call = identity.read(connection);
    if (!call) return close(connection);
    calls++;
    await hands.take();
    const turn = new Turn(call, connection, hands, readiness);
    let code: number | undefined;
    try {
      turn.enter();
      code = await main(call.argv);
    } catch (error) {
      // What was not begun, its front does.
      if (turn.taken) code = 1;
      if (!(error instanceof Declined) && turn.taken) complain(`inro-runtime: ${messageOf(error)}\n`);
    } finally {
      turn.leave();
      turn.end(code);
      calls--;
      last = performance.now();
    }
  };
  const over = Promise.withResolvers<void>();
  const look = () => {
    for (let connection = accept(listener); connection !== undefined; connection = accept(listener)) {
      void serve(connection);
    }
    readiness.wait(listener, look);
  };
  look();
  const timer = setInterval(
    () => {
      if (calls > 0 || (performance.now() - last < idle && identity.current)) return;
      clearInterval(timer);
      over.resolve();
    },
    Math.min(idle, 1000),
  );
  await over.promise;
  // Whoever connects from here on is refused by the kernel, and does it alone.
  if (lstatSync(socket, { throwIfNoEntry: false })?.ino === mine) rmSync(socket);
  close(listener);
  try {
    rmdirSync(dirname(socket));
  } catch {
    // Another one is there.
  }
  return 0;
}

/** Whoever called first may want to remove its cgroup (a caller of podman's does, a minute before this ends). */
function leaveCgroups(): void {
  const { unified, controllers } = detectHierarchy();
  for (const root of new Set([...controllers.values(), ...(unified === undefined ? [] : [unified])])) {
    try {
      writeFileSync(join(root, "cgroup.procs"), "0");
    } catch {
      // One with controllers has no processes (cgroup-v2.rst, "No Internal Process Constraint").
    }
  }
}

/** Undefined where another one is there. */
function listen(socket: string): number | undefined {
  const directory = dirname(socket);
  mkdirSync(directory, { recursive: true, mode: 0o700 });
  const { uid, mode } = lstatSync(directory);
  if (uid !== process.geteuid?.()) throw forbidden(`${directory} belongs to somebody else (uid ${uid})`);
  if ((mode & 0o077) !== 0) chmodSync(directory, 0o700);
  if (lstatSync(socket, { throwIfNoEntry: false }) && isListening(socket)) return undefined;
  const temporary = `${socket}.${process.pid}`;
  const listener = listenPackets(temporary, BACKLOG);
  renameSync(temporary, socket);
  return listener;
}
