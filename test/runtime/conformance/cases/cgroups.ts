import { expect } from "bun:test";
import { existsSync, mkdirSync, readFileSync, rmdirSync, writeFileSync } from "node:fs";
import { dirname, join } from "node:path";
import { type Case, section } from "../case.ts";
import { CGROUP } from "../context.ts";
import { cgroupDirectory, hierarchy, v2 } from "../machine.ts";

const { does } = section("config-linux.md#control-groups");

export const cgroupCases: readonly Case[] = [
  does(
    "linux.cgroupsPath: absolute",
    async (c) => {
      const container = await c.created();
      const directory = cgroupDirectory((await container.state()).pid, "memory");
      expect(directory).toEndWith(`${CGROUP}/${container.id}`);
      await container.does("delete", ["--force"]);
      expect(existsSync(directory)).toBe(false);
    },
    { vm: true },
  ),
  does(
    "linux.cgroupsPath: relative",
    async (c) => {
      const container = await c.created("true", (s) => {
        s.linux.cgroupsPath = s.linux.cgroupsPath!.slice(1);
      });
      expect(cgroupDirectory((await container.state()).pid, "memory")).toEndWith(`${CGROUP}/${container.id}`);
    },
    {},
  ),
  does(
    "linux.cgroupsPath: absent",
    async (c) => {
      const container = await c.created("true", { linux: { cgroupsPath: undefined } });
      expect(readFileSync(`/proc/${(await container.state()).pid}/cgroup`, "utf8")).toContain(`/${container.id}\n`);
    },
    { vm: true },
  ),
  does(
    "linux.cgroupsPath: stays in the cgroup file system",
    async (c) => {
      const container = await c.created("true", (s) => {
        s.linux.cgroupsPath = `/../../..${s.linux.cgroupsPath}`;
      });
      expect(cgroupDirectory((await container.state()).pid, "memory")).toEndWith(`${CGROUP}/${container.id}`);
    },
    { differs: { crun: "1.8.1 makes the directory outside" } },
  ),
  does(
    "cgroup: what is below goes with delete",
    async (c) => {
      const container = await c.up();
      const directory = cgroupDirectory((await container.state()).pid, "memory");
      mkdirSync(join(directory, "sub/sub"), { recursive: true });
      await container.does("delete", ["--force"]);
      expect(existsSync(directory)).toBe(false);
    },
    { spec: "runc", vm: true },
  ),
  does(
    "cgroup: create in one that has processes",
    async (c) => {
      const first = await c.up();
      const path = dirname(await first.cgroupFile("memory", "x"));
      const second = c.container("true", (s) => {
        s.linux.cgroupsPath = `${CGROUP}/${first.id}`;
      });
      expect((await second.launch("create")).code).not.toBe(0);
      expect(existsSync(path)).toBe(true);
      expect(await first.status()).toBe("running");
    },
    { spec: "runc", differs: { crun: "1.8.1 takes it", runc: "1.1.5 only warns" } },
  ),
  does(
    "cgroup: create in one that is frozen",
    async (c) => {
      const container = c.container("true");
      const top = v2 ? hierarchy.unified! : hierarchy.controllers.get("freezer")!;
      const directory = join(top, CGROUP, container.id);
      mkdirSync(directory, { recursive: true });
      const freeze = (on: boolean) =>
        writeFileSync(
          join(directory, v2 ? "cgroup.freeze" : "freezer.state"),
          v2 ? (on ? "1" : "0") : on ? "FROZEN" : "THAWED",
        );
      freeze(true);
      // crun does not look, and waits for a process that cannot run.
      const thaw = c.kind === "crun" ? setTimeout(() => freeze(false), 5000) : undefined;
      const { code } = await container.launch("create").finally(() => clearTimeout(thaw));
      if (existsSync(directory)) freeze(false);
      if (code !== 0 && existsSync(directory)) rmdirSync(directory);
      expect(code).not.toBe(0);
    },
    { spec: "runc", vm: true, differs: { crun: "waits for it" } },
  ),
  does(
    "mounts.type cgroup: the container's own",
    async (c) => {
      const { out } = await c.run(
        `cat /sys/fs/cgroup/${v2 ? "" : "memory/"}cgroup.procs; grep -c ' /sys/fs/cgroup' /proc/self/mountinfo`,
      );
      expect(out).toMatch(/^1$/m);
    },
    { spec: "config-linux.md#control-groups", vm: true },
  ),
  does(
    "mounts.type cgroup: read-only",
    async (c) => {
      const { err } = await c.run(`mkdir /sys/fs/cgroup/${v2 ? "" : "memory/"}x`);
      expect(err).toMatch(/Read-only file system/);
    },
    { vm: true },
  ),
  does(
    "exec joins the container's cgroup",
    async (c) => {
      const container = await c.up((s) => {
        s.linux.namespaces = s.linux.namespaces!.filter(({ type }) => type !== "cgroup");
      });
      const controller = v2 ? "0::" : ":memory:";
      const line = `grep '${controller}' /proc/self/cgroup`;
      expect(await container.sh(line)).toEndWith(`${CGROUP}/${container.id}`);
    },
    { spec: "runc", vm: true },
  ),
];
