import type { BuildEvent, BuildVertex } from "../../spec/build.ts";
import { humanSize } from "../human.ts";
import type { Output } from "../output.ts";
import { terminalSize } from "../terminal.ts";

/** Shows how a build goes. */
export interface BuildProgress {
  event(event: BuildEvent): void;
  /** Everything is written; with the step that failed, its last lines are shown. */
  finish(failed?: string): Promise<void>;
}

const LAST_LINES = 10;
/** A terminal's cursor is not a command's to move. */
const clean = (text: string) => text.replace(/[\x00-\x08\x0b-\x1f\x7f]/g, "");

interface Known {
  number: number;
  vertex: BuildVertex;
  /** Text after the last line end. */
  rest: string;
  lines: string[];
  decoder: TextDecoder;
  status: string;
}

/** What all forms keep. */
abstract class Base implements BuildProgress {
  protected readonly known = new Map<string, Known>();
  protected readonly begun = Date.now();
  protected writing: Promise<void> = Promise.resolve();

  constructor(protected readonly output: Output) {}

  event({ vertexes = [], logs = [], statuses = [], warnings = [] }: BuildEvent): void {
    for (const vertex of vertexes) {
      const before = this.known.get(vertex.digest);
      const one = before ?? {
        number: this.known.size + 1,
        vertex,
        rest: "",
        lines: [],
        decoder: new TextDecoder(),
        status: "",
      };
      const wasDone = before?.vertex.completed !== undefined;
      one.vertex = vertex;
      this.known.set(vertex.digest, one);
      if (!before) this.started(one);
      if (!wasDone && vertex.completed !== undefined) this.completed(one);
    }
    for (const { vertex, data, timestamp } of logs) {
      const one = this.known.get(vertex);
      if (!one) continue;
      const bytes = typeof data === "string" ? Buffer.from(data, "base64") : data;
      const parts = (one.rest + one.decoder.decode(bytes, { stream: true })).split("\n");
      one.rest = parts.pop()!;
      for (const line of parts) this.#line(one, line, timestamp);
    }
    for (const { vertex, id, current } of statuses) {
      const one = this.known.get(vertex);
      if (one) one.status = `${id} ${humanSize(current)}`;
    }
    for (const warning of warnings) this.warned(warning.short);
  }

  async finish(failed?: string): Promise<void> {
    for (const one of this.known.values()) if (one.rest !== "") this.#line(one, one.rest, Date.now());
    if (failed !== undefined) {
      const one = [...this.known.values()].find(({ vertex }) => vertex.name === failed && vertex.error !== undefined);
      if (one) {
        const lines = one.lines.slice(-LAST_LINES).map((line) => `${line}\n`);
        this.write(`------\n > ${clean(one.vertex.name)}:\n${lines.join("")}------\n`);
      }
    }
    await this.writing;
  }

  protected started(_: Known): void {}
  protected completed(_: Known): void {}
  protected line(_: Known, _line: string): void {}
  protected warned(_: string): void {}

  protected write(text: string): void {
    this.writing = this.writing.then(() => this.output.write(text)).catch(() => {});
  }

  #line(one: Known, text: string, timestamp: number): void {
    const since = (timestamp - (one.vertex.started ?? this.begun)) / 1000;
    // What a carriage return overwrites is not seen on a terminal either.
    const shown = clean(text.replace(/\r+$/, "").split("\r").at(-1)!);
    const line = `${Math.max(0, since).toFixed(3)} ${shown}`;
    one.rest = "";
    one.lines.push(line);
    if (one.lines.length > 1000) one.lines.splice(0, 500);
    this.line(one, line);
  }
}

/** Lines as they come. */
export class PlainProgress extends Base {
  #last: Known | undefined;

  protected override started(one: Known): void {
    this.#switch(one);
    this.write(`#${one.number} ${clean(one.vertex.name)}\n`);
  }

