/**
 * `npm run bench -- --networks`: what networks cost, in a network namespace of the bench's own, in which the engines have
 * bridges and firewalls as they like; the machine's own interfaces see nothing of it.
 */
import { openSync, readFileSync } from "node:fs";
import * as packet from "dns-packet";
import { close } from "../src/linux/file.ts";
import { NLM_F_CREATE } from "../src/linux/netlink/message.ts";
import { inNetworkNamespace } from "../src/linux/netlink/socket.ts";
import { AF, addressBytes, parseAddress } from "../src/network/address.ts";
import { addressMessage } from "../src/network/host.ts";
import { createNetworkNamespace } from "../src/network/namespace.ts";
import type { ContainerInspect } from "../src/spec/docker-api.ts";
import { IMAGE, rootTar } from "./busybox.ts";
import { environment, installed } from "./command.ts";
import { create, type Engine, remove, start } from "./engine.ts";
import { machine } from "./machine.ts";
import type { Plan } from "./options.ts";
import type { Table } from "./report.ts";
import { median, quantile } from "./statistics.ts";
import { measure, type Subject } from "./subject.ts";
import { cliSubject } from "./subjects/cli.ts";
import { dockerEngine } from "./subjects/docker.ts";
import { inroEngine } from "./subjects/inro.ts";
import { openPodman, type Podman } from "./subjects/podman.ts";
import { markdownTable, milliseconds, plainTable } from "./table.ts";
import type { Workspace } from "./workspace.ts";

/** The host's address, to which ports are published: one of nobody else (RFC 5737). */
const HOST = "198.51.100.1";
const PORT = 5201;
const IPERF_S = 2;
const IPERF_RUNS = 9;
const MOST_TRIES = 20;
const DNS_MS = 3000;
const DNS_AT_ONCE = 8;
const EDGE = 20;
/** Set for the run inside. */
export const INSIDE = "INRO_BENCH_NETWORKS";

/** Runs this command again in a network namespace; its exit status. */
export async function inNamespace(): Promise<number> {
  const namespace = createNetworkNamespace();
  const host = parseAddress(HOST)!;
  const bytes = addressBytes(host);
  const [family, prefixLength] = [AF[4], 32];
  const address = {
    family,
    prefixLength,
    flags: 0,
    scope: 0,
    index: 1,
    address: bytes,
    local: bytes,
    broadcast: undefined,
  };
  namespace.stack.socket.request(addressMessage("lo", address, NLM_F_CREATE));
  const child = inNetworkNamespace(namespace.fd, () =>
    Bun.spawn([process.execPath, ...process.argv.slice(1)], {
      env: { ...process.env, [INSIDE]: "1" },
      stdio: ["inherit", "inherit", "inherit"],
    }),
  );
  const code = await child.exited;
  namespace.close();
  return code;
}

export async function networkBench(
  workspace: Workspace,
  { rounds, warmUp, containers, binary, peers, markdown }: Plan,
) {
  const say = (text: string) => process.stderr.write(`bench: ${text}\n`);
  const absent: string[] = [];
  const open = async <T>(name: string, make: () => Promise<T>): Promise<T | undefined> => {
    try {
      return await make();
    } catch (error) {
      absent.push(`${name}: ${error instanceof Error ? error.message.trim().split("\n").at(-1) : error}`);
      return undefined;
    }
  };
  const table = markdown ? markdownTable : plainTable;
  const show = ({ title, head, rows }: Table) =>
    console.log(`${markdown ? "### " : ""}${title}\n\n${table(head, rows)}\n`);

  const tar = await rootTar();
  const inro = await inroEngine(workspace, tar, binary);
  const docker = peers ? await open("docker", () => dockerEngine(workspace, tar, { networks: true })) : undefined;
  const podman = peers ? await open("podman", () => openPodman(workspace, tar)) : undefined;
  const engines = [inro, docker].filter((engine): engine is Engine => engine !== undefined);

  say("run, with and without a network");
  show(await runs(workspace, engines, podman, rounds, warmUp));

  const rows: string[][] = [];
  for (const engine of engines) {
    say(`${containers} containers of ${engine.name} on one bridge`);
    const row = await open(`${engine.name}, ${containers} on a bridge`, () => onOneBridge(engine, containers));
    if (row) rows.push(row);
  }
  show({
    title: `${containers} containers on one bridge, one after the other`,
    head: ["", `first ${EDGE}, ms`, `last ${EDGE}, ms`, "removed, ms each", "create and start"],
    rows,
  });

  const pairs: Pair[] = [];
  const first = PORT;
  for (const [i, engine] of engines.entries()) {
    const pair = await open(`${engine.name}, throughput`, () => enginePair(engine, first + i));
    if (pair) pairs.push(pair);
  }
  const pair =
    podman && (await open("podman, throughput", () => podmanPair(workspace, podman, first + engines.length)));
  if (pair) pairs.push(pair);
  say("throughput");
  const streams = await throughput(pairs);
  show({
    title: "Throughput of one tcp stream (iperf3)",
    head: ["", "container to container, Gbit/s", "host to a published port, Gbit/s", "how"],
    rows: streams,
  });

  const names: string[][] = [];
  for (const engine of engines) {
    say(`names, ${engine.name}`);
    const row = await open(`${engine.name}, names`, () => nameServer(engine));
    if (row) names.push(row);
  }
  show({
    title: "Names: a container asks for another of its network",
    head: ["", "answers/s", "p50, ms", "p99, ms", "how"],
    rows: names,
  });
  console.log(`${machine()}.`);
  for (const why of absent) console.log(`Absent: ${why}`);
}

