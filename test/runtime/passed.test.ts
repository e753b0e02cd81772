import { afterAll, describe, expect, test } from "bun:test";
import { closeSync, existsSync, mkdirSync, openSync, readFileSync, writeFileSync } from "node:fs";
import { join } from "node:path";
import { sys, trySys } from "../../src/linux/call.ts";
import * as k from "../../src/linux/constants.ts";
import { room, scratch } from "../../src/linux/ffi.ts";
import { pidfdSendSignal } from "../../src/linux/process.ts";
import { cannotRun, eventually, Runtime } from "./bundle.ts";

const reason = cannotRun ? ` (skipped: ${cannotRun})` : "";

/** An AF_UNIX socket of ours at a path. */
class Receiver {
  readonly fd: number;
  constructor(path: string, type: number) {
    this.fd = sys("socket", path, k.AF_UNIX, type | k.SOCK_CLOEXEC, 0);
    scratch(() => {
      const { address, view } = room(110);
      view.writeUInt16LE(k.AF_UNIX, 0);
      view.write(path, 2);
      sys("bind", path, this.fd, address, 2 + path.length + 1);
    });
    if (type === k.SOCK_STREAM) sys("listen", path, this.fd, 1);
  }

  /** One message and the descriptor with it, if it is there. */
  receive(fd = this.fd): { text: string; fd: number | undefined } | undefined {
    return scratch(() => {
      const data = room(256);
      const iov = room(16);
      iov.view.writeBigUInt64LE(BigInt(data.address), 0);
      iov.view.writeBigUInt64LE(256n, 8);
      const control = room(24);
      const header = room(56);
      header.view.writeBigUInt64LE(BigInt(iov.address), 16);
      header.view.writeBigUInt64LE(1n, 24);
      header.view.writeBigUInt64LE(BigInt(control.address), 32);
      header.view.writeBigUInt64LE(24n, 40);
      const n = trySys("recvmsg", fd, header.address, 0x40 | 0x4000_0000);
      if (n < 0) return undefined;
      const received = control.view.readBigUInt64LE(0) > 0n ? control.view.readInt32LE(16) : undefined;
      return { text: data.view.toString("utf8", 0, n), fd: received };
    });
  }

  accept(): number {
    return sys("accept4", "", this.fd, 0, 0, k.SOCK_CLOEXEC);
  }
}

