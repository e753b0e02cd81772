import { isIP } from "node:net";
import { invalid } from "../../base/errors.ts";
import type { TcpAddress } from "../../linux/tcp.ts";
import type { ContainerConfig, HealthConfig } from "../../spec/docker-api.ts";

/**
 * What a health check does. Docker's CMD and CMD-SHELL are commands in the container. HTTP and TCP are inro's own, and need
 * no program in the image: the engine connects from inside of the container's network namespace.
 *
 *     ["HTTP", "http://127.0.0.1:8080/health"]    a GET that is answered with 200 to 399
 *     ["TCP", "127.0.0.1:5432"]                   a connection that is accepted
 */
export type Probe =
  | { kind: "command"; command: string[] }
  | { kind: "http"; address: TcpAddress; host: string; path: string }
  | { kind: "tcp"; address: TcpAddress };

/** A health check with docker's defaults filled in; times in milliseconds. */
export interface HealthCheck {
  probe: Probe;
  interval: number;
  timeout: number;
  retries: number;
  startPeriod: number;
  startInterval: number;
}

const MILLISECOND = 1_000_000;
const KINDS = ["NONE", "CMD", "CMD-SHELL", "HTTP", "TCP"];
const DEFAULT_SHELL = ["/bin/sh", "-c"];

/** Healthcheck: durations in nanoseconds, 0 inherits, else at least a millisecond. Throws invalid. */
export function checkHealth({ Test = [], Retries = 0, ...durations }: HealthConfig): void {
  const [kind] = Test;
  if (kind !== undefined && kind !== "" && !KINDS.includes(kind)) {
    throw invalid(`unknown type "${kind.slice(0, 64)}" in healthcheck, expected NONE, CMD, CMD-SHELL, HTTP or TCP`);
  }
  if (kind?.startsWith("CMD") && Test.length < 2) throw invalid(`healthcheck ${kind} has no command`);
  if (kind === "HTTP" || kind === "TCP") probeOf(Test, undefined);
  for (const [name, duration] of Object.entries(durations)) {
    if (duration !== 0 && duration < MILLISECOND) throw invalid(`${name} in Healthcheck cannot be less than 1ms`);
  }
  if (Retries < 0) throw invalid("Retries in Healthcheck cannot be negative");
}

/** The health check of a checked config; undefined if it has none. */
export function healthCheck({ Healthcheck: config, Shell }: ContainerConfig): HealthCheck | undefined {
  const probe = config?.Test && probeOf(config.Test, Shell);
  if (!config || !probe) return undefined;
  const milliseconds = (duration: number | undefined, otherwise: number) => (duration || otherwise) / MILLISECOND;
  const SECOND = 1000 * MILLISECOND;
  return {
    probe,
    interval: milliseconds(config.Interval, 30 * SECOND),
    timeout: milliseconds(config.Timeout, 30 * SECOND),
    retries: config.Retries || 3,
    startPeriod: milliseconds(config.StartPeriod, 0),
    startInterval: milliseconds(config.StartInterval, 5 * SECOND),
  };
}

function probeOf([kind, ...rest]: readonly string[], shell: readonly string[] | undefined): Probe | undefined {
  if (kind === "CMD") return { kind: "command", command: rest };
  if (kind === "CMD-SHELL") return { kind: "command", command: [...(shell?.length ? shell : DEFAULT_SHELL), ...rest] };
  if (kind !== "HTTP" && kind !== "TCP") return undefined;
  const [text = "", ...more] = rest;
  const shown = JSON.stringify(text.slice(0, 256));
  if (more.length > 0) throw invalid(`healthcheck ${kind} takes one argument`);
  if (kind === "TCP") {
    const address = addressOf(`http://${text}/`);
    // The port of a URL may be left out, that of an address may not.
    if (!address || !/:\d+$/.test(text) || /[/?#@]/.test(text)) {
      throw invalid(`healthcheck TCP ${shown}: expected an address and a port, as 127.0.0.1:5432 or [::1]:5432`);
    }
    return { kind: "tcp", address };
  }
  const address = addressOf(text);
  if (!address || !text.startsWith("http://")) {
    throw invalid(`healthcheck HTTP ${shown}: expected a URL with an address, as http://127.0.0.1:8080/health`);
  }
  const { host, pathname, search } = new URL(text);
  return { kind: "http", address, host, path: pathname + search };
}

/** Host and port of a URL. Names are not resolved, for the container's resolver is its own; but localhost is 127.0.0.1. */
function addressOf(url: string): TcpAddress | undefined {
  if (!URL.canParse(url)) return undefined;
  const { hostname, port, username, password } = new URL(url);
  if (username || password) return undefined;
  const ip = hostname === "localhost" ? "127.0.0.1" : hostname.replace(/^\[|\]$/g, "");
  const number = port === "" ? 80 : Number(port);
  return isIP(ip) && number > 0 ? { ip, port: number } : undefined;
}
