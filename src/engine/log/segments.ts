import fs from "node:fs";
import { basename, dirname } from "node:path";
import { codeOf, messageOf } from "../../base/errors.ts";
import { compressFile, PART } from "./compress-file.ts";
import { openSource, type Source } from "./source.ts";

/** A file of a log. Its number grows from file to file, and stays when its name changes. */
interface Segment {
  readonly number: number;
  path: string;
}

export interface SegmentOptions {
  /** Files kept, the current one included. */
  maxFiles: number;
  /** Whether rotated files are compressed. */
  compress: boolean;
  /** What compressed ones end in. */
  extension: ".gz" | ".zst";
  /** One could not be compressed: it stays as it is. */
  onError?: ((error: unknown) => void) | undefined;
}

/** The files of a log: `<path>`, which is written, and older ones, `<path>.1` upward, compressed or not. */
export class Segments {
  /** Oldest first, the current one last; undefined until they have been looked for. */
  #known: Segment[] | undefined;
  #compressing = Promise.resolve();

  constructor(
    private readonly path: string,
    private readonly options: SegmentOptions,
  ) {}

  /** Opens all as they are, oldest first: rotation does not take them away any more. The caller closes them. */
  open(): { number: number; source: Source }[] {
    return this.#all().flatMap((segment) => {
      const source = tryOpen(segment.path);
      return source ? [{ number: segment.number, source }] : [];
    });
  }

  /** The one after that of `number`, or the oldest that is left; undefined while that is the current one. */
  after(number: number): { number: number; source: Source } | undefined {
    for (const segment of this.#all()) {
      const source = segment.number > number ? tryOpen(segment.path) : undefined;
      if (source) return { number: segment.number, source };
    }
    return undefined;
  }

  /** Of the current one. */
  get number(): number {
    return this.#all().at(-1)!.number;
  }

  /** Resolves when none is being compressed. */
  get settled(): Promise<void> {
    return this.#compressing;
  }

  /** Compresses what an engine that was killed, or one that did not compress, has left. */
  compressRest(): void {
    if (this.options.compress) for (const segment of this.#all().slice(0, -1)) this.#compress(segment);
  }

  /** The current one, which nobody has open for writing, becomes `.1`, and so on; the oldest are removed. */
  rotate(): void {
    const segments = this.#all();
    const { maxFiles, compress, extension } = this.options;
    const number = this.number + 1;
    while (segments.length > Math.max(maxFiles - 1, 0)) fs.rmSync(segments.shift()!.path, { force: true });
    segments.forEach((segment, i) => {
      const path = `${this.path}.${segments.length - i}${segment.path.endsWith(extension) ? extension : ""}`;
      fs.renameSync(segment.path, path);
      segment.path = path;
    });
    const rotated = segments.at(-1);
    segments.push({ number, path: this.path });
    if (compress && rotated) this.#compress(rotated);
  }

  /** Looks for the files once; from then on nobody else changes them. */
  #all(): Segment[] {
    if (this.#known) return this.#known;
    const rotated: string[] = [];
    if (this.options.compress) removeParts(this.path);
    for (let n = 1; ; n++) {
      const plain = `${this.path}.${n}`;
      const compressed = plain + this.options.extension;
      const packed = fs.existsSync(compressed);
      // Both: the engine ended between the one's coming and the other's going.
      if (packed) fs.rmSync(plain, { force: true });
      else if (!fs.existsSync(plain)) break;
      rotated.unshift(packed ? compressed : plain);
    }
    this.#known = [...rotated, this.path].map((path, number) => ({ number, path }));
    return this.#known;
  }

  /** One after the other; the file keeps being read by those who have it open. */
  #compress(segment: Segment): void {
    if (segment.path.endsWith(this.options.extension)) return;
    this.#compressing = this.#compressing.then(async () => {
      const part = `${this.path}.${segment.number}${PART}`;
      try {
        if (!this.#known?.includes(segment)) return;
        await compressFile(segment.path, part, this.options.extension);
        // Renamed meanwhile, or already gone.
        if (!this.#known.includes(segment)) return fs.rmSync(part, { force: true });
        const compressed = segment.path + this.options.extension;
        fs.renameSync(part, compressed);
        fs.rmSync(segment.path, { force: true });
        segment.path = compressed;
      } catch (error) {
        fs.rmSync(part, { force: true });
        // With its directory the log was removed.
        if (fs.existsSync(dirname(this.path)))
          this.options.onError?.(new Error(`compress ${segment.path}: ${messageOf(error)}`));
      }
    });
  }
}

/** What an engine that ended while it compressed has left. */
function removeParts(path: string): void {
  const directory = dirname(path);
  if (!fs.existsSync(directory)) return;
  const own = `${basename(path)}.`;
  for (const name of fs.readdirSync(directory)) {
    if (name.startsWith(own) && name.endsWith(PART)) fs.rmSync(`${directory}/${name}`);
  }
}

function tryOpen(path: string): Source | undefined {
  try {
    return openSource(path);
  } catch (error) {
    if (codeOf(error) === "ENOENT") return undefined;
    throw error;
  }
}
