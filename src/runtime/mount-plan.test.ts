import { afterAll, expect, test } from "bun:test";
import { mkdirSync, mkdtempSync, rmSync, symlinkSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { describe as rowsOf } from "../program/print.ts";
import type { Mount } from "../spec/oci-runtime.ts";
import { Builder } from "./builder.ts";
import { mountCgroups } from "./cgroup-mounts.ts";
import { planMounts } from "./mount-plan.ts";
import { attachMounts } from "./mounts.ts";

const root = mkdtempSync(join(tmpdir(), "inro-plan-"));
afterAll(() => rmSync(root, { recursive: true }));
for (const name of ["real", "volume"]) mkdirSync(join(root, name));
symlinkSync("/real", join(root, "link"));
symlinkSync("/link/x", join(root, "volume/way"));

const plan = (mounts: Mount[], mountLabel?: string) =>
  planMounts({ mounts, linux: { ...(mountLabel && { mountLabel }) } }, [root]);
const rows = (mounts: Mount[], mountLabel?: string) => {
  const p = new Builder();
  p.root = p.slot("root");
  attachMounts(p, plan(mounts, mountLabel), new Map(), undefined);
  return rowsOf(p)
    .map(({ text }) => text)
    .join("\n");
};

const LABEL = "system_u:object_r:container_file_t:s0:c1,c2";

test.each<[string, boolean]>([
  ["tmpfs", true],
  ["devpts", true],
  ["ext4", true],
  ["proc", false],
  ["sysfs", false],
  ["mqueue", false],
])("mountLabel is an option of %s: %p", (type, labelled) => {
  const mount = { destination: type === "proc" ? "/proc" : "/m", type, source: "x" };
  expect(rows([mount], LABEL).includes(LABEL)).toBe(labelled);
  expect(rows([mount])).not.toContain('"context"');
});

test("for mount(2) the label is quoted, since it has commas of its own", () => {
  const text = rows([{ destination: "/m", type: "tmpfs", source: "x", options: ["silent", "size=1m"] }], LABEL);
  expect(text).toContain("size=1m,context=");
  expect(text).toContain(`context=\\"${LABEL}\\"`);
});

test.each<[string, string, Mount[]]>([
  ["/real/a", "/link/a", []],
  ["/real/x/b", "/v/way/b", [{ destination: "/v", source: join(root, "volume"), options: ["bind"] }]],
  ["/t/link/c", "/t/link/c", [{ destination: "/t", type: "tmpfs" }]],
  ["/real/d", "/link/d", [{ destination: "/t", type: "tmpfs" }]],
  ["/real/e", "/link/e", [{ destination: "/link", type: "tmpfs", options: ["tmpcopyup"] }]],
])("%s is what %s means", (wanted, destination, before) => {
  expect(plan([...before, { destination, type: "tmpfs" }]).at(-1)?.destination).toBe(wanted);
});

test("v1: controllers that share a hierarchy have links of their own names", () => {
  const p = new Builder();
  p.root = p.slot("root");
  const [mount] = plan([{ destination: "/sys/fs/cgroup", type: "cgroup", source: "cgroup", options: ["ro"] }]);
  mountCgroups(p, mount!, 1, [
    { name: "cpu,cpuacct", number: 400 },
    { name: "systemd", number: 401 },
  ]);
  const text = rowsOf(p).map((row) => row.text);
  expect(text.filter((row) => row.startsWith("symlinkat")).map((row) => row.match(/"[^"]*"/g)?.join(" "))).toEqual([
    '"cpu,cpuacct" "cpu"',
    '"cpu,cpuacct" "cpuacct"',
  ]);
  expect(text.filter((row) => row.startsWith("mkdirat")).join()).toContain('"systemd"');
});