describe.skipIf(cannotRun !== undefined)(`what is passed to and from a container${reason}`, () => {
  const runtime = new Runtime();
  afterAll(() => runtime.close());

  test("--pidfd-socket: create, run and exec send the process's descriptor", async () => {
    const path = join(runtime.dir, "pidfd");
    const socket = new Receiver(path, k.SOCK_STREAM);
    const bundle = runtime.bundle("sleep 1000");
    const got = () => {
      const connection = socket.accept();
      const message = socket.receive(connection);
      closeSync(connection);
      const pid = Number(/^Pid:\t(-?\d+)$/m.exec(readFileSync(`/proc/self/fdinfo/${message?.fd}`, "utf8"))?.[1]);
      return { pid, fd: message!.fd! };
    };
    await runtime.ok("create", "-b", bundle, "--pidfd-socket", path, "pidfd");
    const created = got();
    expect(created.pid).toBe((await runtime.status("pidfd")).pid);
    closeSync(created.fd);
    const pidFile = join(runtime.dir, "pidfd-pid");
    await runtime.ok("exec", "-d", "--pid-file", pidFile, "--pidfd-socket", path, "pidfd", "sleep", "1000");
    const exec = got();
    expect(exec.pid).toBe(Number(readFileSync(pidFile, "utf8")));
    expect(pidfdSendSignal(exec.fd, 9)).toBe(true);
    closeSync(exec.fd);
    await runtime.ok("delete", "-f", "pidfd");
    await runtime.ok("run", "-d", "-b", bundle, "--pidfd-socket", path, "pidfd");
    const run = got();
    expect(run.pid).toBe((await runtime.status("pidfd")).pid);
    closeSync(run.fd);
    await runtime.ok("delete", "-f", "pidfd");
    closeSync(socket.fd);
    const { code, err } = await runtime.run(["create", "-b", bundle, "--pidfd-socket", `${path}-not`, "pidfd"]);
    expect({ code, err }).toEqual({ code: 1, err: expect.stringContaining(`connect ${path}-not: ENOENT`) });
    expect(existsSync(join(runtime.root, "pidfd"))).toBe(false);
  });

  test("LISTEN_FDS and --preserve-fds: in this order after stdio, and named", async () => {
    const script = 'echo "$LISTEN_FDS $LISTEN_PID $LISTEN_FDNAMES"; cat <&3; cat <&4; cat <&5; ls /proc/$$/fd; :';
    const bundle = runtime.bundle(script);
    const files = [1, 2, 3].map((n) => {
      const path = join(runtime.dir, `listen${n}`);
      writeFileSync(path, `file ${n}\n`);
      return openSync(path, "r");
    });
    const out = join(runtime.dir, "listen-out");
    const outFd = openSync(out, "w");
    const main = join(import.meta.dir, "../../src/main.ts");
    const command = `LISTEN_PID=$$ exec ${process.execPath} ${main} --root ${runtime.root} run -b ${bundle} --preserve-fds 1 listen`;
    const child = Bun.spawn(["sh", "-c", command], {
      stdio: ["ignore", outFd, "inherit", ...files] as never,
      env: { ...process.env, INRO_DOOR: "inro-runtime", LISTEN_FDS: "2", LISTEN_FDNAMES: "a:b" },
    });
    expect(await child.exited).toBe(0);
    for (const fd of [outFd, ...files]) closeSync(fd);
    expect(readFileSync(out, "utf8")).toBe("2 1 a:b\nfile 1\nfile 2\nfile 3\n0\n1\n2\n3\n4\n5\n");
    // Of another process they are none of ours.
    const other = runtime.bundle('echo "[$LISTEN_FDS]"; ls /proc/$$/fd; :');
    const env = { LISTEN_FDS: "2", LISTEN_PID: "1" };
    expect((await runtime.run(["run", "-b", other, "listen"], { env })).out).toBe("[]\n0\n1\n2\n");
  });

  test("300 binds and preserved descriptors keep out of each other's way", async () => {
    const count = 20;
    const names = Array.from({ length: 300 }, (_, i) => `/b/${i}`);
    const reads = Array.from({ length: count }, (_, i) => `cat <&${i + 3}`).join("; ");
    const bundle = runtime.bundle(`cat ${names.join(" ")} | busybox md5sum; ${reads}`, (s) => {
      for (const [i, destination] of names.entries()) {
        s.mounts?.push({ destination, type: "bind", source: join(runtime.dir, `source${i}`), options: ["bind", "ro"] });
      }
    });
    mkdirSync(join(bundle, "rootfs/b"));
    for (const [i, name] of names.entries()) {
      writeFileSync(join(runtime.dir, `source${i}`), `${i}\n`);
      writeFileSync(join(bundle, "rootfs", name), "");
    }
    const files = Array.from({ length: count }, (_, i) => {
      const path = join(runtime.dir, `kept${i}`);
      writeFileSync(path, `kept ${i}\n`);
      return openSync(path, "r");
    });
    const out = join(runtime.dir, "binds-out");
    const outFd = openSync(out, "w");
    const args = ["run", "--preserve-fds", String(count), "-b", bundle, "binds"];
    expect(await runtime.spawn(args, ["ignore", outFd, "inherit", ...files]).exited).toBe(0);
    for (const fd of [outFd, ...files]) closeSync(fd);
    const sum = new Bun.CryptoHasher("md5").update(names.map((_, i) => `${i}\n`).join("")).digest("hex");
    const kept = files.map((_, i) => `kept ${i}\n`).join("");
    expect(readFileSync(out, "utf8")).toBe(`${sum}  -\n${kept}`);
  });

  describe("NOTIFY_SOCKET", () => {
    const path = join(runtime.dir, "manager");
    const manager = new Receiver(path, k.SOCK_DGRAM);
    afterAll(() => closeSync(manager.fd));
    /** Everything that has come until the barrier, which is answered. */
    async function heard(): Promise<string[]> {
      const lines: string[] = [];
      await eventually("the barrier", () => {
        for (let message = manager.receive(); message; message = manager.receive()) {
          lines.push(message.text);
          if (message.fd !== undefined) closeSync(message.fd);
        }
        return lines.includes("BARRIER=1");
      });
      return lines;
    }
    const env = { NOTIFY_SOCKET: path };
    const wait = "echo $NOTIFY_SOCKET > /dev/shm/env; ls -ld /run/notify > /dev/shm/ls; sleep 1000";
    /** As the container would: to its own socket, by its own /run/notify. */
    function notify(pid: number, text: string): void {
      const fd = sys("socket", "", k.AF_UNIX, k.SOCK_DGRAM, 0);
      const name = `/proc/${pid}/root/run/notify/notify.sock`;
      scratch(() => {
        const { address, view } = room(110);
        view.writeUInt16LE(k.AF_UNIX, 0);
        view.write(name, 2);
        const data = room(64);
        data.view.write(text);
        sys("sendto", name, fd, data.address, text.length, 0, address, 2 + name.length + 1);
      });
      closeSync(fd);
    }
    const inside = (pid: number) => join(`/proc/${pid}/root/run/notify/notify.sock`);

    test("create, start: start returns when the container is ready", async () => {
      const bundle = runtime.bundle(wait);
      expect((await runtime.run(["create", "-b", bundle, "n1"], { env })).err).toBe("");
      const { pid } = await runtime.status("n1");
      const start = runtime.run(["start", "n1"], { env });
      await eventually("the socket", () => existsSync(inside(pid)));
      await eventually("it runs", async () => (await runtime.status("n1")).status === "running");
      notify(pid, "STATUS=almost");
      notify(pid, "STATUS=x\nREADY=1\n");
      expect(await heard()).toEqual(["READY=1\n", `MAINPID=${pid}\n`, "BARRIER=1"]);
      expect(await start).toMatchObject({ code: 0 });
      expect(await runtime.ok("exec", "n1", "cat", "/dev/shm/env")).toBe("/run/notify/notify.sock\n");
      await runtime.ok("delete", "-f", "n1");
    });

    test("run --detach, and one that ends without a word", async () => {
      const run = runtime.run(["run", "-d", "-b", runtime.bundle(wait), "n2"], { env });
      await eventually("it runs", async () => (await runtime.run(["state", "n2"])).out.includes('"running"'));
      const { pid } = await runtime.status("n2");
      await eventually("the socket", () => existsSync(inside(pid)));
      notify(pid, "READY=1");
      expect(await heard()).toEqual(["READY=1\n", `MAINPID=${pid}\n`, "BARRIER=1"]);
      expect(await run).toMatchObject({ code: 0 });
      await runtime.ok("delete", "-f", "n2");
      expect(await runtime.run(["run", "-d", "-b", runtime.bundle("true"), "n3"], { env })).toMatchObject({ code: 0 });
      await runtime.ok("delete", "-f", "n3");
    });

    test("run in the foreground: the runtime is the process that counts", async () => {
      const child = runtime.spawn(["run", "-b", runtime.bundle(`${wait}`), "n4"], ["ignore", "ignore", "inherit"], env);
      await eventually("it runs", async () => (await runtime.run(["state", "n4"])).out.includes('"running"'));
      const { pid } = await runtime.status("n4");
      await eventually("the socket", () => existsSync(inside(pid)));
      notify(pid, "READY=1");
      expect(await heard()).toEqual(["READY=1\n", `MAINPID=${child.pid}\n`, "BARRIER=1"]);
      notify(pid, "READY=1");
      expect(await heard()).toEqual(["READY=1\n", "BARRIER=1"]);
      await runtime.ok("kill", "n4", "KILL");
      expect(await child.exited).toBe(137);
    });
  });
});
