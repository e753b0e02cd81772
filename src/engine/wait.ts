import { invalid } from "../base/errors.ts";
import type { WaitResponse } from "../spec/docker-api.ts";
import type { Container } from "./container.ts";
import type { WaitCondition, Waiting } from "./requests.ts";

/** POST /containers/{id}/wait. Registers at once, so a start that follows the call is not missed. */
export function wait(container: Container, condition: string = "not-running"): Waiting {
  const waiters = waitersOf(container, condition as WaitCondition);
  if (condition === "not-running" && !container.isUp) {
    return { result: Promise.resolve(response(container)), cancel: () => undefined };
  }
  let waiter: () => void = () => undefined;
  const result = new Promise<WaitResponse>((resolve) => {
    waiter = () => resolve(response(container));
    waiters.add(waiter);
  });
  return { result, cancel: () => waiters.delete(waiter) };
}

function waitersOf(container: Container, condition: WaitCondition): Set<() => void> {
  if (condition === "removed") return container.removalWaiters;
  if (condition === "not-running" || condition === "next-exit") return container.exitWaiters;
  throw invalid(`invalid condition: ${JSON.stringify(String(condition).slice(0, 40))}`);
}

function response({ state }: Container): WaitResponse {
  return { StatusCode: state.exitCode, ...(state.error ? { Error: { Message: state.error } } : {}) };
}
