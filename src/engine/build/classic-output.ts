import type { BuildEvent, BuildVertex } from "../../spec/build.ts";

/** The lines of the classic builder, from a build's events: steps one after the other, though they ran side by side. */
export class ClassicOutput {
  #steps: { code: string; vertex?: string }[] = [];
  #at = 0;
  /** Whether the step's first line is out. */
  #begun = false;
  readonly #vertices = new Map<string, BuildVertex>();
  readonly #logs = new Map<string, string[]>();
  readonly #decoders = new Map<string, TextDecoder>();

  constructor(private readonly write: (text: string) => void) {}

  event({ plan, vertexes = [], logs = [], warnings = [] }: BuildEvent): void {
    if (plan) this.#steps = plan;
    for (const vertex of vertexes) this.#vertices.set(vertex.digest, vertex);
    for (const { vertex, stream, data } of logs) {
      const key = `${vertex} ${stream}`;
      const decoder = this.#decoders.get(key) ?? new TextDecoder();
      this.#decoders.set(key, decoder);
      const text = decoder.decode(data, { stream: true });
      if (text !== "") this.#logs.set(vertex, [...(this.#logs.get(vertex) ?? []), text]);
    }
    for (const { short } of warnings) this.write(`${short.startsWith("[Warning]") ? short : `[Warning] ${short}`}\n`);
    this.#advance();
  }

  /** All is done: the steps that nothing was heard of had nothing to do. */
  finish(): void {
    while (this.#at < this.#steps.length) this.#next(this.#steps[this.#at]!);
  }

  #advance(): void {
    for (;;) {
      const step = this.#steps[this.#at];
      if (!step) return;
      const vertex = step.vertex === undefined ? undefined : this.#vertices.get(step.vertex);
      if (step.vertex !== undefined && vertex?.completed === undefined) {
        if (vertex?.started !== undefined) {
          this.#begin(step);
          this.#flush(step.vertex);
        }
        return;
      }
      if (vertex?.error !== undefined) {
        this.#begin(step);
        this.#flush(vertex.digest);
        this.#steps = [];
        return;
      }
      this.#next(step);
    }
  }

  #begin({ code }: { code: string }): void {
    if (this.#begun) return;
    this.#begun = true;
    this.write(`Step ${this.#at + 1}/${this.#steps.length} : ${code}\n`);
  }

  #next(step: { code: string; vertex?: string }): void {
    this.#begin(step);
    const vertex = step.vertex === undefined ? undefined : this.#vertices.get(step.vertex);
    if (vertex?.cached && !/ FROM /.test(vertex.name)) this.write(" ---> Using cache\n");
    if (step.vertex !== undefined) {
      this.#flush(step.vertex);
      this.write(` ---> ${step.vertex.replace("sha256:", "").slice(0, 12)}\n`);
    }
    this.#at++;
    this.#begun = false;
  }

  #flush(vertex: string): void {
    for (const text of this.#logs.get(vertex) ?? []) this.write(text);
    this.#logs.delete(vertex);
  }
}