async function runs(
  workspace: Workspace,
  engines: Engine[],
  podman: Podman | undefined,
  rounds: number,
  warmUp: number,
) {
  const kinds = ["none", "bridge"] as const;
  const subjects: Subject[] = engines.flatMap((engine) =>
    kinds.map((network) =>
      cliSubject(workspace, {
        name: `${engine.name} ${network}`,
        does: `run --rm --network ${network} IMAGE true`,
        argv: [...engine.command, "run", "--rm", "--network", network, IMAGE, "true"],
        env: engine.env,
      }),
    ),
  );
  if (podman) {
    const options = podman.runOptions.slice(2);
    for (const network of kinds) {
      const args = ["run", "--rm", "--network", network === "bridge" ? "podman" : network, ...options, IMAGE, "true"];
      subjects.push({ name: `podman ${network}`, does: args.slice(0, 4).join(" "), run: () => podman.run(...args) });
    }
  }
  const measured = await measure(subjects, rounds, warmUp, () => undefined);
  const of = (name: string) => measured.find(({ subject }) => subject.name === name)?.times ?? [];
  const names = [...engines.map(({ name }) => name), ...(podman ? ["podman"] : [])];
  const rows = names.map((name) => {
    const [none, bridge] = kinds.map((kind) => of(`${name} ${kind}`)) as [number[], number[]];
    const differences = bridge.map((time, i) => time - none[i]!);
    return [
      name,
      ...[median(none), median(bridge), median(differences)].map(milliseconds),
      "median of the rounds' differences",
    ];
  });
  return { title: "`run --rm` on the default bridge", head: ["", "none, ms", "bridge, ms", "more, ms", "how"], rows };
}

async function onOneBridge(engine: Engine, count: number): Promise<string[]> {
  const { client } = engine;
  const ids: string[] = [];
  const times: number[] = [];
  for (let i = 0; i < count; i++) {
    const begin = performance.now();
    const id = await create(client, ["sleep", "1000"], { HostConfig: { NetworkMode: "bridge" } });
    await start(client, id);
    times.push(performance.now() - begin);
    ids.push(id);
  }
  const begin = performance.now();
  await Promise.all(ids.map((id) => remove(engine.crowd, id)));
  const removed = (performance.now() - begin) / count;
  const [first, last] = [times.slice(0, EDGE), times.slice(-EDGE)].map(median) as [number, number];
  return [engine.name, ...[first, last, removed].map(milliseconds), "medians; removed by force, 32 requests at a time"];
}

/** A container that sleeps, its network namespace and its address. */
async function sleeper(engine: Engine, more: Parameters<typeof create>[2]) {
  const id = await create(engine.client, ["sleep", "1000"], more);
  await start(engine.client, id);
  const found = await engine.client.json<ContainerInspect>("GET", `/containers/${id}/json`);
  const [network] = Object.values(
    (found.NetworkSettings as { Networks: Record<string, { IPAddress: string }> }).Networks,
  );
  const namespace = openSync(`/proc/${found.State.Pid}/ns/net`, "r");
  const end = async () => {
    close(namespace);
    await remove(engine.client, id);
  };
  return { id, address: network!.IPAddress, namespace, end };
}

/** A server and a client in containers of one engine. */
interface Pair {
  name: string;
  address: string;
  port: number;
  server: number;
  client: number;
  end(): Promise<unknown>;
}

async function enginePair(engine: Engine, port: number): Promise<Pair> {
  const ports = { [`${port}/tcp`]: [{ HostIp: "0.0.0.0", HostPort: String(port) }] };
  const exposed = { ExposedPorts: { [`${port}/tcp`]: {} }, HostConfig: { NetworkMode: "bridge", PortBindings: ports } };
  const server = await sleeper(engine, exposed);
  const client = await sleeper(engine, { HostConfig: { NetworkMode: "bridge" } });
  const end = () => Promise.all([server.end(), client.end()]);
  return { name: engine.name, address: server.address, port, server: server.namespace, client: client.namespace, end };
}

