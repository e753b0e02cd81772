import { afterAll, beforeAll, describe, expect, test } from "bun:test";
import { chmodSync, chownSync, mkdirSync, readFileSync, statSync, writeFileSync } from "node:fs";
import { join } from "node:path";
import { kernelAtLeast } from "../../src/runtime/rootfs.ts";
import type { IdMapping, Mount, Spec } from "../../src/spec/oci-runtime.ts";
import { cannotRun, Runtime } from "./bundle.ts";

const map = (...ranges: [inside: number, outside: number, size: number][]): IdMapping[] =>
  ranges.map(([containerID, hostID, size]) => ({ containerID, hostID, size }));

/** What the tests map is on tmpfs in part. */
const why = cannotRun ?? (kernelAtLeast(6, 3) ? undefined : "tmpfs can be id-mapped since Linux 6.3");

describe.skipIf(why !== undefined)(`id-mapped mounts${why ? ` (skipped: ${why})` : ""}`, () => {
  let runtime: Runtime;
  beforeAll(() => {
    runtime = new Runtime();
    chmodSync(runtime.dir, 0o755);
  });
  afterAll(() => runtime.close());
  let ids = 0;

  /** The source has files of 0, 1000 and 5000, and a tmpfs below it with one of 1000. */
  async function run(
    script: string,
    mount: Partial<Mount>,
    change: (spec: Spec & { linux: object }) => void = () => {},
  ) {
    const bundle = runtime.bundle(script, (s) => {
      s.root!.readonly = false;
      s.mounts!.push({ destination: "/m", source: "src", ...mount });
      change(s);
    });
    const source = join(bundle, "src");
    mkdirSync(join(source, "sub"), { recursive: true });
    const file = (name: string, id: number) => {
      writeFileSync(join(source, name), "");
      chownSync(join(source, name), id, id);
    };
    for (const id of [0, 1000, 5000]) file(`f${id}`, id);
    chmodSync(source, 0o777);
    // The root of a user namespace makes the mount points.
    chmodSync(join(bundle, "rootfs"), 0o777);
    Bun.spawnSync(["mount", "-t", "tmpfs", "x", join(source, "sub")]);
    try {
      file("sub/f1000", 1000);
      return { ...(await runtime.run(["run", "-b", bundle, `i${ids++}`])), source };
    } finally {
      Bun.spawnSync(["umount", join(source, "sub")]);
    }
  }
  const userns = (s: Spec & { linux: NonNullable<Spec["linux"]> }, bundle?: string) => {
    s.linux.namespaces!.push({ type: "user" });
    s.linux.uidMappings = map([0, 100_000, 65_536]);
    s.linux.gidMappings = map([0, 100_000, 65_536]);
    return bundle;
  };
  const stat = "for f in f0 f1000 f5000 sub/f1000; do stat -c '%u:%g' /m/$f; done";

  test.each<[string, Partial<Mount>, string]>([
    [
      "one range",
      { options: ["rbind"], uidMappings: map([1000, 0, 1]), gidMappings: map([1000, 7, 1]) },
      "65534:65534 0:7 65534:65534 1000:1000",
    ],
    [
      "several ranges",
      {
        options: ["rbind", "idmap"],
        uidMappings: map([0, 50, 1], [1000, 2000, 10], [5000, 1, 1]),
        gidMappings: map([0, 60, 1], [1000, 3000, 10], [5000, 2, 1]),
      },
      "50:60 2000:3000 1:2 1000:1000",
    ],
    [
      "ridmap: what is mounted below too",
      {
        options: ["rbind", "ridmap"],
        uidMappings: map([0, 0, 1], [1000, 9, 1]),
        gidMappings: map([0, 0, 1], [1000, 9, 1]),
      },
      "0:0 9:9 65534:65534 9:9",
    ],
    [
      "idmap: not what is below",
      {
        options: ["rbind", "idmap", "ro"],
        uidMappings: map([0, 0, 1], [1000, 9, 1]),
        gidMappings: map([0, 0, 1], [1000, 9, 1]),
      },
      "0:0 9:9 65534:65534 1000:1000",
    ],
  ])("%s", async (_, mount, expected) => {
    const { out, err } = await run(stat, mount);
    expect([out.trim().split("\n").join(" "), err]).toEqual([expected, ""]);
  });

  test("idmap without mappings: those of the container's user namespace, both ways", async () => {
    const { out, err, source } = await run(
      `${stat}; touch /m/new; stat -c %u /m/new`,
      { options: ["rbind", "ridmap"] },
      userns as never,
    );
    expect([out.trim().split("\n").join(" "), err]).toEqual(["0:0 1000:1000 5000:5000 1000:1000 0", ""]);
    expect(statSync(join(source, "new")).uid).toBe(0);
    // Without it they are nobody's.
    const plain = await run(stat, { options: ["rbind"] }, userns as never);
    expect(plain.out).toStartWith("65534:65534\n65534:65534\n");
  });

  test("mappings of its own in a user namespace", async () => {
    const mount = { options: ["bind"], uidMappings: map([0, 100_005, 1]), gidMappings: map([0, 100_006, 1]) };
    const { out } = await run("stat -c %u:%g /m/f0 /m/f1000", mount, userns as never);
    expect(out).toBe("5:6\n65534:65534\n");
  });

  test("a file system of its own: tmpfs", async () => {
    const mount = {
      type: "tmpfs",
      source: "tmpfs",
      options: ["mode=777"],
      uidMappings: map([0, 0, 1], [44, 33, 1]),
      gidMappings: map([0, 0, 1], [44, 33, 1]),
    };
    const { out, err } = await run("touch /m/x; stat -c %u /m/x; grep ' /m ' /proc/self/mountinfo", mount);
    expect(err).toBe("");
    expect(out).toMatch(/^0\n.* \/m rw,\S*idmapped/);
  });

  test.each<[string, Partial<Mount>, string]>([
    [
      "idmap with neither",
      { options: ["bind", "idmap"] },
      "idmap needs uidMappings and gidMappings, or a user namespace",
    ],
    [
      "one of the two",
      { options: ["bind"], uidMappings: map([0, 1, 1]) },
      "uidMappings and gidMappings must be given together",
    ],
    [
      "the other of the two",
      { options: ["bind"], gidMappings: map([0, 1, 1]) },
      "uidMappings and gidMappings must be given together",
    ],
    [
      "ranges that overlap",
      { options: ["bind"], uidMappings: map([0, 1, 2], [1, 9, 1]), gidMappings: map([0, 1, 1]) },
      "uid_map",
    ],
    [
      "what cannot be mapped",
      { type: "proc", source: "proc", uidMappings: map([0, 1, 1]), gidMappings: map([0, 1, 1]) },
      "EINVAL",
    ],
  ])("refused: %s", async (_, mount, message) => {
    const { code, err } = await run("true", mount);
    expect({ code, err }).toEqual({ code: 1, err: expect.stringContaining(message) });
    expect(readFileSync("/proc/self/mountinfo", "utf8")).not.toContain(runtime.dir);
  });

  test("tmpcopyup in a user namespace: the owners are the container's", async () => {
    const bundle = runtime.bundle("stat -c %u:%g /d /d/f; touch /d/g; echo x > /d/f && cat /d/f", (s) => {
      s.root!.readonly = false;
      userns(s as never);
      s.mounts!.push({ destination: "/d", type: "tmpfs", source: "t", options: ["tmpcopyup"] });
      s.mounts!.push({ destination: "/e", type: "tmpfs", source: "t", options: ["tmpcopyup", "uid=3"] });
    });
    const d = join(bundle, "rootfs/d");
    mkdirSync(d);
    writeFileSync(join(d, "f"), "");
    for (const path of [join(bundle, "rootfs"), d, join(d, "f")]) chownSync(path, 100_000, 100_000);
    expect(await runtime.run(["run", "-b", bundle, `i${ids++}`])).toEqual({ code: 0, err: "", out: "0:0\n0:0\nx\n" });
  });
});
