import { describe, expect, test } from "bun:test";
import { Paths } from "../../src/engine/paths.ts";
import { engineForTests } from "../harness.ts";
import { missing } from "../isolation/container.ts";

interface Part {
  ActiveCount: number;
  TotalCount: number;
  Reclaimable: number;
  TotalSize: number;
  Items?: object[];
}

describe.skipIf(missing !== "")(`disk usage and prune${missing}`, () => {
  const engine = missing ? undefined! : engineForTests();
  const df = async (version: string, query = "") => {
    const answer = await fetch(`http://inro/v${version}/system/df${query}`, { unix: engine.socket });
    return (await answer.json()) as Record<string, Part> & Record<string, object[]> & { LayersSize: number };
  };

  test("all that takes space is counted once", async () => {
    await engine.ok("tag", "busybox", "other:1");
    const write = "head -c 300000 /dev/zero > /big; ln /big /again; head -c 100000 /dev/zero > /v/f";
    await engine.ok("run", "--name", "writer", "-v", "full:/v", "busybox", "sh", "-c", write);
    await engine.ok("volume", "create", "idle");
    const old = await df("1.51");
    expect(old.LayersSize).toBeGreaterThan(500_000);
    expect(old.Images).toMatchObject([{ Size: old.LayersSize, SharedSize: 0, Containers: 1 }]);
    expect(old.Containers).toMatchObject([
      { Names: ["/writer"], SizeRw: 300_000, SizeRootFs: old.LayersSize + 300_000 },
    ]);
    expect(old.Volumes).toMatchObject([
      { Name: "full", UsageData: { Size: 100_000, RefCount: 1 } },
      { Name: "idle", UsageData: { Size: 0, RefCount: 0 } },
    ]);
    expect(old.BuildCache as object[]).toEqual([]);
    expect(old.ImageUsage).toBeUndefined();

    const now = await df("1.52", "?verbose=1");
    expect(Object.keys(now)).toEqual(["ImageUsage", "ContainerUsage", "VolumeUsage", "BuildCacheUsage"]);
    expect(now.ContainerUsage).toMatchObject({
      ActiveCount: 0,
      TotalCount: 1,
      Reclaimable: 300_000,
      TotalSize: 300_000,
    });
    expect(now.VolumeUsage).toMatchObject({ ActiveCount: 1, TotalCount: 2, Reclaimable: 0, TotalSize: 100_000 });
    const { content, layers } = new Paths(engine.dataRoot, engine.execRoot);
    const du = Bun.spawnSync(["du", "--summarize", "--total", "--block-size=1", content, layers]).stdout.toString();
    expect(now.ImageUsage).toMatchObject({ ActiveCount: 1, TotalCount: 1, Reclaimable: 0 });
    expect(du).toEndWith(`${now.ImageUsage!.TotalSize}\ttotal\n`);
    expect(now.VolumeUsage!.Items).toEqual(old.Volumes!);
    const both = await df("1.52");
    expect([both.ImageUsage!.Items, both.Images]).toEqual([undefined!, old.Images!]);
  });

  test("types choose, and those who ask at the same time share a walk", async () => {
    expect(await df("1.51", "?type=volume")).toMatchObject({
      Images: null,
      Containers: null,
      BuildCache: null,
      LayersSize: 0,
    });
    expect(Object.keys(await df("1.52", "?verbose=1&type=image&type=build-cache"))).toEqual([
      "ImageUsage",
      "BuildCacheUsage",
    ]);
    expect(await df("1.51", "?type=food")).toMatchObject({ message: "unknown object type: food" });
    expect((await df("1.41", "?type=food")).LayersSize).toBeGreaterThan(0);
    const answers = await Promise.all(Array.from({ length: 20 }, () => df("1.51")));
    expect(new Set(answers.map((one) => JSON.stringify(one.Volumes))).size).toBe(1);
  });

  test("the command line", async () => {
    const lines = (await engine.ok("system", "df")).split("\n");
    expect(lines.map((line) => line.split(/ {2,}/))).toEqual([
      ["TYPE", "TOTAL", "ACTIVE", "SIZE", "RECLAIMABLE"],
      ["Images", "1", "1", expect.stringMatching(/^\d.*[kM]B$/), "0B (0%)"],
      ["Containers", "1", "0", "300kB", "300kB (100%)"],
      ["Local Volumes", "2", "1", "100kB", "0B (0%)"],
      ["Build Cache", "0", "0", "0B", "0B"],
    ]);
    const verbose = await engine.ok("system", "df", "-v");
    expect(verbose).toMatch(/^Images space usage:\n\nREPOSITORY {3}TAG .*\nbusybox .*\n\nContainers space usage:\n\n/);
    expect(verbose).toContain(
      "\n\nLocal Volumes space usage:\n\nVOLUME NAME   LINKS     SIZE\nfull          1         100kB\nidle ",
    );
    expect(await engine.ok("system", "df", "--format", "{{.Type}}={{.TotalCount}}")).toStartWith(
      "Images=1\nContainers=1\n",
    );
    const json = JSON.parse(await engine.ok("system", "df", "-v", "--format", "json"));
    expect(json.Volumes[0]).toMatchObject({ Name: "full", Links: "1", Size: "100kB" });
    // Docker's and ours read both forms.
    const asked = await engine.inro(["system", "df", "--format", "{{.Size}}"], { env: { DOCKER_API_VERSION: "1.51" } });
    expect(asked.stdout).toContain("\n300kB\n100kB\n");
  });

  test("prunes ask, and take what nobody uses", async () => {
    const ask = "Are you sure you want to continue? [y/N] ";
    const no = await engine.inro(["container", "prune"], { stdin: "no\n" });
    expect([no.code, no.stdout]).toEqual([0, `WARNING! This will remove all stopped containers.\n${ask}`]);
    const system = await engine.inro(["system", "prune", "--volumes", "-a", "--filter", "label=x"], { stdin: "" });
    expect(system.stdout).toBe(
      `WARNING! This will remove:
  - all stopped containers
  - all networks not used by at least one container
  - all anonymous volumes not used by at least one container
  - all images without at least one container associated to them
  - all build cache

  Items to be pruned will be filtered with:
  - label=x

${ask}`,
    );
    const wrong = await engine.inro(["system", "prune", "-f", "--volumes", "--filter", "until=1h"]);
    expect([wrong.code, wrong.stderr]).toEqual([1, 'ERROR: The "until" filter is not supported with "--volumes"\n']);

    await engine.ok("create", "-v", "/anonymous", "--name", "second", "busybox", "true");
    const gone = await engine.ok("container", "prune", "-f");
    expect(gone).toMatch(/^Deleted Containers:\n[0-9a-f]{64}\n[0-9a-f]{64}\n\nTotal reclaimed space: 300kB$/);
    expect(await engine.ok("container", "prune", "-f")).toBe("Total reclaimed space: 0B");
    expect(await engine.ok("image", "prune", "-f")).toBe("Total reclaimed space: 0B");
    const all = await engine.ok("system", "prune", "-af", "--volumes");
    expect(all).toMatch(
      /^Deleted Volumes:\n[0-9a-f]{64}\n\nDeleted Images:\nuntagged: busybox:latest\nuntagged: other:1\n(deleted: sha256:[0-9a-f]{64}\n)+\nTotal reclaimed space: \d.*[kM]B$/,
    );
    expect(await engine.ok("images", "-q")).toBe("");
    expect(await engine.ok("volume", "ls", "-q")).toBe("full\nidle");
  });
});
