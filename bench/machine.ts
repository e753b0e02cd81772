import { readFileSync } from "node:fs";
import { cpus, release, totalmem } from "node:os";
import { hostFacts } from "../src/engine/config/host-facts.ts";

/** One line on where and when: without it the figures say nothing. */
export function machine(): string {
  const cores = cpus();
  const memory = Math.round(totalmem() / 2 ** 30);
  return [
    `${cores.length} cores ${cores[0]?.model.trim() ?? "of unknown model"}`,
    `${memory} GB`,
    `Linux ${release().split("-")[0]}`,
    distribution(),
    `cgroup ${hostFacts().cgroup}`,
    new Date().toISOString().slice(0, 10),
  ].join(", ");
}

function distribution(): string {
  try {
    return /^PRETTY_NAME="?([^"\n]+)/m.exec(readFileSync("/etc/os-release", "utf8"))?.[1] ?? "unknown distribution";
  } catch {
    return "unknown distribution";
  }
}
