import { messageOf } from "../../base/errors.ts";
import type { HealthcheckResult } from "../../spec/docker-api.ts";
import { nowText } from "../clock.ts";
import { type HealthCheck, healthCheck } from "../config/health.ts";
import type { Container } from "../container.ts";
import { type Context, emit } from "../context.ts";
import { goDuration } from "../duration.ts";
import { isExhausted } from "../restart/policy.ts";
import { endContainer } from "../stop.ts";
import { Timers } from "../timers.ts";
import { CommandProbe } from "./command.ts";
import { NativeProbe } from "./native.ts";
import { pauseAfter, withResult } from "./record.ts";

const LONGEST_KILL_MS = 1000;

/**
 * Runs the health checks of the containers that have one, one at a time for each. What they find is written down each
 * time, so that another engine goes on with it.
 */
export class HealthMonitor {
  /** Of each container the next check, or the time that the present one may take. */
  readonly #timers = new Timers<Container>();
  readonly #probes = new Map<Container, { one: CommandProbe | NativeProbe; over: Promise<void> }>();
  #closed = false;

  /** A container runs: since now, or already when the engine started. Its state has a health record if it has a check. */
  begin(ctx: Context, container: Container): void {
    const check = container.state.health && healthCheck(container.record.config);
    if (!check) return;
    if (container.state.health?.status === "unhealthy") this.#unhealthy(ctx, container);
    // Of one that ran before, the next is due an interval after the last.
    const last = container.state.health?.log.at(-1)?.End ?? "";
    const since = Math.max(Date.parse(last) || 0, Date.parse(container.state.startedAt));
    this.#schedule(ctx, container, check, Math.max(0, Date.now() - since));
  }

  /** RestartOnUnhealthy may have been set since it is unhealthy. */
  reconsider(ctx: Context, container: Container): void {
    if (container.isRunning) this.#unhealthy(ctx, container);
  }

  /** The container has ended. */
  end(container: Container): void {
    this.#timers.cancel(container);
    this.#probes.get(container)?.one.kill();
  }

  /** The engine leaves. Probes that are under way are killed, and count for nothing. */
  async close(): Promise<void> {
    this.#closed = true;
    this.#timers.clear();
    const probes = [...this.#probes.values()];
    if (probes.length === 0) return;
    for (const { one } of probes) one.kill();
    // One in a frozen cgroup v1 does not die before it is thawed: it is left to the next engine.
    const late = new Promise((resolve) => setTimeout(resolve, LONGEST_KILL_MS).unref());
    await Promise.race([Promise.all(probes.map(({ over }) => over)), late]);
  }

  #schedule(ctx: Context, container: Container, check: HealthCheck, waited = 0): void {
    const { running } = container;
    const { health, startedAt } = container.state;
    // One that is to be restarted for its health is not asked again, or it might seem well when it ends.
    if (this.#closed || !running || !health || isToRestart(container)) return;
    const pause = pauseAfter(health, check, Date.now() - Date.parse(startedAt));
    this.#timers.set(container, pause - waited, () => {
      if (container.state.status === "paused") return this.#schedule(ctx, container, check);
      const { probe } = check;
      const one =
        probe.kind === "command" ? new CommandProbe(ctx, container, probe.command) : new NativeProbe(container, probe);
      const over = this.#check(ctx, container, check, one)
        .catch((error) => ctx.log(`container ${container.id.slice(0, 12)}: its health check: ${messageOf(error)}`))
        .finally(() => {
          if (this.#probes.get(container)?.one === one) this.#probes.delete(container);
          // Else it has ended, and may have begun anew.
          if (container.running === running) this.#schedule(ctx, container, check);
        });
      this.#probes.set(container, { one, over });
    });
  }

  async #check(ctx: Context, container: Container, check: HealthCheck, one: CommandProbe | NativeProbe): Promise<void> {
    const { running } = container;
    const { timeout } = check;
    let late = false;
    let paused = false;
    this.#timers.set(container, timeout, () => {
      late = true;
      // Then it could not have been any faster.
      paused = container.state.status === "paused";
      one.kill();
    });
    const Start = nowText();
    const { exitCode, output } = await one.run().catch((error) => ({ exitCode: -1, output: messageOf(error) }));
    if (this.#closed || container.running !== running || container.ending) return;
    this.#timers.cancel(container);
    if (paused || container.state.status !== "running") return;
    const exceeded = `Health check exceeded timeout (${goDuration(timeout)})`;
    const result: HealthcheckResult = late
      ? { Start, End: nowText(), ExitCode: -1, Output: one.output === "" ? exceeded : `${exceeded}: ${one.output}` }
      : { Start, End: nowText(), ExitCode: exitCode, Output: output };
    this.#record(ctx, container, check, result);
  }

  #record(ctx: Context, container: Container, check: HealthCheck, result: HealthcheckResult): void {
    const { health: before, startedAt } = container.state;
    if (!before) return;
    const health = withResult(before, result, check, startedAt);
    container.state = { ...container.state, health };
    ctx.store.updateState(container.id, container.state);
    if (health.status === before.status) return;
    emit(ctx, container, `health_status: ${health.status}`);
    if (health.status === "unhealthy") this.#unhealthy(ctx, container);
  }

  /** RestartOnUnhealthy: ends it as a stop does, which its policy does not take for one (restart/policy.ts). */
  #unhealthy(ctx: Context, container: Container): void {
    if (!isToRestart(container)) return;
    ctx.log(`container ${container.id.slice(0, 12)}: is unhealthy, and restarted for it`);
    endContainer(ctx, container).catch((error) => {
      ctx.log(`container ${container.id.slice(0, 12)}: is unhealthy, and cannot be ended: ${messageOf(error)}`);
    });
  }
}

function isToRestart({ record, state }: Container): boolean {
  const wanted = record.host.RestartOnUnhealthy === true && state.health?.status === "unhealthy";
  return wanted && !state.stopped && !isExhausted(record.host, state.restarts);
}
