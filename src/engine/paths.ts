import { mkdirSync } from "node:fs";
import { join, resolve } from "node:path";

/** Ids of the health checks' execs begin so: an engine's own, which the next one has no use for. */
export const HEALTH_EXEC = "health-";

/** Where an engine keeps what. Directories are 0700: others must not reach setuid files in a container's layer. */
export class Paths {
  readonly dataRoot: string;
  readonly execRoot: string;
  readonly database: string;
  readonly content: string;
  readonly layers: string;
  readonly temporary: string;
  readonly volumes: string;
  readonly containers: string;
  /** What builds keep: contexts, cache mounts, and their steps' working files. */
  readonly build: string;
  /** Run directories of the containers, by id. */
  readonly runDirs: string;

  constructor(dataRoot: string, execRoot: string) {
    this.dataRoot = resolve(dataRoot);
    this.execRoot = resolve(execRoot);
    this.database = join(this.dataRoot, "inro.db");
    this.content = join(this.dataRoot, "content");
    this.layers = join(this.dataRoot, "layers");
    this.temporary = join(this.dataRoot, "tmp");
    this.volumes = join(this.dataRoot, "volumes");
    this.containers = join(this.dataRoot, "containers");
    this.build = join(this.dataRoot, "build");
    this.runDirs = join(this.execRoot, "containers");
    for (const dir of [this.dataRoot, this.execRoot]) mkdirSync(dir, { recursive: true, mode: 0o700 });
    for (const dir of [this.containers, this.volumes, this.runDirs, this.temporary, this.build]) {
      mkdirSync(dir, { recursive: true, mode: 0o700 });
    }
  }

  container(id: string): string {
    return `${this.containers}/${id}`;
  }
  /** A file or directory of a container: `upper`, `work`, `hostname`, `hosts`, `resolv.conf`. */
  inContainer(id: string, name: string): string {
    return `${this.containers}/${id}/${name}`;
  }
  log(id: string): string {
    return `${this.containers}/${id}/${id}-json.log`;
  }
  runDir(id: string): string {
    return `${this.runDirs}/${id}`;
  }
  execDir(id: string, exec: string): string {
    return `${this.runDirs}/${id}/exec-${exec}`;
  }
  volume(name: string): string {
    return `${this.volumes}/${name}`;
  }
  volumeData(name: string): string {
    return `${this.volumes}/${name}/_data`;
  }
}

/** A container's cgroup; the spec says the same (CgroupParent). */
export function cgroupPath(id: string, parent: string | undefined): string {
  return join("/", parent || "inro", id);
}
