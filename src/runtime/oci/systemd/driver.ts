import { cgroupVersion, detectHierarchy } from "../../../cgroups/hierarchy.ts";
import { Systemd } from "../../../dbus/systemd.ts";
import type { Resources, Spec } from "../../../spec/oci-runtime.ts";
import { type Unit, unitOf } from "./names.ts";
import { spawnPlaceholder } from "./placeholder.ts";
import { annotatedProperties, resourceProperties, unitProperties } from "./properties.ts";

/** The unit of a container, as its state keeps it. */
export interface SystemdUnit {
  unit: string;
  /** It is of the user's manager. */
  user: boolean;
}

/** A started unit, whose cgroup is kept by a placeholder until the container is in it. */
export interface Started extends SystemdUnit {
  /** Of the cgroup, below the mount. */
  path: string;
  /** The placeholder goes. */
  release(): void;
}

/** Starts the container's unit. An error leaves neither unit nor process. */
export function startUnit(spec: Spec, id: string, user: boolean): Started {
  const unit = unitOf(spec.linux?.cgroupsPath, id, user);
  const systemd = Systemd.open(user);
  try {
    return start(systemd, unit, spec, id, user);
  } finally {
    systemd.close();
  }
}

function start(systemd: Systemd, unit: Unit, spec: Spec, id: string, user: boolean): Started {
  const version = cgroupVersion(detectHierarchy());
  const limits = resourceProperties(spec.linux?.resources ?? {}, version, systemd.version());
  const base = user ? systemd.property("ControlGroup") : "";
  const annotated = annotatedProperties(spec.annotations ?? {});
  const placeholder = spawnPlaceholder();
  try {
    // Of two with one name the last counts.
    systemd.start(unit.name, [...unitProperties(unit, id, placeholder.pid, version), ...limits, ...annotated]);
  } catch (error) {
    placeholder.release();
    throw error;
  }
  return { unit: unit.name, user, path: base + unit.path, release: () => placeholder.release() };
}

/** Stops the unit, which takes its cgroup away. */
export function stopUnit({ unit, user }: SystemdUnit): void {
  const systemd = Systemd.open(user);
  try {
    systemd.stop(unit);
  } finally {
    systemd.close();
  }
}

/** Tells systemd of other limits. */
export function updateUnit({ unit, user }: SystemdUnit, resources: Resources): void {
  const systemd = Systemd.open(user);
  try {
    const properties = resourceProperties(resources, cgroupVersion(detectHierarchy()), systemd.version());
    if (properties.length > 0) systemd.set(unit, properties);
  } finally {
    systemd.close();
  }
}
