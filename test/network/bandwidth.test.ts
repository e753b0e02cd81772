import { describe, expect, test } from "bun:test";
import { inNetworkNamespace } from "../../src/linux/netlink/socket.ts";
import { shape } from "../../src/network/bandwidth.ts";
import { NetworkStack } from "../../src/network/host.ts";
import { hasBusybox, isRoot } from "../harness.ts";
import { labForTests, OUTSIDE } from "./lab.ts";

const why = !isRoot ? "needs root" : hasBusybox ? "" : "no busybox-static";
const RATE_MBIT = 80;
const BYTES_PER_S = (RATE_MBIT * 1e6) / 8;
/** Two seconds' worth: what may go at once is small beside it. */
const AMOUNT = 2 * BYTES_PER_S;

describe.skipIf(why !== "")(`bandwidth${why && ` (${why})`}`, () => {
  const lab = labForTests();
  const { engine } = lab;

  /** Bytes in a second that a tcp stream from one namespace to another carries. */
  const throughput = async (from: number, to: number, address: string, amount = AMOUNT) => {
    let received = 0;
    const done = Promise.withResolvers<number>();
    let begin = 0;
    const server = inNetworkNamespace(to, () =>
      Bun.listen({
        hostname: "0.0.0.0",
        port: 7070,
        socket: {
          data(_, data) {
            begin ||= performance.now();
            received += data.length;
            if (received >= amount) done.resolve(received / ((performance.now() - begin) / 1000));
          },
          error: (_, error) => done.reject(error),
        },
      }),
    );
    const chunk = new Uint8Array(1 << 18);
    let left = amount;
    const send = (socket: Bun.Socket<undefined>) => {
      while (left > 0) {
        const n = socket.write(chunk.subarray(0, Math.min(chunk.length, left)));
        if (n <= 0) return;
        left -= n;
      }
    };
    const client = await inNetworkNamespace(from, () =>
      Bun.connect({ hostname: address, port: 7070, socket: { open: send, drain: send, data: () => undefined } }),
    );
    try {
      return await done.promise;
    } finally {
      client.terminate();
      server.stop(true);
    }
  };

  test("each direction has its own limit, and the other containers have none", async () => {
    await lab.run("sends-less", "--bandwidth", `egress=${RATE_MBIT}mbit`);
    await lab.run("receives-less", "--bandwidth", `ingress=${RATE_MBIT}mbit`);
    await lab.run("free");
    const [sender, receiver, free] = [
      await lab.inside("sends-less"),
      await lab.inside("receives-less"),
      await lab.inside("free"),
    ];
    const at = (name: string) => lab.address(name, "bridge");
    expect(await throughput(sender, lab.outside.fd, OUTSIDE[4])).toBeLessThan(1.1 * BYTES_PER_S);
    expect(await throughput(sender, free, await at("free"))).toBeLessThan(1.1 * BYTES_PER_S);
    expect(await throughput(free, receiver, await at("receives-less"))).toBeLessThan(1.1 * BYTES_PER_S);
    expect(await throughput(receiver, lab.outside.fd, OUTSIDE[4])).toBeGreaterThan(2 * BYTES_PER_S);
    expect(await throughput(free, sender, await at("sends-less"))).toBeGreaterThan(2 * BYTES_PER_S);
    // The next engine has them too.
    await engine.kill();
    await engine.start();
    expect(await throughput(sender, free, await at("free"))).toBeLessThan(1.1 * BYTES_PER_S);
    expect((await lab.inspect("sends-less")).HostConfig.Bandwidth).toEqual({ Egress: RATE_MBIT * 1e6 });
  });

  test("a container that undoes its own queue is still held to it, but for a second", async () => {
    await lab.run("undone", "--bandwidth", `egress=${RATE_MBIT}mbit`);
    const inside = await lab.inside("undone");
    const stack = new NetworkStack(inside);
    shape(stack, "eth0", 1e9);
    stack.close();
    expect(await throughput(inside, lab.outside.fd, OUTSIDE[4], 2 * AMOUNT)).toBeLessThan(1.5 * BYTES_PER_S);
  });

  test("what is refused", async () => {
    const run = async (...options: string[]) =>
      (await engine.inro(["run", "--rm", ...options, "busybox", "true"])).stderr;
    expect(await run("--bandwidth", "10mbit")).toContain("is not egress=RATE or ingress=RATE");
    expect(await run("--bandwidth", "egress=1bit")).toContain("1 bits in a second is not from 8000");
    expect(await run("--bandwidth", "egress=1mbit", "--network", "host")).toContain("conflicts with network mode host");
  });
});