async function podmanPair(workspace: Workspace, podman: Podman, port: number): Promise<Pair> {
  const options = ["--network", "podman", ...podman.runOptions.slice(2)];
  const run = async (name: string, address: string, ...more: string[]) => {
    const pidFile = workspace.path(name);
    const place = ["--name", name, "--ip", address, "--pidfile", pidFile];
    await podman.run("run", "--detach", ...place, ...options, ...more, IMAGE, "sleep", "1000");
    return openSync(`/proc/${readFileSync(pidFile, "utf8").trim()}/ns/net`, "r");
  };
  const address = "10.88.0.50";
  const server = await run("bench-server", address, "--publish", `0.0.0.0:${port}:${port}`);
  const client = await run("bench-client", "10.88.0.51");
  const end = async () => {
    for (const namespace of [server, client]) close(namespace);
    await podman.run("rm", "--force", "--time", "0", "bench-server", "bench-client");
  };
  return { name: "podman", address, port, server, client, end };
}

/** Each round asks every pair once, so that noise hits all alike. */
async function throughput(pairs: readonly Pair[]): Promise<string[][]> {
  const iperf = installed("iperf3");
  const servers = pairs.map(({ server, port }) =>
    inNetworkNamespace(server, () =>
      Bun.spawn([iperf, "--server", "--port", String(port)], { stdio: ["ignore", "ignore", "ignore"] }),
    ),
  );
  const ask = (address: string, port: number) => {
    const argv = [iperf, "--client", address, "--port", String(port), "--time", String(IPERF_S)];
    const options = { env: environment(), stdout: "pipe", stderr: "ignore" } as const;
    return Bun.spawnSync([...argv, "--connect-timeout", "1000", "--json"], options).stdout.toString();
  };
  const gigabits = async (run: () => string): Promise<number> => {
    for (let tries = 0; ; tries++) {
      const { end, error } = JSON.parse(run());
      if (!error) return end.sum_received.bits_per_second / 1e9;
      // The server may not be up yet, or not done with the one before.
      if (tries === MOST_TRIES) throw new Error(`iperf3: ${error}`);
      await Bun.sleep(100);
    }
  };
  const results = pairs.map(() => ({ near: [] as number[], published: [] as number[] }));
  try {
    for (let round = 0; round < IPERF_RUNS; round++) {
      // Each comes first as often as the others: who does has the processor's reserves.
      const turn = round % pairs.length;
      const order = [...pairs.entries()];
      for (const [i, { address, port, client }] of [...order.slice(turn), ...order.slice(0, turn)]) {
        results[i]!.near.push(await gigabits(() => inNetworkNamespace(client, () => ask(address, port))));
        results[i]!.published.push(await gigabits(() => ask(HOST, port)));
      }
    }
  } finally {
    for (const child of servers) child.kill();
    await Promise.all(servers.map((child) => child.exited));
    for (const pair of pairs) await pair.end();
  }
  return pairs.map(({ name }, i) => {
    const { near, published } = results[i]!;
    return [
      name,
      median(near).toFixed(1),
      median(published).toFixed(1),
      `${IPERF_S} s, median of ${IPERF_RUNS} in turn`,
    ];
  });
}

async function nameServer(engine: Engine): Promise<string[]> {
  const { client } = engine;
  await client.json("POST", "/networks/create", { Name: "bench-names" });
  const on = { HostConfig: { NetworkMode: "bench-names" } };
  const [asker, other] = [await sleeper(engine, on), await sleeper(engine, on)];
  const times: number[] = [];
  const waiting = new Map<number, { begin: number; done(): void }>();
  const socket = (await inNetworkNamespace(asker.namespace, () =>
    Bun.udpSocket({
      socket: {
        data: (_: unknown, data: Buffer) => {
          const answer = packet.decode(data);
          if (answer.answers?.length !== 1) return;
          const one = waiting.get(answer.id!);
          waiting.delete(answer.id!);
          if (one) times.push(performance.now() - one.begin);
          one?.done();
        },
      },
    } as never),
  )) as unknown as Bun.udp.Socket<"buffer">;
  const end = performance.now() + DNS_MS;
  let ids = 0;
  const worker = async () => {
    while (performance.now() < end) {
      const id = ++ids & 0xffff;
      const question = packet.encode({
        type: "query",
        id,
        flags: packet.RECURSION_DESIRED,
        questions: [{ name: other.id.slice(0, 12), type: "A" }],
      });
      await new Promise<void>((done) => {
        waiting.set(id, { begin: performance.now(), done });
        socket.send(question, 53, "127.0.0.11");
        setTimeout(done, 1000);
      });
    }
  };
  await Promise.all(Array.from({ length: DNS_AT_ONCE }, worker));
  socket.close();
  await Promise.all([asker.end(), other.end()]);
  await client.call("DELETE", "/networks/bench-names");
  const how = `${DNS_AT_ONCE} at once for ${DNS_MS / 1000} s, asked by one process`;
  return [
    engine.name,
    String(Math.round((times.length / DNS_MS) * 1000)),
    milliseconds(median(times)),
    milliseconds(quantile(times, 0.99)),
    how,
  ];
}
