import type { Crowd } from "./crowd.ts";
import type { Keepers } from "./keepers.ts";
import type { Residents } from "./residents.ts";
import { median, quantile } from "./statistics.ts";
import type { Measured } from "./subject.ts";
import { bytes, milliseconds, ratio } from "./table.ts";

export interface Table {
  title: string;
  head: string[];
  rows: string[][];
}

/** Times by subject, fastest first; the ratio is to the row that starts with "inro". */
export function timeTable(title: string, measured: readonly Measured[]): Table {
  const base = measured.find(({ subject }) => /^inro( run|, API|, json-file)$/.test(subject.name));
  const inro = base ? median(base.times) : Number.NaN;
  const rows = measured
    .toSorted((a, b) => median(a.times) - median(b.times))
    .map(({ subject, times }) => [
      subject.name,
      milliseconds(median(times)),
      milliseconds(quantile(times, 0.1)),
      milliseconds(quantile(times, 0.9)),
      ratio(median(times), inro),
      subject.does,
    ]);
  return { title, head: ["", "ms", "p10", "p90", "of inro", "what it does"], rows };
}

/** The same with processor time and memory; the ratio is to crun. */
export function runtimeTable(title: string, measured: readonly Measured[], peaks: ReadonlyMap<string, number>): Table {
  const crun = measured.find(({ subject }) => subject.name.startsWith("crun "));
  const rows = measured
    .toSorted((a, b) => median(a.times) - median(b.times))
    .map(({ subject, times, cpu }) => [
      subject.name,
      milliseconds(median(times)),
      milliseconds(quantile(times, 0.1)),
      milliseconds(quantile(times, 0.9)),
      ratio(median(times), median(crun?.times ?? [])),
      milliseconds(median(cpu)),
      ratio(median(cpu), median(crun?.cpu ?? [])),
      bytes(peaks.get(subject.name) ?? Number.NaN),
      subject.does,
    ]);
  return { title, head: ["", "ms", "p10", "p90", "of crun", "CPU ms", "of crun", "peak", "what it does"], rows };
}

export function keeperTable(keepers: readonly Keepers[]): Table {
  const inro = keepers.find(({ name }) => name === "inro")?.pss ?? Number.NaN;
  return {
    title: "What stays beside each idle container",
    head: ["", "PSS each", "of inro", "process"],
    rows: keepers.map(({ name, process, count, pss }) => [
      name,
      bytes(pss),
      ratio(pss, inro),
      `${process}, ${count} of them`,
    ]),
  };
}

export function crowdTable(crowds: readonly Crowd[]): Table {
  return {
    title: "Many containers at once, over the API",
    head: ["", "start, ms each", "remove, ms each", "engine before", "with all", "after", "how many"],
    rows: crowds.map(({ name, count, started, removed, memory }) => [
      name,
      milliseconds(started / count),
      milliseconds(removed / count),
      bytes(memory.before),
      bytes(memory.running),
      bytes(memory.after),
      `${count} sleeping containers, 32 requests at a time`,
    ]),
  };
}

export function residentsTable(all: readonly Residents[]): Table {
  const inro = all.find(({ name }) => name === "inro");
  const row = (what: string, value: (of: Residents) => number, show: (value: number) => string, note: string) => [
    what,
    ...all.flatMap((one) => [show(value(one)), ratio(value(one), inro ? value(inro) : Number.NaN)]),
    note,
  ];
  const rows = [
    row("cycle beside none", ({ cycle }) => cycle.alone, milliseconds, "ms: create, start, wait, remove"),
    row("cycle beside all", ({ cycle }) => cycle.crowded, milliseconds, "ms"),
    row("list", ({ list }) => list, milliseconds, "ms: GET /containers/json"),
    row("exec true", ({ exec }) => exec, milliseconds, "ms: exec, start to the end of its output, inspect"),
    row("nsenter true", ({ nsenter }) => nsenter, milliseconds, "ms: nsenter --all, the floor of the exec"),
    row("idle", ({ idle }) => idle, milliseconds, "ms of processor time in a second, nobody asking"),
    row("memory", ({ memory }) => memory, bytes, "PSS of the engine's processes"),
    row("rm -f of all", ({ removal }) => removal, milliseconds, "ms, 32 requests at a time"),
  ];
  return {
    title: `An engine beside ${all[0]?.count ?? 0} running containers`,
    head: ["", ...all.flatMap(({ name }) => [name, "of inro"]), "what"],
    rows: all.length > 0 ? rows : [],
  };
}
