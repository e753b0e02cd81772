/** Progress of a build, in BuildKit's status model (api/services/control/control.proto, StatusResponse). Times are milliseconds since 1970. */

export interface BuildVertex {
  /** Names the step in one build. */
  digest: string;
  inputs: string[];
  name: string;
  started?: number;
  completed?: number;
  cached?: boolean;
  error?: string;
}

/** How far a part of a vertex is: bytes, or neither number where they are not known. */
export interface BuildStatus {
  id: string;
  vertex: string;
  name?: string;
  current: number;
  total?: number;
  timestamp: number;
  started?: number;
  completed?: number;
}

export interface BuildLog {
  vertex: string;
  stream: 1 | 2;
  data: Uint8Array;
  timestamp: number;
}

export interface BuildWarning {
  vertex?: string;
  /** Name of the build check, or none. */
  rule?: string;
  short: string;
  detail?: string;
  url?: string;
  /** File, and the 1-based lines it is about. */
  file?: string;
  line?: number;
  endLine?: number;
}

export interface BuildEvent {
  vertexes?: BuildVertex[];
  statuses?: BuildStatus[];
  logs?: BuildLog[];
  warnings?: BuildWarning[];
  /** Sent once: the instructions of all stages that are built, in order, each with the vertex that is its work, if any. */
  plan?: { code: string; vertex?: string }[];
}

/** Of GET /system/df and `inro builder du`. */
export interface BuildCacheItem {
  ID: string;
  Parents?: string[];
  Type: "regular" | "source.local" | "exec.cachemount" | "source.git.checkout" | "internal" | "frontend";
  Description: string;
  InUse: boolean;
  /** With an image: removing it frees nothing. */
  Shared: boolean;
  Size: number;
  CreatedAt: string;
  LastUsedAt: string | null;
  UsageCount: number;
}

export interface BuildPruneResponse {
  CachesDeleted: string[] | null;
  SpaceReclaimed: number;
}
