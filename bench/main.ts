/** `npm run bench`: inro side by side with what is installed of its peers, on this machine, now. */
import { Cgroup } from "../src/cgroups/cgroup.ts";
import { detectHierarchy } from "../src/cgroups/hierarchy.ts";
import { buildBench } from "./build.ts";
import { rootDirectory, rootTar } from "./busybox.ts";
import { containerSpec } from "./container-spec.ts";
import { type Crowd, crowd } from "./crowd.ts";
import { type Engine, lifeCycle } from "./engine.ts";
import { bareFloor, OverlayDirectories, rowsFloor } from "./floor.ts";
import { imagesBench } from "./images/images.ts";
import { engineKeepers, type Keepers, podmanKeepers } from "./keepers.ts";
import { podmanReadBack, podmanTakeIn, readBack, takeIn } from "./logs.ts";
import { machine } from "./machine.ts";
import { INSIDE, inNamespace, networkBench } from "./networks.ts";
import { HELP, IDLE_CONTAINERS, type Plan, planOf } from "./options.ts";
import { isOwn, ociRuntimes } from "./peers.ts";
import { crowdTable, keeperTable, residentsTable, type Table, timeTable } from "./report.ts";
import { type Residents, residents } from "./residents.ts";
import { runtimeTables } from "./runtimes.ts";
import { type Absent, attempt, isAbsent, measure, type Subject } from "./subject.ts";
import { dockerEngine, dockerRun, dockerVersion } from "./subjects/docker.ts";
import { inroEngine, inroRun, inroStart, inroVersion } from "./subjects/inro.ts";
import { ociRun, versionOf } from "./subjects/oci.ts";
import { openPodman, podmanRun } from "./subjects/podman.ts";
import { markdownTable, plainTable } from "./table.ts";
import { Workspace } from "./workspace.ts";

/** A resident engine has served before: as many times the warm-up, so that its code is compiled. */
const RESIDENT = 20;
/** Each takes seconds. */
const LOG_ROUNDS = 5;