  protected override completed(one: Known): void {
    const { cached, error, started = 0, completed = 0 } = one.vertex;
    this.#switch(one);
    if (one.status !== "") this.write(`#${one.number} ${one.status} done\n`);
    if (error !== undefined)
      this.write(`#${one.number} ${error === "canceled" ? "CANCELED" : `ERROR: ${clean(error)}`}\n`);
    else if (cached) this.write(`#${one.number} CACHED\n`);
    else this.write(`#${one.number} DONE ${((completed - started) / 1000).toFixed(1)}s\n`);
  }

  protected override line(one: Known, line: string): void {
    this.#switch(one);
    this.write(`#${one.number} ${line}\n`);
  }

  protected override warned(text: string): void {
    this.write(`\nWARN: ${clean(text)}\n`);
  }

  /** Output of another vertex begins with an empty line, and its name. */
  #switch(one: Known): void {
    if (this.#last === one) return;
    const again = this.#last !== undefined && one.lines.length > 0;
    if (this.#last !== undefined) this.write("\n");
    if (again) this.write(`#${one.number} ${clean(one.vertex.name)}\n`);
    this.#last = one;
  }
}

/** A picture of the whole, drawn anew while it changes. */
export class TerminalProgress extends Base {
  #drawn = 0;
  readonly #timer: NodeJS.Timeout;
  readonly #warnings: string[] = [];

  constructor(output: Output) {
    super(output);
    this.#timer = setInterval(() => this.#draw(false), 150);
  }

  override async finish(failed?: string): Promise<void> {
    clearInterval(this.#timer);
    this.#draw(true);
    for (const text of this.#warnings) this.write(`WARN: ${text}\n`);
    await super.finish(failed);
  }

  protected override warned(text: string): void {
    this.#warnings.push(clean(text));
  }

  #draw(all: boolean): void {
    const { w = 80, h = 24 } = terminalSize() ?? {};
    const vertices = [...this.known.values()];
    const done = vertices.filter(({ vertex }) => vertex.completed !== undefined);
    const seconds = (from: number, to: number) => `${((to - from) / 1000).toFixed(1)}s`;
    const finished = all && done.length === vertices.length;
    const lines = [
      `[+] Building ${seconds(this.begun, Date.now())} (${done.length}/${vertices.length})${finished ? " FINISHED" : ""}`,
    ];
    for (const { vertex, lines: logs } of vertices) {
      const { name, started, completed, cached, error } = vertex;
      const state = error !== undefined ? (error === "canceled" ? "CANCELED " : "ERROR ") : cached ? "CACHED " : "";
      const time = seconds(started ?? Date.now(), completed ?? Date.now());
      const room = w - time.length - 6;
      lines.push(` => ${`${state}${clean(name)}`.slice(0, room).padEnd(room)} ${time}`);
      if (completed === undefined && !all) {
        for (const line of logs.slice(-4)) lines.push(` => => # ${line}`.slice(0, w - 1));
      }
    }
    const shown = all ? lines : [lines[0]!, ...lines.slice(1).slice(-(h - 2))];
    const up = this.#drawn > 0 ? `\x1b[${this.#drawn}A\r` : "";
    this.write(`${up}\x1b[J${shown.map((line) => `${line}\n`).join("")}`);
    this.#drawn = shown.length;
  }
}

/** Every event as a line of JSON, in BuildKit's form. */
export class RawJsonProgress implements BuildProgress {
  #writing: Promise<void> = Promise.resolve();
  constructor(private readonly output: Output) {}

  event({ plan: _, ...event }: BuildEvent): void {
    if (Object.keys(event).length === 0) return;
    const time = (value: number | undefined) => (value === undefined ? undefined : new Date(value).toISOString());
    const line = {
      ...event,
      ...(event.vertexes && {
        vertexes: event.vertexes.map((one) => ({ ...one, started: time(one.started), completed: time(one.completed) })),
      }),
      ...(event.logs && { logs: event.logs.map((one) => ({ ...one, timestamp: time(one.timestamp) })) }),
      ...(event.statuses && { statuses: event.statuses.map((one) => ({ ...one, timestamp: time(one.timestamp) })) }),
    };
    this.#writing = this.#writing.then(() => this.output.line(JSON.stringify(line))).catch(() => {});
  }

  async finish(): Promise<void> {
    await this.#writing;
  }
}

export class NoProgress extends Base {}
