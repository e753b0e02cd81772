/** What a build says of itself for its provenance. All of it is published with the image: no secrets. */
export interface BuildFacts {
  /** Where the Dockerfile's text came from; "Dockerfile" of a local context. */
  dockerfile: string;
  /** Stage that was asked for. */
  target?: string;
  platform: string;
  /** Values of --build-arg; only with `mode` max, since people put secrets there. */
  args?: Readonly<Record<string, string>>;
  labels?: Readonly<Record<string, string>>;
  /** What was fetched: images by name and digest, URLs, git commits. */
  materials: readonly { uri: string; digest: Readonly<Record<string, string>> }[];
  /** RFC 3339. Left out by a build that is to be the same each time. */
  started?: string;
  finished?: string;
  /** Names one invocation. */
  invocation?: string;
}

export const IN_TOTO_STATEMENT = "https://in-toto.io/Statement/v1";
export const SLSA_PROVENANCE = "https://slsa.dev/provenance/v1";
export const SPDX_PREDICATE = "https://spdx.dev/Document";
export const CYCLONEDX_PREDICATE = "https://cyclonedx.org/bom";

const BUILDER = "https://inro.dev/builder/v1";
const BUILD_TYPE = "https://inro.dev/dockerfile/v1";

/** The predicate of SLSA v1 provenance (slsa.dev/spec/v1.0/provenance). `mode` max has build arguments too. */
export function provenance(build: BuildFacts, mode: "min" | "max" = "min"): object {
  const { dockerfile, target, platform, args, labels, started, finished, invocation } = build;
  return {
    buildDefinition: {
      buildType: BUILD_TYPE,
      externalParameters: {
        dockerfile,
        platform,
        ...(target === undefined ? {} : { target }),
        ...(mode === "max" && args ? { args: sorted(args) } : {}),
        ...(mode === "max" && labels ? { labels: sorted(labels) } : {}),
      },
      internalParameters: {},
      resolvedDependencies: [...build.materials]
        .map(({ uri, digest }) => ({ uri, digest: sorted(digest) }))
        .toSorted((a, b) => (a.uri < b.uri ? -1 : a.uri > b.uri ? 1 : 0)),
    },
    runDetails: {
      builder: { id: BUILDER },
      metadata: {
        ...(invocation === undefined ? {} : { invocationId: invocation }),
        ...(started === undefined ? {} : { startedOn: started }),
        ...(finished === undefined ? {} : { finishedOn: finished }),
      },
    },
  };
}

/** An in-toto statement about images (in-toto attestation framework v1). */
export function statement(
  subjects: readonly { name: string; digest: string }[],
  predicateType: string,
  predicate: object,
): object {
  return {
    _type: IN_TOTO_STATEMENT,
    predicateType,
    subject: subjects.map(({ name, digest }) => {
      const [algorithm, value] = digest.split(":") as [string, string];
      return { name, digest: { [algorithm]: value } };
    }),
    predicate,
  };
}

function sorted<T>(record: Readonly<Record<string, T>>): Record<string, T> {
  return Object.fromEntries(Object.entries(record).toSorted(([a], [b]) => (a < b ? -1 : 1)));
}
