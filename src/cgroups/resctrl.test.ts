import { afterAll, beforeEach, describe, expect, test } from "bun:test";
import { existsSync, mkdirSync, mkdtempSync, readdirSync, readFileSync, rmSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import type { IntelRdt } from "../spec/oci-runtime.ts";
import { checkIntelRdt, findResctrl, joinRdt, leaveRdt, updateRdt } from "./resctrl.ts";
import { schemataOf } from "./schemata.ts";

/** A directory that looks like resctrl: a group that is made has no files, which the tests of making one put there. */
const root = mkdtempSync(join(tmpdir(), "inro-resctrl-"));
afterAll(() => rmSync(root, { recursive: true }));

function group(name: string, schemata = "    L3:0=fffff;1=0ff\n    MB:0=100;1=100\n"): string {
  const path = join(root, name);
  mkdirSync(join(path, "mon_groups"), { recursive: true });
  for (const [file, text] of Object.entries({ schemata, tasks: "" })) writeFileSync(join(path, file), text);
  return path;
}

const read = (path: string) => readFileSync(join(root, path), "utf8");

describe("groups", () => {
  beforeEach(() => {
    for (const name of readdirSync(root)) rmSync(join(root, name), { recursive: true });
    group("");
  });

  test("a named one that is there: its schemata are compared, and it stays", () => {
    group("gold");
    const config: IntelRdt = { closID: "gold", l3CacheSchema: "L3:0=FFFFF;1=ff", memBwSchema: "MB:0=100" };
    const joined = joinRdt(root, config, "c1", [4711]);
    expect(joined).toEqual({ group: join(root, "gold"), owned: false });
    expect(read("gold/tasks")).toBe("4711");
    expect(read("gold/schemata")).toBe("    L3:0=fffff;1=0ff\n    MB:0=100;1=100\n");
    leaveRdt(joined);
    expect(existsSync(join(root, "gold"))).toBe(true);
  });

  test.each<[string, IntelRdt, string]>([
    [
      "other schemata",
      { closID: "gold", l3CacheSchema: "L3:0=f" },
      "the group has L3:0=fffff, and the config wants L3:0=f",
    ],
    ["a domain that is not there", { closID: "gold", schemata: ["L3:7=f"] }, "the group has none"],
    ["a resource that is not there", { closID: "gold", schemata: ["L2:0=f"] }, "the group has none"],
    ["no such group", { closID: "silver" }, "there is no group silver, and no schema to make it with"],
    ["no line", { l3CacheSchema: "L3" }, "is no line of schemata"],
    ["no domain", { schemata: ["L3:0"] }, "0 is no domain=value"],
  ])("refuses %s, and makes nothing", (_, config, message) => {
    group("gold");
    expect(() => joinRdt(root, config, "c1", [1])).toThrow(message);
    expect(readdirSync(root).sort()).toEqual(["gold", "mon_groups", "schemata", "tasks"]);
    expect(read("gold/tasks")).toBe("");
  });

  test("the root group", () => {
    expect(joinRdt(root, { closID: "/" }, "c1", [1, 22])).toEqual({ group: root, owned: false });
    expect(read("tasks").endsWith("22")).toBe(true);
  });

  test("one of its own that was there before is written, and stays", () => {
    const path = group("c1");
    const joined = joinRdt(root, { l3CacheSchema: "L3:0=f" }, "c1", [5]);
    expect(joined).toEqual({ group: path, owned: false });
    expect(read("c1/schemata")).toStartWith("L3:0=f\n");
  });

  test("a failure takes away what was made", () => {
    // Nothing makes the files here, so the first write fails.
    expect(() => joinRdt(root, { l3CacheSchema: "L3:0=f" }, "c2", [5])).toThrow("schemata: ENOENT");
    expect(existsSync(join(root, "c2"))).toBe(false);
    expect(() => joinRdt(root, { closID: "new", l3CacheSchema: "L3:0=f" }, "c2", [5])).toThrow("schemata: ENOENT");
    expect(existsSync(join(root, "new"))).toBe(false);
    group("gold");
    expect(() => joinRdt(root, { closID: "gold", enableMonitoring: true }, "c2", [5])).toThrow("tasks: ENOENT");
    expect(readdirSync(join(root, "gold/mon_groups"))).toEqual([]);
  });

  test("monitoring is a directory of the container's, and goes with it", () => {
    group("gold");
    const joined = joinRdt(root, { closID: "gold", enableMonitoring: true }, "c3", []);
    expect(joined.monitor).toBe(join(root, "gold/mon_groups/c3"));
    expect(() => joinRdt(root, { closID: "gold", enableMonitoring: true }, "c3", [])).toThrow("is there already");
    leaveRdt(joined);
    expect(readdirSync(join(root, "gold/mon_groups"))).toEqual([]);
    leaveRdt(joined);
  });

  test("one of its own is made and goes with it", () => {
    const joined = joinRdt(root, {}, "c4", []);
    expect(joined).toEqual({ group: join(root, "c4"), owned: true });
    leaveRdt(joined);
    expect(existsSync(join(root, "c4"))).toBe(false);
  });

  test("update writes", () => {
    group("gold");
    updateRdt(join(root, "gold"), { memBwSchema: "MB:0=50" });
    expect(read("gold/schemata")).toStartWith("MB:0=50\n");
  });
});

test.each<[IntelRdt, string[]]>([
  [{}, []],
  [{ l3CacheSchema: "L3:0=f\nMB:0=50" }, ["L3:0=f", "MB:0=50"]],
  [{ l3CacheSchema: "L3:0=f\nMB:0=50", memBwSchema: "MB:0=70" }, ["L3:0=f", "MB:0=70"]],
  [
    { l3CacheSchema: "L3:0=f", memBwSchema: "MB:0=70", schemata: ["L2:0=3", "L3:1=7"] },
    ["L3:0=f", "MB:0=70", "L2:0=3", "L3:1=7"],
  ],
])("%j comes to %j", (config, lines) => expect(schemataOf(config)).toEqual(lines));

test.each(["", ".", "..", "a/b", "info", "mon_groups"])("closID %j is refused", (closID) => {
  expect(() => checkIntelRdt({ closID })).toThrow("is no name of a group");
});

test("where it is mounted", () => {
  const line = "36 25 0:30 / /sys/fs/resctrl rw,relatime shared:9 - resctrl resctrl rw";
  expect(findResctrl(`1 1 0:1 / / rw - tmpfs none rw\n${line}\n`)).toBe("/sys/fs/resctrl");
  expect(() => findResctrl("1 1 0:1 / / rw - tmpfs none rw\n")).toThrow("no resctrl file system is mounted");
});
