import type { HistoryEntry, ImageInspect, ImageSummary } from "../spec/docker-api.ts";
import type { ImageConfig } from "../spec/oci-image.ts";
import type { ImageRow } from "./records.ts";
import { nameOf } from "./remove.ts";
import type { ImageStore } from "./store.ts";

/** One image as the engine sees it. */
export interface ImageRecord {
  /** `sha256:…` of the configuration. */
  id: string;
  config: ImageConfig;
  /** Of its layers, as `Layers.lowers` has them. Asked for each time. */
  readonly layers: readonly string[];
  /** `busybox:latest` */
  tags: string[];
  /** `busybox@sha256:…` */
  digests: string[];
  /** Bytes of the unpacked layers. */
  size: number;
  /** RFC 3339. */
  created: string;
}

export function toRecord({ records, layers }: ImageStore, row: ImageRow): ImageRecord {
  return {
    id: row.id,
    config: row.config,
    // Who only lists images asks for none of the three.
    get layers() {
      return layers.lowers(row.layers.map(({ diffId }) => diffId));
    },
    get tags() {
      return records.tags(row.id).map(nameOf);
    },
    get digests() {
      return records.digests(row.id).map(nameOf);
    },
    size: row.size,
    created: row.created,
  };
}

const unix = (time: string) => Math.max(0, Math.floor(Date.parse(time) / 1000));

/** GET /images/json, but for what only containers know. */
export function toSummary(record: ImageRecord): ImageSummary {
  return {
    Id: record.id,
    ParentId: "",
    RepoTags: record.tags,
    RepoDigests: record.digests,
    Created: unix(record.created),
    Size: record.size,
    SharedSize: -1,
    Labels: record.config.config?.Labels ?? {},
    Containers: -1,
  };
}

export function toInspect(store: ImageStore, row: ImageRow): ImageInspect {
  const { tags, digests, layers } = toRecord(store, row);
  const { config } = row;
  const data: Record<string, string> = layers[0] === undefined ? {} : { UpperDir: layers[0] };
  if (layers.length > 1) data.LowerDir = layers.slice(1).join(":");
  return {
    Id: row.id,
    RepoTags: tags,
    RepoDigests: digests,
    Parent: "",
    Comment: config.history?.at(-1)?.comment ?? "",
    Created: config.created ?? row.created,
    Author: config.author ?? "",
    Config: inspectConfig(config),
    Architecture: config.architecture,
    ...(config.variant === undefined ? {} : { Variant: config.variant }),
    Os: config.os,
    Size: row.size,
    GraphDriver: { Name: "overlay2", Data: data },
    RootFS: { Type: "layers", Layers: config.rootfs.diff_ids },
    Metadata: { LastTagTime: store.records.lastTagged(row.id) ?? "0001-01-01T00:00:00Z" },
  };
}

function inspectConfig({ config = {} }: ImageConfig): ImageInspect["Config"] {
  const filled = { Cmd: null, Entrypoint: null, Volumes: null, ...config };
  return Object.fromEntries(
    Object.entries(filled).filter(([key, value]) => value !== null || key in emptyable),
  ) as ImageInspect["Config"];
}

const emptyable = { Cmd: true, Entrypoint: true, Volumes: true };

/** GET /images/{name}/history: newest first; only the newest entry carries the id. */
export function toHistory({ records, layers }: ImageStore, row: ImageRow): HistoryEntry[] {
  const sizes = row.layers.map((layer) => layers.size(layer.chainId));
  const written = row.config.history ?? [];
  const counted = written.filter((entry) => !entry.empty_layer).length === sizes.length;
  const history = counted ? written : sizes.map(() => ({ created: row.created }) as (typeof written)[number]);
  let next = 0;
  const entries = history.map((entry) => ({
    Id: "<missing>",
    Created: unix(entry.created ?? row.created),
    CreatedBy: entry.created_by ?? "",
    Tags: null as string[] | null,
    Size: entry.empty_layer ? 0 : sizes[next++]!,
    Comment: entry.comment ?? "",
  }));
  const newest = entries.at(-1);
  if (newest) Object.assign(newest, { Id: row.id, Tags: records.tags(row.id).map(nameOf) });
  return entries.reverse();
}