async function bench(workspace: Workspace, plan: Plan): Promise<void> {
  const { rounds, warmUp, containers, binary } = plan;
  const say = (text: string) => process.stderr.write(`bench: ${text}\n`);
  const absent: Absent[] = [];
  /** What `open` gives; a failure is the reason why `name` is absent. */
  const open = async <T>(name: string, make: () => T | Promise<T>): Promise<T | undefined> => {
    try {
      return await make();
    } catch (error) {
      absent.push({ name, absent: error instanceof Error ? error.message : String(error) });
      return undefined;
    }
  };

  say("preparing");
  const tar = await rootTar();
  const lower = workspace.directory("lower");
  rootDirectory(lower);
  const spec = containerSpec("0".repeat(64), workspace.directory("etc"));
  const cgroup = Cgroup.create(detectHierarchy(), `/${workspace.cgroup}/floor`, spec.linux?.resources ?? {});
  workspace.undo("the floor's cgroup", () => cgroup.remove());
  const bare = bareFloor(new OverlayDirectories(lower, workspace.directory("bare")));
  const rows = rowsFloor(spec, new OverlayDirectories(lower, workspace.directory("rows")), cgroup);

  const inro = await open("inro", () => inroEngine(workspace, tar, binary));
  const peer = async <T>(name: string, make: () => T | Promise<T>) => (plan.peers ? await open(name, make) : undefined);
  const docker = await peer("docker", () => dockerEngine(workspace, tar));
  const podman = await peer("podman", () => openPodman(workspace, tar));
  const runtimes = await ociRuntimes(workspace, binary);
  absent.push(...runtimes.absent);
  const present = runtimes.present.filter(({ name }) => plan.peers || isOwn(name));
  const oci: Subject[] = [];
  for (const runtime of present) {
    for (const [what, overlay] of [
      ["run", false],
      ["run, own overlay", true],
    ] as const) {
      const subject = await attempt(`${runtime.name} ${what}`, () =>
        ociRun(workspace, runtime, overlay ? what : "run beside engines", { spec, lower, overlay }),
      );
      if (isAbsent(subject)) absent.push(subject);
      else oci.push({ ...subject, name: `${runtime.name} ${what}` });
    }
  }

  const versions = await Promise.all([
    inro && inroVersion(binary),
    docker && dockerVersion(docker),
    podman && `${podman.version} with ${podman.runtime}`,
    ...present.filter(({ name }) => !isOwn(name)).map(({ binary }) => versionOf(binary)),
  ]);

  const progress = (what: string) => (round: number) => {
    if (round % 10 === 0 || round === -warmUp) say(`${what}, round ${round} of ${rounds}`);
  };
  const table = plan.markdown ? markdownTable : plainTable;
  /** At once: what was measured is not lost with what comes after it. */
  const show = (...tables: readonly Table[]) => {
    for (const { title, head, rows } of tables.filter(({ rows }) => rows.length > 0))
      console.log(`${plan.markdown ? "### " : ""}${title}\n\n${table(head, rows)}\n`);
  };
  const runs = [
    bare,
    rows,
    inro && inroRun(workspace, inro),
    inro && inroStart(workspace, binary),
    ...oci,
    podman && (await peer("podman run", () => podmanRun(podman))),
    docker && dockerRun(workspace, docker),
  ].filter((subject) => subject !== undefined);
  show(
    timeTable(
      "One container: `run --rm --network none IMAGE true`",
      await measure(runs, rounds, warmUp, progress("run")),
    ),
  );

  const runtimeBench = { workspace, runtimes: present, spec, lower, floor: rows, rounds, warmUp, say };
  const measured = await runtimeTables(runtimeBench);
  show(...measured.tables);
  absent.push(...measured.absent);

  const engines = [inro, docker].filter((engine): engine is Engine => engine !== undefined);
  const cycles = [bare, rows, ...engines.map(lifeCycle)];
  show(
    timeTable(
      "The same over the API of a resident engine",
      await measure(cycles, rounds, warmUp * RESIDENT, progress("API")),
    ),
  );

  const logRounds = Math.min(rounds, LOG_ROUNDS);
  const drivers = engines.flatMap((engine) => [
    { engine, driver: "json-file" as const },
    ...(engine === inro ? [{ engine, driver: "local" as const }] : []),
  ]);
  const takers = drivers.map(({ engine, driver }) => takeIn(engine, driver));
  if (podman) takers.push(podmanTakeIn(podman));
  show(timeTable("256 MiB of log lines, taken in", await measure(takers, logRounds, 1, progress("logs"))));
  const readers = await Promise.all(drivers.map(({ engine, driver }) => readBack(engine, driver)));
  if (podman) readers.push(await podmanReadBack(podman, workspace));
  show(timeTable("The same, read back", await measure(readers, logRounds, 1, progress("logs, back"))));

  const keepers: Keepers[] = [];
  for (const engine of engines) {
    say(`${IDLE_CONTAINERS} idle containers of ${engine.name}`);
    keepers.push(await engineKeepers(engine, IDLE_CONTAINERS, workspace));
  }
  if (podman) keepers.push(await podmanKeepers(podman, plan.podmanIdle, workspace));
  show(keeperTable(keepers));

  const crowds: Crowd[] = [];
  for (const engine of engines) {
    say(`${containers} containers of ${engine.name} at once`);
    const done = await open(`${engine.name}, ${containers} at once`, () => crowd(engine, containers));
    if (done) crowds.push(done);
  }
  show(crowdTable(crowds));

  const beside: Residents[] = [];
  for (const engine of engines) {
    say(`beside ${containers} containers of ${engine.name}`);
    const done = await open(`${engine.name}, beside ${containers}`, () => residents(engine, containers));
    if (done) beside.push(done);
  }
  show(residentsTable(beside));

  console.log(
    `Median of ${rounds} interleaved rounds after ${warmUp} (over the API after ${warmUp * RESIDENT}). ${machine()}.`,
  );
  if (versions.some(Boolean)) console.log(`${versions.filter(Boolean).join("; ")}.`);
  for (const { name, absent: why } of absent) console.log(`Absent: ${name}: ${why}`);
}

const fail = (error: unknown) => process.stderr.write(`bench: ${error instanceof Error ? error.message : error}\n`);

async function main(): Promise<number> {
  let plan: Plan | undefined;
  try {
    plan = planOf(process.argv.slice(2));
  } catch (error) {
    fail(error);
    return 2;
  }
  if (!plan) {
    process.stdout.write(HELP);
    return 0;
  }
  if (process.getuid?.() !== 0) {
    fail("needs root, as the containers do");
    return 1;
  }
  if (plan.networks && !process.env[INSIDE]) return await inNamespace();
  const workspace = new Workspace();
  try {
    await (plan.networks ? networkBench : plan.images ? imagesBench : plan.build ? buildBench : bench)(workspace, plan);
    return 0;
  } catch (error) {
    // What breaks off because of ^C is no failure of its own.
    if (!workspace.closing) fail(error);
    return 1;
  } finally {
    await workspace.close();
  }
}

process.exit(await main());
