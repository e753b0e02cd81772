/** One of those that are compared. */
export interface Subject {
  /** As the table names it. */
  readonly name: string;
  /** What exactly one run of it does. */
  readonly does: string;
  /** One container from nothing to nothing: the milliseconds of the part that counts, or all that it cost. */
  run(): number | Cost | Promise<number | Cost>;
  /** Bytes of memory that one run has at most, in a run of its own. */
  peak?(): Promise<number>;
}

/** Of one run: milliseconds by the clock, and of processor time. */
export interface Cost {
  readonly ms: number;
  readonly cpu: number;
}

/** One that cannot be measured on this machine, with the reason. */
export interface Absent {
  readonly name: string;
  readonly absent: string;
}

export function isAbsent(subject: Subject | Absent): subject is Absent {
  return "absent" in subject;
}

/** The subject that `open` makes, or its failure as the reason why it is absent. */
export async function attempt<T extends Subject>(name: string, open: () => T | Promise<T>): Promise<T | Absent> {
  try {
    return await open();
  } catch (error) {
    return { name, absent: (error instanceof Error ? error.message : String(error)).trim().split("\n").at(-1)! };
  }
}

export interface Measured {
  readonly subject: Subject;
  readonly times: number[];
  /** Of subjects that tell them. */
  readonly cpu: number[];
}

/**
 * Interleaved: each round runs every subject once, in an order of its own, so that noise, caches and what the one
 * before left behind hit all alike. The warm-up rounds are not counted.
 */
export async function measure(
  subjects: readonly Subject[],
  rounds: number,
  warmUp: number,
  onRound: (round: number) => void,
): Promise<Measured[]> {
  const measured = subjects.map((subject): Measured => ({ subject, times: [], cpu: [] }));
  for (let round = -warmUp; round < rounds; round++) {
    onRound(round);
    for (const { subject, times, cpu } of shuffled(measured)) {
      const cost = await subject.run();
      if (round < 0) continue;
      if (typeof cost === "number") times.push(cost);
      else {
        times.push(cost.ms);
        cpu.push(cost.cpu);
      }
    }
  }
  return measured;
}

function shuffled<T>(list: readonly T[]): T[] {
  const order = [...list];
  for (let i = order.length - 1; i > 0; i--) {
    const j = Math.floor(Math.random() * (i + 1));
    [order[i], order[j]] = [order[j]!, order[i]!];
  }
  return order;
}
