import { mkdirSync } from "node:fs";
import { join, resolve } from "node:path";

/** Where an engine keeps what. Directories are 0700: others must not reach setuid files in a container's layer. */
export class Paths {
  readonly dataRoot: string;
  readonly execRoot: string;

  constructor(dataRoot: string, execRoot: string) {
    this.dataRoot = resolve(dataRoot);
    this.execRoot = resolve(execRoot);
    for (const dir of [this.dataRoot, this.execRoot]) mkdirSync(dir, { recursive: true, mode: 0o700 });
    for (const dir of [this.containers, this.volumes, this.runDirs, this.temporary]) {
      mkdirSync(dir, { recursive: true, mode: 0o700 });
    }
  }

  get database(): string {
    return join(this.dataRoot, "inro.db");
  }
  get content(): string {
    return join(this.dataRoot, "content");
  }
  get layers(): string {
    return join(this.dataRoot, "layers");
  }
  get temporary(): string {
    return join(this.dataRoot, "tmp");
  }
  get volumes(): string {
    return join(this.dataRoot, "volumes");
  }
  get containers(): string {
    return join(this.dataRoot, "containers");
  }
  /** Run directories of the containers, by id. */
  get runDirs(): string {
    return join(this.execRoot, "containers");
  }

  container(id: string): string {
    return join(this.containers, id);
  }
  /** A file or directory of a container: `upper`, `work`, `hostname`, `hosts`, `resolv.conf`. */
  inContainer(id: string, name: string): string {
    return join(this.containers, id, name);
  }
  log(id: string): string {
    return join(this.containers, id, `${id}-json.log`);
  }
  runDir(id: string): string {
    return join(this.runDirs, id);
  }
  execDir(id: string, exec: string): string {
    return join(this.runDirs, id, `exec-${exec}`);
  }
  volumeData(name: string): string {
    return join(this.volumes, name, "_data");
  }
}

/** A container's cgroup; the spec says the same (CgroupParent). */
export function cgroupPath(id: string, parent: string | undefined): string {
  return join("/", parent || "inro", id);
}
