import { afterAll, beforeAll, describe, expect, test } from "bun:test";
import { gzipSync } from "node:zlib";
import { DOCKER_REGISTRY, type RunningRegistry, startRegistry } from "../../src/registry/testing/docker-registry.ts";
import { TestPusher } from "../../src/registry/testing/push.ts";
import { MEDIA } from "../../src/spec/oci-image.ts";
import { busyboxTar, hasBusybox, isRoot, TestEngine, temporary } from "../harness.ts";
import { random } from "../random.ts";

/** How often the engine is killed; INRO_KILLS=1000 takes a quarter of an hour. */
const KILLS = Number(process.env.INRO_KILLS ?? 10);
const WORKERS = 6;
const PULLED = "pulled";

const why = !isRoot ? "needs root" : !hasBusybox ? "no busybox-static" : !DOCKER_REGISTRY ? "no docker-registry" : "";

/** What the engine has said of a container. */
interface Promised {
  code: number;
  started: boolean;
  /** Its removal was asked for, and perhaps answered. */
  removal: "none" | "asked" | "done";
  /** Lines that were read from its log. */
  read: string;
}

describe.skipIf(why !== "")(`kill -9 of the engine at any moment${why && ` (${why})`}`, () => {
  const engine = new TestEngine();
  let registry: RunningRegistry;
  beforeAll(async () => {
    await engine.start();
    await engine.busybox();
    registry = await startRegistry();
    const dir = temporary();
    const layer = gzipSync(await Bun.file(busyboxTar(dir)).bytes(), { level: 1 });
    const digest = new Bun.CryptoHasher("sha256").update(await Bun.file(`${dir}/busybox.tar`).bytes()).digest("hex");
    await Bun.$`rm -rf ${dir}`.quiet();
    const rootfs = { type: "layers", diff_ids: [`sha256:${digest}`] };
    const config = { architecture: process.arch === "x64" ? "amd64" : process.arch, os: "linux", rootfs, config: {} };
    const data = new Uint8Array(layer);
    await new TestPusher(registry.host, PULLED).image(config, [{ data, mediaType: MEDIA.ociLayerGzip }], "1");
  });
  afterAll(async () => {
    await registry?.stop();
    await engine.stop();
  });

  test(
    `${KILLS} times under load: no container, exit code or line that was read is lost`,
    async () => {
      const next = random(20_261_126);
      const promised = new Map<string, Promised>();
      let kills = 0;
      let lost = 0;
      let pulls = 0;
      let killing: Promise<void> | undefined;

      /** Undefined: the engine was killed with the request under way, and anything may have become of it. */
      const call = async (method: string, path: string, body?: unknown) => {
        while (killing) await killing;
        try {
          const response = await engine.api(method, path, body);
          const text = await response.text();
          return { status: response.status, text };
        } catch {
          return undefined;
        }
      };
      const pick = (wanted: (promise: Promised) => boolean) => {
        const all = [...promised].filter(([, promise]) => wanted(promise));
        return all[Math.floor(next() * all.length)];
      };

      let count = 0;
      const launch = async (script: string, code: number) => {
        const created = await call("POST", "/containers/create", { Image: "busybox", Cmd: ["sh", "-c", script] });
        if (!created) return;
        expect([created.status, created.text]).toEqual([201, created.text]);
        const id = JSON.parse(created.text).Id as string;
        const promise: Promised = { code, started: false, removal: "none", read: "" };
        promised.set(id, promise);
        const started = await call("POST", `/containers/${id}/start`);
        if (!started || promise.removal !== "none") return;
        expect([started.status, started.text]).toEqual([204, ""]);
        promise.started = true;
      };
      const settle = async () => {
        const [id, promise] = pick(({ started, removal }) => started && removal === "none") ?? [];
        if (!id || !promise) return;
        const stopped = await call("POST", `/containers/${id}/stop?t=0`);
        if (stopped && promise.removal === "none") expect([204, 304]).toContain(stopped.status);
      };
      const logs = async () => {
        const [id, promise] = pick(({ removal }) => removal === "none") ?? [];
        if (!id || !promise) return;
        const log = await call("GET", `/containers/${id}/logs?stdout=1`);
        if (!log || promise.removal !== "none") return;
        expect([log.status, log.text.startsWith(promise.read)]).toEqual([200, true]);
        promise.read = log.text.length > promise.read.length ? log.text : promise.read;
      };
      const remove = async () => {
        const [id, promise] = pick(({ removal }) => removal === "none") ?? [];
        if (!id || !promise) return;
        promise.removal = "asked";
        const removed = await call("DELETE", `/containers/${id}?force=1`);
        if (!removed) return;
        expect([204, 404, 409]).toContain(removed.status);
        if (removed.status === 204) promise.removal = "done";
      };
      const pull = async () => {
        const name = `${registry.host}/${PULLED}`;
        const pulled = await call("POST", `/images/create?fromImage=${encodeURIComponent(name)}&tag=1`);
        if (!pulled) return;
        expect(pulled.text).not.toContain("errorDetail");
        pulls++;
        await call("DELETE", `/images/${encodeURIComponent(`${name}:1`)}`);
      };
      const operate = () => {
        const what = next();
        const n = count++;
        if (what < 0.3) return launch(`echo out ${n}; exit ${n % 100}`, n % 100);
        if (what < 0.42) return launch(`echo out ${n}; sleep 100000 & wait`, 137);
        if (what < 0.5) return settle();
        if (what < 0.65) return logs();
        if (what < 0.95) return remove();
        return pull();
      };

      const worker = async () => {
        while (kills < KILLS) await operate();
      };
      const killer = async () => {
        while (kills < KILLS) {
          const until = count + 1 + Math.floor(next() * 40);
          while (count < until) await Bun.sleep(1 + next() * 3);
          if (++kills % 100 === 0) console.log(`${kills} of ${KILLS} kills, ${promised.size} containers`);
          killing = engine.kill("SIGKILL").then(async () => {
            await engine.start();
            killing = undefined;
          });
          await killing;
        }
      };
      await Promise.all([killer(), ...Array.from({ length: WORKERS }, worker)]);

      for (const [id, promise] of promised) {
        const inspect = await engine.api("GET", `/containers/${id}/json`);
        if (promise.removal !== "none") {
          if (promise.removal === "done") expect([id, inspect.status]).toEqual([id, 404]);
          continue;
        }
        expect([id, inspect.status]).toEqual([id, 200]);
        const { State } = (await inspect.json()) as { State: { Status: string; ExitCode: number; Error: string } };
        const known = promise.started ? ["exited", "running"] : ["created", "exited", "running"];
        expect(known).toContain(State.Status);
        if (State.Status === "exited")
          expect({ id, ...State }).toMatchObject({ id, ExitCode: promise.code, Error: "" });
        const log = await (await engine.api("GET", `/containers/${id}/logs?stdout=1`)).text();
        expect([id, log.startsWith(promise.read)]).toEqual([id, true]);
        if (State.Status === "exited" && promise.code !== 137 && log === "") lost++;
      }
      // What an engine has taken out of a pipe and not yet written dies with it: hardly ever more than none.
      expect(lost).toBeLessThanOrEqual(Math.ceil(KILLS / 50));
      expect(promised.size).toBeGreaterThan(KILLS);
      const check = await engine.inro(["system", "check", "--repair"]);
      expect(check.code).toBe(0);
      expect((await engine.inro(["system", "check"])).stdout).toBe("no leaks found\n");
      const left = (await engine.ok("ps", "-aq")).split("\n").filter(Boolean);
      await Promise.all(left.map((id) => engine.api("DELETE", `/containers/${id}?force=1`)));
      console.log(`${kills} kills, ${promised.size} containers, ${pulls} pulls, ${lost} without their last words`);
    },
    KILLS * 10_000,
  );
});
