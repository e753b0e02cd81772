import type { BuildEvent, BuildVertex } from "../spec/build.ts";
import { inputsOf, type Vertex } from "./graph.ts";

/** Tells of vertices while they are worked on. */
export class Progress {
  readonly #told = new Map<string, BuildVertex>();

  /** `scope` tells pieces of work that are no steps from those of others. */
  constructor(
    private readonly report: (event: BuildEvent) => void,
    private readonly scope = "build",
  ) {}

  send(event: BuildEvent): void {
    this.report(event);
  }

  started(one: Pick<BuildVertex, "digest" | "name"> & { inputs?: string[] }): void {
    if (this.#told.has(one.digest)) return;
    this.#tell({ digest: one.digest, inputs: one.inputs ?? [], name: one.name, started: Date.now() });
  }

  completed(digest: string, more: { cached?: boolean; error?: string } = {}): void {
    const vertex = this.#told.get(digest);
    if (!vertex || vertex.completed !== undefined) return;
    this.#tell({ ...vertex, ...more, completed: Date.now() });
  }

  log(vertex: string, stream: 1 | 2, data: Uint8Array): void {
    this.report({ logs: [{ vertex, stream, data, timestamp: Date.now() }] });
  }

  status(vertex: string, id: string, current: number, total?: number): void {
    this.report({
      statuses: [{ id, vertex, current, timestamp: Date.now(), ...(total === undefined ? {} : { total }) }],
    });
  }

  /** One piece of work that is no step: loading, exporting. */
  async during<T>(name: string, work: (digest: string) => Promise<T>, cached?: (result: T) => boolean): Promise<T> {
    const digest = `${this.scope}:${this.#told.size}:${name}`;
    this.started({ digest, name });
    try {
      const result = await work(digest);
      this.completed(digest, cached?.(result) ? { cached: true } : {});
      return result;
    } catch (error) {
      this.completed(digest, { error: error instanceof Error ? error.message : String(error) });
      throw error;
    }
  }

  #tell(vertex: BuildVertex): void {
    this.#told.set(vertex.digest, vertex);
    this.report({ vertexes: [vertex] });
  }
}

/** A vertex of the graph, as progress names it. */
export function named(one: Vertex): { digest: string; name: string; inputs: string[] } {
  return { digest: one.digest, name: one.name, inputs: inputsOf(one).map(({ digest }) => digest) };
}
