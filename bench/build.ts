import { cpSync, mkdirSync, rmSync, writeFileSync } from "node:fs";
import { join } from "node:path";
import { IMAGE, rootTar } from "./busybox.ts";
import { environment } from "./command.ts";
import type { Plan } from "./options.ts";
import { timeTable } from "./report.ts";
import { type Absent, attempt, isAbsent, measure, type Subject } from "./subject.ts";
import { dockerEngine } from "./subjects/docker.ts";
import { inroEngine } from "./subjects/inro.ts";
import { openPodman } from "./subjects/podman.ts";
import { markdownTable, plainTable } from "./table.ts";
import type { Workspace } from "./workspace.ts";

const FILES = 5000;
const STEPS = 9;

/** Ten RUN, COPY of many small files, and two stages that have nothing to do with each other and take two seconds. */
const DOCKERFILE = `FROM ${IMAGE} AS a
RUN sleep 2; echo a > /a
FROM ${IMAGE} AS b
RUN sleep 2; echo b > /b
FROM ${IMAGE}
${Array.from({ length: STEPS }, (_, i) => `RUN echo ${i} > /step-${i}`).join("\n")}
COPY . /src
RUN find /src | wc -l > /count
COPY --from=a /a /a
COPY --from=b /b /b
`;

type Case = "cold" | "cached" | "one file changed";

/** A builder that builds a directory. */
interface BuilderUnderTest {
  name: string;
  does: string;
  build(directory: string, noCache: boolean): Promise<void>;
}

/** Builds side by side: with nothing, with everything, and with all but one file. */
export async function buildBench(workspace: Workspace, plan: Plan): Promise<void> {
  const say = (text: string) => process.stderr.write(`bench: ${text}\n`);
  const absent: Absent[] = [];
  const table = plan.markdown ? markdownTable : plainTable;
  const tar = await rootTar();
  const contexts = workspace.directory("contexts");
  const original = join(contexts, "original");
  fill(original);
  const builders: BuilderUnderTest[] = [];
  const add = async (name: string, open: () => Promise<BuilderUnderTest>) => {
    try {
      builders.push(await open());
    } catch (error) {
      absent.push({ name, absent: error instanceof Error ? error.message : String(error) });
    }
  };
  await add("inro", async () => {
    const engine = await inroEngine(workspace, tar, plan.binary);
    return {
      name: "inro",
      does: "inro build, engine resident",
      async build(directory, noCache) {
        const flags = ["--progress", "quiet", "--network", "none", ...(noCache ? ["--no-cache"] : [])];
        await command([...engine.command, "build", ...flags, "-t", "bench", directory], engine.env);
      },
    };
  });
  if (plan.peers) {
    await add("BuildKit", async () => {
      const engine = await dockerEngine(workspace, tar);
      return {
        name: "BuildKit",
        does: "in dockerd, POST /build?version=2 with the context as a tar",
        async build(directory, noCache) {
          const query = new URLSearchParams({
            version: "2",
            t: "bench",
            networkmode: "none",
            ...(noCache ? { nocache: "1" } : {}),
          });
          const packed = Bun.spawn(["tar", "c", "-C", directory, "."], { stdout: "pipe" });
          const answer = await fetch(`http://engine/build?${query}`, {
            unix: engine.client.socket,
            method: "POST",
            headers: { "Content-Type": "application/x-tar" },
            body: packed.stdout,
          });
          const text = await answer.text();
          if (!answer.ok || text.includes('"errorDetail"')) throw new Error(text.slice(-500));
        },
      };
    });
    await add("podman", async () => {
      const podman = await openPodman(workspace, tar);
      return {
        name: "podman",
        does: "podman build --layers --jobs 2",
        async build(directory, noCache) {
          const flags = [
            "--layers",
            "--jobs",
            "2",
            "--network",
            "none",
            "--pull=never",
            "-q",
            ...(noCache ? ["--no-cache"] : []),
          ];
          await podman.run("build", ...flags, "-t", "bench", directory);
        },
      };
    });
  }
  const titles: Record<Case, string> = {
    cold: "Nothing in the cache, the context never seen",
    cached: "Everything in the cache",
    "one file changed": `One of ${FILES} files changed`,
  };
  for (const kind of ["cold", "cached", "one file changed"] as const) {
    say(kind);
    const subjects: Subject[] = [];
    for (const builder of builders) {
      const subject = await attempt(builder.name, async () => {
        // What is there before the first of the others.
        await builder.build(original, false);
        return subjectOf(builder, kind, contexts, original);
      });
      if (isAbsent(subject)) absent.push(subject);
      else subjects.push(subject);
    }
    const measured = await measure(subjects, Math.min(plan.rounds, 5), kind === "cached" ? 2 : 0, () => {});
    const renamed = measured.map((one) => ({
      ...one,
      subject: { ...one.subject, name: one.subject.name === "inro" ? "inro, API" : one.subject.name },
    }));
    const { title, head, rows } = timeTable(titles[kind], renamed);
    console.log(`${plan.markdown ? "### " : ""}${title}\n\n${table(head, rows)}\n`);
  }
  for (const { name, absent: why } of absent) process.stdout.write(`${name}: ${why}\n`);
}

function subjectOf(builder: BuilderUnderTest, kind: Case, contexts: string, original: string): Subject {
  let count = 0;
  return {
    name: builder.name,
    does: builder.does,
    async run() {
      const fresh = join(
        contexts,
        `${builder.name}-${kind === "cold" ? "cold" : "kept"}-${kind === "cold" ? count : 0}`,
      );
      count++;
      if (kind === "cold") cpSync(original, fresh, { recursive: true });
      const directory = kind === "cold" ? fresh : original;
      if (kind === "one file changed")
        writeFileSync(join(original, "dir-7/file-7"), `${builder.name} ${Math.random()}\n`);
      const begin = performance.now();
      await builder.build(directory, kind === "cold");
      const time = performance.now() - begin;
      if (kind === "cold") rmSync(fresh, { recursive: true });
      return time;
    },
  };
}

function fill(directory: string): void {
  mkdirSync(directory, { recursive: true });
  writeFileSync(join(directory, "Dockerfile"), DOCKERFILE);
  for (let at = 0; at < FILES; at++) {
    const below = join(directory, `dir-${at % 50}`);
    mkdirSync(below, { recursive: true });
    writeFileSync(join(below, `file-${at}`), `content of file ${at}\n`.repeat(20));
  }
}

async function command(argv: string[], env: Record<string, string | undefined> = environment()): Promise<void> {
  const child = Bun.spawn(argv, { env, stdin: "ignore", stdout: "ignore", stderr: "pipe" });
  const [text, code] = await Promise.all([new Response(child.stderr).text(), child.exited]);
  if (code !== 0) throw new Error(`${argv[0]} build: ${text.trim().slice(-500)}`);
}
