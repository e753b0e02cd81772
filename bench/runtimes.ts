import type { Spec } from "../src/spec/oci-runtime.ts";
import { runtimeTable, type Table } from "./report.ts";
import { median } from "./statistics.ts";
import { type Absent, attempt, isAbsent, type Measured, measure, type Subject } from "./subject.ts";
import { Bundle, type OciRuntime, ociExec, ociLifeCycle, ociRun } from "./subjects/oci.ts";
import { milliseconds } from "./table.ts";
import type { Workspace } from "./workspace.ts";

/** The OCI runtimes against each other: by the clock, in processor time and memory. */

export interface RuntimeBench {
  workspace: Workspace;
  runtimes: readonly OciRuntime[];
  spec: Spec;
  lower: string;
  floor: Subject;
  rounds: number;
  warmUp: number;
  say(text: string): void;
}

const without = (spec: Spec): Spec => {
  const plain = structuredClone(spec);
  delete plain.linux!.seccomp;
  return plain;
};

/** Tables of run, of the three commands and of exec; and what could not be measured. */
export async function runtimeTables(bench: RuntimeBench): Promise<{ tables: Table[]; absent: Absent[] }> {
  const { workspace, spec, lower, floor, rounds, warmUp, say } = bench;
  const plain = without(spec);
  const kinds: [title: string, open: (runtime: OciRuntime) => Promise<Subject>][] = [
    ["`run`, default seccomp profile", (runtime) => ociRun(workspace, runtime, "run", { spec, lower })],
    ["`run`, no seccomp", (runtime) => ociRun(workspace, runtime, "run, no seccomp", { spec: plain, lower })],
    [
      "`create`, `start`, `delete`, default seccomp profile",
      (runtime) => ociLifeCycle(workspace, runtime, { spec, lower }),
    ],
    ["`exec true`, default seccomp profile", (runtime) => ociExec(workspace, runtime, { spec, lower })],
  ];
  const tables: Table[] = [];
  const absent: Absent[] = [];
  const all: Measured[] = [];
  for (const [title, open] of kinds) {
    say(title);
    const subjects: Subject[] = [];
    for (const runtime of bench.runtimes) {
      const subject = await attempt(`${runtime.name}: ${title}`, () => open(runtime));
      if (isAbsent(subject)) absent.push(subject);
      else subjects.push(subject);
    }
    const measured = await measure([floor, ...subjects], rounds, warmUp, () => undefined);
    all.push(...measured);
    const peaks = new Map<string, number>();
    for (const subject of subjects) if (subject.peak) peaks.set(subject.name, await subject.peak());
    tables.push(runtimeTable(`The OCI runtimes: ${title}`, measured, peaks));
  }
  tables.push(filterTable(bench.runtimes, all));
  const calls = await perCall(bench);
  tables.push(calls.table);
  return { tables, absent: [...absent, ...calls.absent] };
}

/** What a run with the default profile takes more than one without: nearly all of it is making the filter. */
function filterTable(runtimes: readonly OciRuntime[], measured: readonly Measured[]): Table {
  const cpu = (name: string) => median(measured.find(({ subject }) => subject.name === name)?.cpu ?? []);
  const extra = runtimes.map(({ name }) => ({ name, ms: cpu(`${name} run`) - cpu(`${name} run, no seccomp`) }));
  return {
    title: "The default seccomp profile: processor time that it adds to a `run`",
    head: ["", "ms", "how"],
    rows: extra.map(({ name, ms }) => [name, milliseconds(ms), "median with less median without"]),
  };
}

const CALLS = 2_000_000;
const TIMES = 5;

/** read(2) and write(2) of one byte, again and again, under each runtime's filter; all take turns. */
async function perCall(bench: RuntimeBench): Promise<{ table: Table; absent: Absent[] }> {
  const { workspace, spec, lower, say } = bench;
  say("system calls under the filter");
  const many = ["busybox", "dd", "if=/dev/zero", "of=/dev/null", "bs=1", `count=${CALLS / 2}`];
  const one = [...many.slice(0, -1), "count=1"];
  const absent: Absent[] = [];
  const nameOf = (shown: string) => `${shown}: system calls`;
  const first = bench.runtimes[0];
  const kinds = [
    ...bench.runtimes.map((runtime) => ({ runtime, spec, shown: runtime.name })),
    ...(first ? [{ runtime: first, spec: without(spec), shown: "no filter" }] : []),
  ];
  let ready: { shown: string; nanoseconds: number[]; time(what: "many" | "one"): Promise<number> }[] = [];
  const each = async (step: (kind: (typeof ready)[number]) => Promise<unknown>) => {
    for (const kind of ready) await tried(kind.shown, () => step(kind));
    ready = ready.filter(({ shown }) => !absent.some(({ name }) => name === nameOf(shown)));
  };
  const tried = async (shown: string, step: () => Promise<unknown>) => {
    try {
      await step();
    } catch (error) {
      absent.push({ name: nameOf(shown), absent: error instanceof Error ? error.message : String(error) });
    }
  };
  for (const { runtime, spec, shown } of kinds) {
    await tried(shown, async () => {
      const open = (args: string[]) =>
        Bundle.open(workspace, runtime, `${shown} ${args.at(-1)}`, { spec, lower, args });
      const bundles = { many: await open(many), one: await open(one) };
      let run = 0;
      const time = async (what: "many" | "one") => {
        const id = `${shown}-${what}-${run++}`.replaceAll(" ", "-");
        return (await bundles[what].run(["run", "--bundle", bundles[what].path, id])).ms;
      };
      ready.push({ shown, nanoseconds: [], time });
    });
  }
  for (let i = 0; i < TIMES; i++) {
    await each(async ({ nanoseconds, time }) => {
      nanoseconds.push((((await time("many")) - (await time("one"))) * 1e6) / CALLS);
    });
  }
  const rows = ready.map(({ shown, nanoseconds }) => [
    shown,
    median(nanoseconds).toFixed(0),
    "dd of single bytes, less dd of one: a read and a write each",
  ]);
  return { table: { title: "A system call under the default profile", head: ["", "ns", "how"], rows }, absent };
}
