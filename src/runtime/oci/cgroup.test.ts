import { describe, expect, test } from "bun:test";
import { readFileSync } from "node:fs";
import { posix } from "node:path";
import { cgroupOf } from "../../cgroups/hierarchy.ts";
import type { Spec } from "../../spec/oci-runtime.ts";
import { cgroupPath, delegatedTo } from "./cgroup.ts";

const spec = (linux: Spec["linux"], rest: Partial<Spec> = {}): Spec => ({
  ociVersion: "1.3.0",
  linux: linux!,
  ...rest,
});

describe("cgroupsPath", () => {
  const base = posix.dirname(cgroupOf(readFileSync("/proc/self/cgroup", "utf8")));
  test.each([
    [undefined, "/inro-runtime/id"],
    ["", "/inro-runtime/id"],
    ["/a/b", "/a/b"],
    ["/a//b/", "/a/b"],
    ["/a/../../b", "/b"],
    ["a/b", posix.join(base, "a/b")],
    ["../../../b", posix.join(base, "b")],
  ])("%j is %s", (path, expected) => {
    expect(cgroupPath(spec({ ...(path !== undefined && { cgroupsPath: path }) }), "id")).toBe(expected);
  });
  test.each(["/", "/..", "."])("%s is an error", (path) => {
    expect(() => cgroupPath(spec({ cgroupsPath: path }), "id")).toThrow("is the root of the hierarchies");
  });
});

describe("the cgroup is delegated", () => {
  const mount = { destination: "/sys/fs/cgroup", source: "cgroup", type: "cgroup", options: ["nosuid"] };
  const process = { user: { uid: 5, gid: 5 }, cwd: "/" };
  const namespaces = [{ type: "cgroup" }, { type: "user" }] as const;
  const uidMappings = [{ containerID: 0, hostID: 100000, size: 10 }];
  test.each<[string, Spec, number | undefined]>([
    ["to the user", spec({ namespaces: [namespaces[0]] }, { mounts: [mount], process }), 5],
    ["to the host's", spec({ namespaces: [...namespaces], uidMappings }, { mounts: [mount], process }), 100005],
    [
      "to none that is not mapped",
      spec({ namespaces: [...namespaces], uidMappings: [] }, { mounts: [mount], process }),
      undefined,
    ],
    [
      "not without a namespace",
      spec({ namespaces: [namespaces[1]], uidMappings }, { mounts: [mount], process }),
      undefined,
    ],
    [
      "not in one of others",
      spec({ namespaces: [{ type: "cgroup", path: "/x" }] }, { mounts: [mount], process }),
      undefined,
    ],
    ["not without a mount", spec({ namespaces: [namespaces[0]] }, { process }), undefined],
    [
      "not read-only",
      spec({ namespaces: [namespaces[0]] }, { mounts: [{ ...mount, options: ["ro"] }], process }),
      undefined,
    ],
    [
      "not elsewhere",
      spec({ namespaces: [namespaces[0]] }, { mounts: [{ ...mount, destination: "/cg" }], process }),
      undefined,
    ],
  ])("%s", (_, config, owner) => expect(delegatedTo(config)).toBe(owner!));
});
