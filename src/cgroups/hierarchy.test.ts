import { afterAll, expect, test } from "bun:test";
import { mkdirSync, mkdtempSync, rmSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { cgroupOf, detectHierarchy, locate } from "./hierarchy.ts";
import { ancestors, checkCgroupPath } from "./path.ts";
import { limitSupport } from "./support.ts";

const root = mkdtempSync(join(tmpdir(), "inro-cgroups-"));
afterAll(() => rmSync(root, { recursive: true }));

/** A cgroup2 root that offers `controllers`. */
function cgroup2(name: string, controllers: string): string {
  const path = name === "" ? root : join(root, name);
  mkdirSync(path, { recursive: true });
  writeFileSync(join(path, "cgroup.controllers"), `${controllers}\n`);
  return path;
}

const line = (mountpoint: string, type: string, options: string) =>
  `30 25 0:26 / ${mountpoint} rw,nosuid shared:4 - ${type} ${type} rw,${options}`;

test("v2: every controller is at the root", () => {
  cgroup2("", "cpuset cpu io memory pids");
  const h = detectHierarchy(root, line(root, "cgroup2", "nsdelegate"));
  expect(h.mode).toBe("v2");
  expect(h.unified).toBe(root);
  expect([...h.controllers.keys()]).toEqual(["cpuset", "cpu", "io", "memory", "pids"]);
  expect(locate(h, { v1: "blkio", v2: "io" })).toEqual({ version: 2, mountpoint: root });
  expect(locate(h, { v1: "net_cls" })).toBeUndefined();
});

test("hybrid: co-mounted controllers share a mount point, a named hierarchy is no controller", () => {
  const unified = cgroup2("unified", "hugetlb");
  const h = detectHierarchy(
    root,
    [
      line(root, "tmpfs", "mode=755"),
      line(unified, "cgroup2", "nsdelegate"),
      line(`${root}/systemd`, "cgroup", "xattr,name=systemd"),
      line(`${root}/cpu,cpuacct`, "cgroup", "cpu,cpuacct"),
      line(`${root}/memory`, "cgroup", "memory"),
    ].join("\n"),
  );
  expect(h.mode).toBe("hybrid");
  expect(h.controllers.get("cpuacct")).toBe(`${root}/cpu,cpuacct`);
  expect(h.controllers.get("name=systemd")).toBe(`${root}/systemd`);
  expect(locate(h, { v1: "memory", v2: "memory" })).toEqual({ version: 1, mountpoint: `${root}/memory` });
  expect(locate(h, { v1: "hugetlb", v2: "hugetlb" })).toEqual({ version: 2, mountpoint: unified });
  expect(locate(h, { v1: "pids", v2: "pids" })).toBeUndefined();
});

test("all controllers in cgroup2 beside a named v1 hierarchy is v2", () => {
  const unified = cgroup2("named", "memory");
  const h = detectHierarchy(
    root,
    `${line(unified, "cgroup2", "x")}\n${line(`${root}/systemd`, "cgroup", "name=systemd")}`,
  );
  expect(h.mode).toBe("v2");
});

test("v1: no cgroup2 mount", () => {
  const h = detectHierarchy(root, line(`${root}/pids`, "cgroup", "pids"));
  expect(h.mode).toBe("v1");
  expect(h.unified).toBeUndefined();
  expect(locate(h, { v1: "pids", v2: "pids" })).toEqual({ version: 1, mountpoint: `${root}/pids` });
});

test("a mount point with a space is read from its octal form", () => {
  const path = cgroup2("a b", "pids");
  expect(detectHierarchy(root, line(path.replace(" ", "\\040"), "cgroup2", "x")).unified).toBe(path);
});

test("a mount over another hides it, and mounts elsewhere do not count", () => {
  const hidden = [line(`${root}/pids`, "cgroup", "pids"), line(`${root}/pids`, "tmpfs", "x")];
  expect(() => detectHierarchy(root, hidden.join("\n"))).toThrow(`no cgroup file system is mounted at ${root}`);
  expect(() => detectHierarchy(root, line(`${root}-other/pids`, "cgroup", "pids"))).toThrow("no cgroup file system");
});

test.each(["", "/", "inro/a", "/inro/../a", "/inro/./a", "/inro//a", "/inro/", "/a\nb", "/a\0", `/${"x".repeat(256)}`])(
  "path %j is refused",
  (path) => expect(() => checkCgroupPath(path)).toThrow("invalid cgroup path"),
);

test("ancestors of a path, without the root and itself", () => {
  expect(checkCgroupPath("/a/b.scope/c:d")).toBe("/a/b.scope/c:d");
  expect(ancestors("/a/b/c")).toEqual(["/a", "/a/b"]);
  expect(ancestors("/a")).toEqual([]);
});

test.each([
  ["0::/user.slice/a:b\n", "/user.slice/a:b"],
  ["9:name=systemd:/s\n4:memory:/m\n0::/u\n", "/u"],
  ["4:memory:/m\n9:name=systemd:/s\n", "/s"],
  ["4:cpu,cpuacct:/c\n", "/c"],
  ["", "/"],
])("the cgroup in %j is %s", (text, path) => expect(cgroupOf(text)).toBe(path));

test("what can be limited follows from the controllers and the files at the top", () => {
  const memory = join(root, "memory");
  mkdirSync(memory, { recursive: true });
  writeFileSync(join(memory, "memory.oom_control"), "");
  const v1 = detectHierarchy(root, line(memory, "cgroup", "memory"));
  expect(limitSupport(v1)).toMatchObject({
    memory: true,
    swap: false,
    oomKillDisable: true,
    pids: false,
    cpuQuota: false,
  });
  const v2 = detectHierarchy(root, line(cgroup2("two", "cpu pids io"), "cgroup2", "x"));
  expect(limitSupport(v2)).toMatchObject({ memory: false, cpuQuota: true, pids: true, io: true, devices: true });
});
