import { afterAll, expect, test } from "bun:test";
import { existsSync, mkdirSync, mkdtempSync, rmSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { close } from "../linux/file.ts";
import { POLLIN, poll } from "../linux/poll.ts";
import { memoryFile } from "../linux/process.ts";
import { accept, listenPackets, receivePacket, sendPacket } from "../linux/seqpacket.ts";
import { sendWithDescriptor } from "../linux/unix-socket.ts";
import { encode } from "./elf.ts";
import { BECOME, FRONT_FD, front, STATUS, TAKEN } from "./front.ts";
import { Data, Program } from "./ir.ts";

const dir = mkdtempSync(join(tmpdir(), "inro-front-"));
afterAll(() => rmSync(dir, { recursive: true }));
const QEMU = "/usr/bin/qemu-aarch64-static";

/** The next connection. */
function arrival(listener: number): number {
  expect(poll([[listener, POLLIN]], 10_000)).toEqual([POLLIN]);
  return accept(listener)!;
}

for (const machine of ["x86_64", "aarch64"] as const) {
  const native = machine === (process.arch === "arm64" ? "aarch64" : "x86_64");
  const runner = native ? [] : machine === "aarch64" && existsSync(QEMU) ? [QEMU] : undefined;
  const why = runner ? "" : ` (skipped: no ${QEMU})`;
  const home = join(dir, machine, "with space");
  const socket = join(dir, `${machine}.sock`);
  const file = join(home, "inro-runtime");
  const ready = () => {
    mkdirSync(home, { recursive: true });
    writeFileSync(file, front(machine, { socket, absent: "absent", refused: "refused" }), { mode: 0o755 });
    writeFileSync(join(home, "inro"), '#!/bin/sh\necho "$# $* $GIVEN"\nexit 3\n', { mode: 0o755 });
  };
  const call = (...args: string[]) =>
    Bun.spawn([...(runner ?? []), file, ...args], { env: { GIVEN: "kept" }, stdio: ["ignore", "pipe", "pipe"] });
  const result = async (child: ReturnType<typeof call>) => ({
    out: await new Response(child.stdout).text(),
    err: await new Response(child.stderr).text(),
    code: await child.exited,
  });
  /** The connection of a front that has been told that its call is taken, and has said go. */
  const taken = (listener: number) => {
    const connection = arrival(listener);
    expect(sendPacket(connection, Buffer.alloc(TAKEN))).toBe(true);
    expect(receivePacket(connection, 8, 10_000)).toHaveLength(1);
    return connection;
  };

  test.skipIf(!runner)(`${machine}: nobody listens: the program beside it, with all that was given${why}`, async () => {
    ready();
    expect(await result(call("a b", "", "c"))).toEqual({ out: "3 a b  c kept\n", err: "", code: 3 });
    rmSync(join(home, "inro"));
    expect((await result(call())).code).toBe(127);
  });

  test.skipIf(!runner)(`${machine}: what a resident answers${why}`, async () => {
    ready();
    const listener = listenPackets(socket, 8);
    try {
      // Taken, and over.
      let child = call("x");
      let connection = taken(listener);
      sendPacket(connection, new Uint8Array(new Uint32Array([42]).buffer).subarray(0, STATUS));
      close(connection);
      expect(await result(child)).toEqual({ out: "", err: "", code: 42 });

      // Taken, and lost.
      child = call("x");
      close(taken(listener));
      expect(await result(child)).toMatchObject({ out: "", err: expect.stringContaining("resident"), code: 1 });

      // Not taken: at once, and by one that says nothing.
      child = call("x");
      close(arrival(listener));
      expect(await result(child)).toEqual({ out: "1 x kept\n", err: "", code: 3 });
      expect(await result(call("y"))).toEqual({ out: "1 y kept\n", err: "", code: 3 });
      close(accept(listener)!);

      if (!native) return;
      // Becomes a program, which has the connection.
      const p = new Program(FRONT_FD);
      p.call("test", "write", [FRONT_FD, p.text("hello"), 5]);
      p.exit("test", new Data(new Uint8Array([0, 7, 0, 0]), "status 7"));
      const program = memoryFile("program", encode(p, machine));
      child = call("x");
      connection = taken(listener);
      sendWithDescriptor(connection, Buffer.alloc(BECOME), program);
      expect(receivePacket(connection, 8, 10_000)?.toString()).toBe("hello");
      expect((await result(child)).code).toBe(7);
      for (const fd of [program, connection]) close(fd);
    } finally {
      close(listener);
      rmSync(socket);
    }
  });
}
