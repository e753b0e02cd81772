import type { Registries } from "../registry/endpoint.ts";
import type { CreateDefaults } from "./config/create-defaults.ts";
import type { CollectionLimits } from "./image-collection.ts";

/** What of an engine may change while it runs. */
export interface EngineSettings {
  /** `key=value`, shown by GET /info. */
  labels: readonly string[];
  registries: Registries;
  /** What containers get that do not say otherwise. */
  defaults: CreateDefaults;
  imageCollection?: CollectionLimits;
  /** Seconds from a stop signal to SIGKILL for containers that do not say. */
  stopTimeout: number;
}

export const DEFAULT_SETTINGS: EngineSettings = { labels: [], registries: {}, defaults: {}, stopTimeout: 10 };
