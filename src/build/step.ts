import type { Hierarchy } from "../cgroups/hierarchy.ts";
import type { ContentStore } from "../content/store.ts";
import type { Hold } from "../images/holds.ts";
import type { StoredLayer } from "../images/store.ts";
import type { Layers } from "../layers/layers.ts";
import type { Mount, Spec } from "../spec/oci-runtime.ts";

/** What the graph (solver) and the operations (ops/) have in common. */

/** A root file system: its layers, base first, each in the content store and unpacked. */
export interface Snapshot {
  readonly layers: readonly StoredLayer[];
}

export const SCRATCH: Snapshot = { layers: [] };

/** Where files are taken from. `path` of a directory is the engine's own: nobody else changes it meanwhile. */
export type FileSource =
  | { readonly kind: "directory"; readonly path: string }
  | { readonly kind: "snapshot"; readonly snapshot: Snapshot };

/** The network of a RUN step, and the files that go with it. */
export interface StepNetwork {
  /** Descriptor of a network namespace; without one `default` is `none`. */
  readonly namespace?: number;
  readonly hosts: string;
  readonly resolvConf: string;
  release(): Promise<void>;
}

/** A directory that outlives its step; `release` gives it back. */
export interface CacheMountLease {
  readonly path: string;
  release(): void;
}

/** What is said of a step's container to whoever makes its OCI config. */
export interface StepContainer {
  readonly id: string;
  readonly step: RunStep;
  /** Directories of its root, top first: for its passwd and group. */
  readonly directories: readonly string[];
  /** Host paths. */
  readonly files: { readonly hostname: string; readonly hosts: string; readonly resolv: string };
  /** Parents first; they take the place of what every container has at the same path. */
  readonly mounts: readonly Mount[];
  /** `given`: at FD.network of the runtime. */
  readonly network: "host" | "none" | "given";
}

/** What a step may use of its surroundings. The engine gives it; tests give their own. */
export interface StepContext {
  readonly content: ContentStore;
  readonly layers: Layers;
  readonly hierarchy: Hierarchy;
  /** Keeps what a step makes until its build has recorded it. */
  readonly hold: Hold;
  /** Steps keep their working files here; each removes its own. */
  readonly directory: string;
  readonly signal: AbortSignal;
  /** Cgroup path, above those of the steps. */
  readonly cgroup: string;
  /** Seconds since 1970: no file of a layer is younger. Undefined: times stay as they are. */
  readonly epoch: number | undefined;
  /** Output of a command, and of what is fetched. */
  log(stream: 1 | 2, bytes: Uint8Array): void;
  network(mode: "default" | "none" | "host"): Promise<StepNetwork>;
  /** With what every container of the engine has by default. Errors are those of a container's start. */
  spec(container: StepContainer): Spec;
  /** Undefined when the client has none of that id. Never kept longer than the step. */
  secret(id: string): Promise<Uint8Array | undefined>;
  /** Path of a socket that reaches the client's agent; undefined when it has none of that id. */
  agent(id: string): Promise<string | undefined>;
  cacheMount(
    id: string,
    sharing: "shared" | "private" | "locked",
    fill: ((directory: string) => Promise<void>) | undefined,
  ): Promise<CacheMountLease>;
}

export type RunMount =
  | {
      readonly type: "bind";
      readonly target: string;
      readonly source: FileSource;
      readonly path: string;
      readonly readOnly: boolean;
    }
  | {
      readonly type: "cache";
      readonly target: string;
      readonly id: string;
      readonly sharing: "shared" | "private" | "locked";
      /** What a new cache begins with. */
      readonly from?: { readonly source: FileSource; readonly path: string };
      readonly readOnly: boolean;
      readonly mode: number;
      readonly uid: number;
      readonly gid: number;
    }
  | { readonly type: "tmpfs"; readonly target: string; readonly size?: number }
  | {
      readonly type: "secret";
      readonly id: string;
      /** One of both, or both. */
      readonly target?: string;
      readonly env?: string;
      readonly required: boolean;
      readonly mode: number;
      readonly uid: number;
      readonly gid: number;
    }
  | {
      readonly type: "ssh";
      readonly id: string;
      readonly target: string;
      readonly required: boolean;
      readonly mode: number;
      readonly uid: number;
      readonly gid: number;
    };

export interface RunStep {
  readonly args: readonly string[];
  readonly env: readonly string[];
  /** Made when it is missing. */
  readonly cwd: string;
  /** As in an image's config: name or number, of the image's own files. */
  readonly user: string;
  readonly hostname: string;
  readonly network: "default" | "none" | "host";
  /** `--security=insecure`: all capabilities, no filter. */
  readonly insecure: boolean;
  readonly mounts: readonly RunMount[];
  readonly limits?: {
    readonly memory?: number;
    readonly memorySwap?: number;
    readonly cpuPeriod?: number;
    readonly cpuQuota?: number;
    readonly cpuShares?: number;
    readonly cpusetCpus?: string;
    readonly cpusetMems?: string;
  };
  readonly shmSize?: number;
  /** By docker's names: `nofile`. */
  readonly ulimits?: readonly { readonly name: string; readonly soft: number; readonly hard: number }[];
}

/** What ADD has fetched: a file in the content store, kept by the hold of its context. */
export interface Download {
  readonly digest: string;
  readonly path: string;
  /** A plain file name. */
  readonly name: string;
  /** Seconds since 1970, of Last-Modified. */
  readonly mtime?: number;
  readonly etag?: string;
}

/** What a COPY or ADD takes, in order. */
export type CopyItem =
  | { readonly kind: "files"; readonly source: FileSource; readonly paths: readonly string[] }
  /** A heredoc, or what was fetched: one file at the engine's own `path` or with these bytes. */
  | { readonly kind: "file"; readonly name: string; readonly content: Uint8Array; readonly mode: number }
  | { readonly kind: "download"; readonly name: string; readonly path: string; readonly mtime?: number };

export interface CopyStep {
  readonly items: readonly CopyItem[];
  /** Absolute, cleaned; a trailing slash says directory. */
  readonly destination: string;
  /** As written, expanded: user[:group], names from the base image's files. */
  readonly chown?: string;
  /** As written, expanded: octal, or symbolic as of Dockerfile 1.14. */
  readonly chmod?: string;
  readonly parents: boolean;
  readonly excludes: readonly string[];
  /** ADD: archives of the context are unpacked (those downloaded with `--unpack` only). */
  readonly unpack: "never" | "local" | "always";
  /** COPY --link: the layer stands on nothing, symlinks of the base are not followed. */
  readonly link: boolean;
}
