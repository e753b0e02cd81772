import type { Filters } from "./requests.ts";

/** GET /volumes/{name}. */
export interface Volume {
  Name: string;
  Driver: "local";
  Mountpoint: string;
  CreatedAt: string;
  Labels: Record<string, string>;
  Scope: "local";
  Options: Record<string, string>;
}

/** Directories that outlive containers: <data-root>/volumes/<name>/_data. */
export interface Volumes {
  /** `body` is the untrusted VolumeCreateRequest; the same name again answers with the existing one. */
  create(body: unknown): Promise<Volume>;
  list(filters?: Filters): Volume[];
  inspect(name: string): Volume;
  /** In use by a container: conflict. `force` ignores a missing one. */
  remove(name: string, options?: { force?: boolean }): Promise<void>;
  prune(filters?: Filters): Promise<{ VolumesDeleted: string[]; SpaceReclaimed: number }>;
}
