import { afterAll, beforeAll, describe, expect, test } from "bun:test";
import { mkdirSync, readFileSync } from "node:fs";
import { join } from "node:path";
import type { Spec } from "../../src/spec/oci-runtime.ts";
import { cannotRun, Runtime } from "./bundle.ts";

const host = (...command: string[]) => {
  const { exitCode, stderr } = Bun.spawnSync(command);
  if (exitCode !== 0) throw new Error(`${command.join(" ")}: ${stderr}`);
};
const mountinfo = (pid: number | "self" = "self") => readFileSync(`/proc/${pid}/mountinfo`, "utf8");

describe.skipIf(cannotRun !== undefined)(`propagation${cannotRun ? ` (skipped: ${cannotRun})` : ""}`, () => {
  let runtime: Runtime;
  let shared = "";
  beforeAll(() => {
    runtime = new Runtime();
    shared = join(runtime.dir, "shared");
    mkdirSync(shared);
    // A mount whose mounts are seen wherever it is bound; the bundles lie in it too.
    host("mount", "-t", "tmpfs", "inro-test", shared);
    host("mount", "--make-shared", shared);
    for (const name of ["host", "box"]) mkdirSync(join(shared, name));
  });
  afterAll(async () => {
    Bun.spawnSync(["umount", "-R", "-l", shared]);
    await runtime.close();
  });
  let ids = 0;

  /** Starts a container with the shared mount at /m; says what of a later mount on either side the other one sees. */
  async function look(change: (spec: Spec & { linux: NonNullable<Spec["linux"]> }) => void) {
    const id = `p${ids++}`;
    const bundle = runtime.bundle("sleep 1000", (s) => {
      s.root!.readonly = false;
      const rights = ["CAP_SYS_ADMIN"];
      s.process = { ...s.process!, capabilities: { bounding: rights, effective: rights, permitted: rights } };
      change(s as never);
    });
    await runtime.ok("run", "-d", "-b", bundle, id);
    const { pid } = await runtime.status(id);
    try {
      const root = mountinfo(pid)
        .split("\n")
        .find((line) => line.split(" ")[4] === "/")!;
      host("mount", "-t", "tmpfs", "of-host", join(shared, "host"));
      const goesIn = mountinfo(pid).includes(" /m/host ");
      await runtime.ok("exec", "--cap", "CAP_SYS_ADMIN", id, "mount", "-t", "tmpfs", "of-box", "/m/box");
      const comesOut = mountinfo().includes(` ${shared}/box `);
      const tags = root
        .split(" - ")[0]!
        .split(" ")
        .slice(6)
        .map((tag) => tag.replace(/:\d+/, ""))
        .join(" ");
      return { goesIn, comesOut, tags, bundle, pid, info: mountinfo(pid) };
    } finally {
      for (const name of ["host", "box"]) Bun.spawnSync(["umount", "-l", join(shared, name)]);
      await runtime.ok("delete", "-f", id);
    }
  }

  test.each<[string, boolean, boolean]>([
    ["private", false, false],
    ["rprivate", false, false],
    ["slave", true, false],
    ["rslave", true, false],
    ["shared", true, true],
    ["rshared", true, true],
    ["unbindable", false, false],
    ["runbindable", false, false],
  ])("a bind that is %s: in %p, out %p", async (word, goesIn, comesOut) => {
    const options = ["rbind", word];
    const seen = await look((s) => s.mounts!.push({ destination: "/m", source: shared, options }));
    expect(seen).toMatchObject({ goesIn, comesOut });
  });

  test.each<[NonNullable<Spec["linux"]>["rootfsPropagation"], boolean, boolean, string]>([
    [undefined, false, false, ""],
    ["private", false, false, ""],
    ["rprivate", false, false, ""],
    ["slave", true, false, ""],
    ["rslave", true, false, ""],
    ["shared", true, false, "shared"],
    ["rshared", true, true, "shared"],
    ["unbindable", false, false, "unbindable"],
    ["runbindable", false, false, "unbindable"],
  ])("rootfsPropagation %s: in %p, out %p; the root is %p", async (word, goesIn, comesOut, tags) => {
    const seen = await look((s) => {
      if (word) s.linux.rootfsPropagation = word;
      s.mounts!.push({ destination: "/m", source: shared, options: ["rbind"] });
    });
    expect({ ...seen, tags: seen.tags.replace(/master ?/, "").trim() }).toMatchObject({ goesIn, comesOut, tags });
  });

  test("a word of the mount is over that of the root", async () => {
    const bind = (...options: string[]) => ({ destination: "/m", source: shared, options: ["rbind", ...options] });
    const rshared = await look((s) => {
      s.linux.rootfsPropagation = "rshared";
      s.mounts!.push(bind("rprivate"));
    });
    expect(rshared).toMatchObject({ goesIn: false, comesOut: false });
    const slave = await look((s) => {
      s.linux.rootfsPropagation = "shared";
      s.mounts!.push(bind("rshared"));
    });
    expect(slave).toMatchObject({ goesIn: true, comesOut: true });
  });

  test("a file system of the container's own: shared, and the root stays private", async () => {
    const seen = await look((s) => {
      s.mounts!.push({ destination: "/m", type: "tmpfs", source: "t", options: ["shared"] });
      s.mounts!.push({ destination: "/m/box", type: "tmpfs", source: "t" });
    });
    expect(seen.info).toMatch(/ \/m rw\S* shared:\d+ - tmpfs/);
    expect(seen.tags).toBe("");
  });

  test("slave: what the host mounts in the root directory later is in the container; never the other way", async () => {
    for (const [word, expected] of [
      ["rslave", true],
      ["rprivate", false],
    ] as const) {
      const root = join(shared, `rootfs-${word}`);
      const bundle = runtime.bundle("sleep 1000", (s) => {
        s.root = { path: root, readonly: false };
        s.linux.rootfsPropagation = word;
      });
      host("cp", "-a", join(bundle, "rootfs"), root);
      mkdirSync(join(root, "late"));
      await runtime.ok("run", "-d", "-b", bundle, word);
      const { pid } = await runtime.status(word);
      try {
        host("mount", "-t", "tmpfs", "late", join(root, "late"));
        expect(mountinfo(pid).includes(" /late ")).toBe(expected);
        expect(mountinfo().split(root).length - 1).toBe(1);
      } finally {
        await runtime.ok("delete", "-f", word);
        host("umount", "-l", join(root, "late"));
      }
    }
  });
});
