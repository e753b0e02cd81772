/**
 * `npm run conformance [-- [--vm] WORD...]`: the cases (those whose name has one of the words; those for a machine with
 * cgroup v2 alone) on inro-runtime, crun and runc, as one table with the reason of each difference. INRO_TEST_RUNTIME may
 * name other runtimes, by spaces.
 */
import { cannotRun } from "../bundle.ts";
import type { Case } from "./case.ts";
import { CASES } from "./cases.ts";
import { type Outcome, Suite } from "./run.ts";
import { type Named, runtimeNamed } from "./runtimes.ts";

if (cannotRun) {
  console.error(`conformance: ${cannotRun}`);
  process.exit(1);
}

const asked = (process.env.INRO_TEST_RUNTIME ?? "inro crun runc").split(/\s+/).filter(Boolean);
const runtimes = asked.map((name) => runtimeNamed(name) ?? name);
const there = runtimes.filter((one) => typeof one !== "string");
for (const one of runtimes) {
  console.log(typeof one === "string" ? `${one}: not installed` : `${one.name}: ${one.version}`);
}

const flags = process.argv.slice(2).filter((word) => word.startsWith("--"));
const words = process.argv.slice(2).filter((word) => !word.startsWith("--"));
const cases = CASES.filter(
  ({ name, vm }) =>
    (words.length === 0 || words.some((word) => name.includes(word))) && (vm === true || !flags.includes("--vm")),
);
if (cases.length === 0 || flags.some((flag) => flag !== "--vm")) {
  console.error("usage: npm run conformance [-- [--vm] WORD...]: no case has any of the words, or an unknown flag");
  process.exit(1);
}
const columns = new Map<Named, Map<Case, Outcome>>();
for (const named of there) {
  const suite = await Suite.open(named);
  const outcomes = await Promise.all(cases.map(async (one) => [one, await suite.outcome(one)] as const));
  await suite.close();
  columns.set(named, new Map(outcomes));
}

const width = Math.max(...cases.map(({ name }) => name.length));
const cell = (outcome: Outcome) => (outcome.result === "failed" ? "FAILED" : outcome.result).padEnd(7);
console.log(`\n${"case".padEnd(width)}  ${there.map(({ name }) => name.padEnd(7)).join(" ")}`);
const surprises: string[] = [];
for (const one of cases) {
  const outcomes = there.map((named) => ({ named, outcome: columns.get(named)!.get(one)! }));
  console.log(`${one.name.padEnd(width)}  ${outcomes.map(({ outcome }) => cell(outcome)).join(" ")}`.trimEnd());
  if (one.missing) console.log(`    ${one.missing}`);
  for (const { named, outcome } of outcomes) {
    const reason = one.differs?.[named.kind];
    if (outcome.result === "failed" && reason) console.log(`    ${named.name}: ${reason}`);
    if (outcome.result === "failed" && !reason) {
      surprises.push(`${named.name}: ${one.name} (${one.spec}): ${outcome.text}`);
    }
    if (outcome.result === "ok" && reason) surprises.push(`${named.name}: ${one.name}: passes, though: ${reason}`);
  }
}

console.log("");
for (const named of there) {
  const results = [...columns.get(named)!.values()].map(({ result }) => result);
  const count = (wanted: Outcome["result"]) => results.filter((result) => result === wanted).length;
  console.log(`${named.name}: ${count("ok")} passed, ${count("failed")} failed, ${count("skip")} skipped`);
}
if (surprises.length > 0) console.log(`\nnot as noted beside the cases:\n\n${surprises.join("\n\n")}`);
process.exit(surprises.length > 0 ? 1 : 0);
