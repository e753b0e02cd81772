import type { StoredLayer } from "../../images/store.ts";
import type { BuildWarning } from "../../spec/build.ts";
import type { ImageConfig, Platform } from "../../spec/oci-image.ts";
import type { Vertex } from "../graph.ts";

/** What `FROM` and `--from` may name besides stages: given by `--build-context`. */
export type NamedContext =
  | { readonly kind: "files" }
  | { readonly kind: "image"; readonly reference: string }
  | { readonly kind: "stage"; readonly target: string }
  | { readonly kind: "git"; readonly reference: string }
  | { readonly kind: "http"; readonly url: string };

/** An image that is here, with what a build on it needs. */
export interface BaseImage {
  /** The whole name. */
  readonly reference: string;
  readonly id: string;
  readonly config: ImageConfig;
  readonly layers: readonly StoredLayer[];
}

/** What turns a Dockerfile into a graph besides its text. */
export interface FrontendOptions {
  readonly target?: string;
  /** `--build-arg`: undefined is a name without a value that the client has none for either. */
  readonly args: ReadonlyMap<string, string>;
  readonly platform: Platform;
  readonly buildPlatform: Platform;
  /** Several platforms are built: progress says which. */
  readonly multiPlatform: boolean;
  readonly labels: ReadonlyMap<string, string>;
  /** True, or the names of the stages. */
  readonly noCache: boolean | ReadonlySet<string>;
  readonly contexts: ReadonlyMap<string, NamedContext>;
  /** False: the Dockerfile came alone. */
  readonly hasContext: boolean;
  /** Entitlements that the client gives: `network.host`, `security.insecure`. */
  readonly allow: ReadonlySet<string>;
  /** The default of RUN. */
  readonly network: "default" | "none" | "host";
  /** Names of images, made local first. */
  resolve(reference: string, platform: Platform): Promise<BaseImage>;
}

/** One entry of the image's history. With a `vertex`, whether it has a layer is known when that is done. */
export interface PlannedHistory {
  readonly createdBy: string;
  readonly vertex?: Vertex;
  readonly comment?: string;
}

/** A Dockerfile as a graph, and the image that comes of it. */
export interface Plan {
  readonly target: Vertex;
  readonly platform: Platform;
  /** All of the image's configuration but rootfs, times and history. */
  readonly image: Pick<ImageConfig, "architecture" | "os" | "variant" | "author" | "config">;
  /** Of the base image. */
  readonly inherited: NonNullable<ImageConfig["history"]>;
  readonly history: readonly PlannedHistory[];
  /** Seconds since 1970: the image's time. */
  readonly epoch: number;
  readonly warnings: readonly BuildWarning[];
  /** All instructions of the stages that are needed, in the file's order. */
  readonly steps: readonly { readonly code: string; readonly vertex?: Vertex }[];
  /** `--build-arg`s that nothing asked for. */
  readonly unusedArgs: readonly string[];
}
