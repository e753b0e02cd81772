import { mkdirSync, readFileSync, rmSync, writeFileSync } from "node:fs";
import { join } from "node:path";
import type { Spec } from "../../src/spec/oci-runtime.ts";
import { environment, output } from "../command.ts";
import { type OverlayMount, PrivateMounts } from "../private-mounts.ts";
import type { Subject } from "../subject.ts";
import type { Workspace } from "../workspace.ts";

export interface OciOptions {
  /** As the table names it. */
  name: string;
  binary: string;
  spec: Spec;
  lower: string;
  /** Mount a new overlay for each run, and unmount it: what an engine does around its runtime. */
  overlay: boolean;
  /** It is older than version 1.1 of the specification: its config is a 1.0 one, without the time namespace. */
  old: boolean;
  /** crun refuses a machine whose cgroup2 tree beside v1 has controllers: it gets a view without that tree. */
  hideCgroup2?: boolean;
}

/** `BINARY run` of a bundle on an overlay of the same root. */
export async function ociSubject(workspace: Workspace, options: OciOptions): Promise<Subject> {
  const { name, binary, overlay } = options;
  const bundle = workspace.directory(`oci-${name.replace(/\W+/g, "-")}`);
  const [rootfs, upper, work] = ["rootfs", "upper", "work"].map((dir) => join(bundle, dir)) as [string, string, string];
  const state = join(bundle, "state");
  const renew = () => {
    for (const path of [upper, work]) {
      rmSync(path, { recursive: true, force: true });
      mkdirSync(path);
    }
  };
  mkdirSync(rootfs);
  renew();
  const spec = structuredClone(options.spec);
  spec.root = { ...spec.root, path: rootfs };
  const linux = spec.linux!;
  if (options.old) {
    spec.ociVersion = "1.0.2";
    linux.namespaces = (linux.namespaces ?? []).filter(({ type }) => type !== "time");
  }
  linux.cgroupsPath = `/${workspace.cgroup}/oci`;
  writeFileSync(join(bundle, "config.json"), JSON.stringify(spec));
  const mounted: OverlayMount = {
    target: rootfs,
    options: `lowerdir=${options.lower},upperdir=${upper},workdir=${work},volatile`,
  };
  const mounts = new PrivateMounts(join(bundle, "stderr"));
  workspace.undo(name, () => mounts.close());
  if (options.hideCgroup2) await mounts.unmount("/sys/fs/cgroup/unified");
  if (!overlay) await mounts.mount(mounted);

  const argv = [binary, "--root", state, "run", "--bundle", bundle];
  let runs = 0;
  const subject: Subject = {
    name,
    does: `${overlay ? "a new overlay mounted and unmounted around it" : "on an overlay mounted beforehand"}, the same config${options.old ? " but for the time namespace" : ""}`,
    async run() {
      if (overlay) renew();
      return await mounts.run([...argv, `bench-${runs++}`], bundle, environment(), overlay ? mounted : undefined);
    },
  };
  await subject.run();
  return subject;
}

/** First line of `BINARY --version`. */
export function versionOf(binary: string): string {
  return output([binary, "--version"]).split("\n")[0]!;
}

/** crun refuses a hybrid machine where cgroup2 has controllers of its own. */
export function crunRefusesCgroups(): boolean {
  try {
    return readFileSync("/sys/fs/cgroup/unified/cgroup.controllers", "utf8").trim() !== "";
  } catch {
    return false;
  }
}
