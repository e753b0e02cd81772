/**
 * `POST /inro/build`, inro's own request for a build. Its body is a {@link BuildBody}; the connection is upgraded, and
 * then carries frames both ways: one byte of type, four bytes of a number (big endian), four bytes of length, payload.
 *
 *     client -> engine   listing (context), data, end, refuse (of an ask), answer (of an ask)
 *     engine -> client   event, ask, data, end, done or failed
 *
 * The listing of the main context comes unasked. An `ask` names its answer's number.
 */
export const BUILD_FRAME = {
  /** JSON: {@link BuildEvent}, its log data in base64. */
  event: 1,
  /** JSON: {@link BuildAsk}. */
  ask: 2,
  /** Bytes of a stream. */
  data: 3,
  /** A stream is over. */
  end: 4,
  /** JSON: {@link BuildDone}. */
  done: 5,
  /** JSON: {@link BuildFailure}. */
  failed: 6,
  /** A context's files, as {@link listing} text; the number is of the context. */
  listing: 7,
  /** What was asked for is not there, or failed: its text. */
  refuse: 8,
} as const;

/** What the engine wants of the client; `id` numbers the stream of the answer. */
export type BuildAsk =
  /** A tar of these entries of a context's listing. */
  | { id: number; ask: "files"; context: number; entries: number[] }
  /** All of a secret. */
  | { id: number; ask: "secret"; secret: string }
  /** A connection to an ssh agent: data goes both ways until either side's end. */
  | { id: number; ask: "agent"; agent: string }
  /** The engine sends: what output `index` of the request is to get. `kind` files is a tar to be extracted. */
  | { id: number; ask: "output"; index: number; kind: "file" | "files" }
  /** The engine sends: a tar of the OCI layout that cache `index` of `cacheTo` is to be in. */
  | { id: number; ask: "cache"; index: number };

/** An output that goes to the client. */
export interface BuildOutput {
  type: "image" | "docker" | "oci" | "tar" | "local" | "cacheonly";
  /** Of `docker` and `oci`: where the client puts it. Absent of `docker`: the engine's own images. */
  dest?: string;
  attributes: Record<string, string>;
}

/** In-toto statements that are attached to an image. */
export interface BuildAttestations {
  /** SPDX of the image's packages. */
  sbom?: boolean;
  /** SLSA provenance; `max` has the build arguments and labels too. */
  provenance?: "min" | "max";
}

/** A named build context: the client's files by the number of their listing, or what the engine gets itself. */
export type BuildContextSource =
  | { files: number; key: string }
  | { image: string }
  | { git: string }
  | { http: string }
  /** A tar that the client sends as stream 0 without being asked. */
  | { tar: true };

export interface BuildBody {
  /** Text of the Dockerfile; absent: `dockerfileName` of the context. */
  dockerfile?: string;
  dockerfileName: string;
  /** Absent: there is none. */
  context?: BuildContextSource;
  contexts: Record<string, BuildContextSource>;
  tags: string[];
  target?: string;
  args: Record<string, string>;
  labels: Record<string, string>;
  annotations: string[];
  platforms: string[];
  noCache: boolean;
  noCacheFilter: string[];
  pull: boolean;
  network: string;
  extraHosts: string[];
  shmSize?: number;
  ulimits: { Name: string; Soft: number; Hard: number }[];
  cgroupParent?: string;
  /** Ids that the client has. */
  secrets: string[];
  agents: string[];
  outputs: BuildOutput[];
  /** By their words; of `type=local`, `files` is the number of the directory's listing in place of `src`. */
  cacheFrom: Record<string, string>[];
  cacheTo: Record<string, string>[];
  allow: string[];
  /** Of images that are pushed. */
  attestations?: BuildAttestations;
  /** Only the build checks, or another look at the Dockerfile. */
  call?: "check" | "outline" | "targets";
  /** By registry: X-Registry-Auth's JSON. */
  auths: Record<string, unknown>;
}

export interface BuildDone {
  /** Absent where nothing was made an image of. */
  imageId?: string;
  /** Of the manifest. */
  digest?: string;
  descriptor?: object;
  names: string[];
  /** Of a `call`: what there is to print. */
  printed?: string;
  /** Of a `call`: the exit status. */
  exitCode?: number;
}

export interface BuildFailure {
  message: string;
  kind: string;
  /** The step, and the lines of the Dockerfile that it is. */
  step?: string;
  excerpt?: string;
}

export interface Frame {
  type: number;
  id: number;
  payload: Uint8Array;
}

const HEAD = 9;
const LONGEST = 64 << 20;

export function frame(type: number, id: number, payload: Uint8Array | string = ""): Uint8Array {
  const bytes = typeof payload === "string" ? new TextEncoder().encode(payload) : payload;
  const out = new Uint8Array(HEAD + bytes.length);
  const view = new DataView(out.buffer);
  out[0] = type;
  view.setUint32(1, id);
  view.setUint32(5, bytes.length);
  out.set(bytes, HEAD);
  return out;
}

/** Takes frames out of a stream of bytes that comes in any pieces. */
export class FrameReader {
  #held: Uint8Array[] = [];
  #size = 0;

  push(chunk: Uint8Array): Frame[] {
    this.#held.push(chunk);
    this.#size += chunk.length;
    const frames: Frame[] = [];
    for (;;) {
      if (this.#size < HEAD) return frames;
      const bytes = this.#joined(HEAD);
      const view = new DataView(bytes.buffer, bytes.byteOffset, bytes.byteLength);
      const length = view.getUint32(5);
      if (length > LONGEST) throw new Error(`a frame of ${length} bytes is too long`);
      if (this.#size < HEAD + length) return frames;
      const whole = this.#joined(HEAD + length);
      frames.push({ type: whole[0]!, id: view.getUint32(1), payload: whole.subarray(HEAD, HEAD + length) });
      const rest = whole.subarray(HEAD + length);
      this.#held[0] = rest;
      this.#size -= HEAD + length;
      if (rest.length === 0) this.#held.shift();
    }
  }

  /** The first piece, made to hold at least `size` bytes. */
  #joined(size: number): Uint8Array {
    const [first] = this.#held;
    if (first!.length >= size) return first!;
    const all = Buffer.concat(this.#held);
    this.#held = [all];
    return all;
  }
}

/** One line an entry: JSON of path and stamp. Same stamps are same files. */
export function listing(entries: readonly (readonly [path: string, stamp: string])[]): string {
  return JSON.stringify(entries);
}
