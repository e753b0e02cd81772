import { sha256 } from "../base/digest.ts";
import { conflict } from "../base/errors.ts";
import { type ImageRecord, Images, type Removal } from "../images/images.ts";
import type { ImageInspect } from "../spec/docker-api.ts";
import type { ImageConfig } from "../spec/oci-image.ts";
import { ZERO_TIME } from "./clock.ts";
import { HOST_IMAGE } from "./config/modes.ts";

const config: ImageConfig = {
  architecture: process.arch === "x64" ? "amd64" : process.arch,
  os: "linux",
  config: {
    Env: ["PATH=/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin"],
    Cmd: ["sh"],
  },
  rootfs: { type: "layers", diff_ids: [] },
};

/** The pseudo-image `host`: the machine's own root as the only, read-only layer. Needs no network and no disk. */
const HOST: ImageRecord = {
  id: sha256(JSON.stringify(config)),
  config,
  layers: ["/"],
  tags: [`${HOST_IMAGE}:latest`],
  digests: [],
  size: 0,
  created: ZERO_TIME,
};

export function isHostImage(nameOrId: string): boolean {
  return [HOST_IMAGE, `${HOST_IMAGE}:latest`, HOST.id].includes(nameOrId);
}

/** The images of an engine: those in the store, and `host`, which is found but neither listed nor removed. */
export class EngineImages extends Images {
  override find(nameOrId: string): ImageRecord {
    return isHostImage(nameOrId) ? HOST : super.find(nameOrId);
  }

  override inspect(nameOrId: string): ImageInspect {
    if (!isHostImage(nameOrId)) return super.inspect(nameOrId);
    return {
      Id: HOST.id,
      RepoTags: HOST.tags,
      RepoDigests: [],
      Parent: "",
      Comment: "the machine's own root, read-only",
      Created: HOST.created,
      Author: "",
      Config: { ...config.config } as ImageInspect["Config"],
      Architecture: config.architecture,
      Os: config.os,
      Size: 0,
      GraphDriver: { Name: "overlay2", Data: { UpperDir: "/" } },
      RootFS: { Type: "layers", Layers: [] },
      Metadata: { LastTagTime: ZERO_TIME },
    };
  }

  override remove(nameOrId: string, options: Parameters<Images["remove"]>[1]): Removal {
    if (isHostImage(nameOrId)) throw conflict("the image host is the machine itself: it cannot be removed");
    return super.remove(nameOrId, options);
  }
}
