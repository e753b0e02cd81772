import { expect } from "bun:test";
import { mkdtempSync, readFileSync, writeFileSync } from "node:fs";
import { join } from "node:path";
import { busyboxRoot, type TestEngine } from "../harness.ts";

/** An image of busybox and what `fill` makes in its root; `dir` is for what that takes. Gives `name`. */
export async function importImage(
  engine: TestEngine,
  dir: string,
  name: string,
  fill: (root: string) => void,
): Promise<string> {
  const root = busyboxRoot(dir);
  fill(root);
  const tar = join(dir, `${name}.tar`);
  const options = ["--xattrs", "--xattrs-include=*", "--numeric-owner"];
  const { exitCode } = Bun.spawnSync(["tar", "-C", root, ...options, "-cf", tar, "."]);
  expect(exitCode).toBe(0);
  await engine.ok("import", tar, name);
  return name;
}

/** An image of the layers of another one and a directory, as `docker save` would write it. */
export async function stackImage(engine: TestEngine, dir: string, base: string, top: string): Promise<string> {
  const work = mkdtempSync(join(dir, "stack-"));
  const tar = (...args: string[]) => {
    const { exitCode, stderr } = Bun.spawnSync(["tar", ...args]);
    if (exitCode !== 0) throw new Error(`tar: ${stderr}`);
  };
  await engine.ok("save", "-o", join(work, "base.tar"), base);
  tar("-C", work, "-xf", join(work, "base.tar"));
  tar("-C", top, "-cf", join(work, "top.tar"), ".");
  const [manifest] = JSON.parse(readFileSync(join(work, "manifest.json"), "utf8"));
  const config = JSON.parse(readFileSync(join(work, manifest.Config), "utf8"));
  config.rootfs.diff_ids.push(
    `sha256:${new Bun.CryptoHasher("sha256").update(readFileSync(join(work, "top.tar"))).digest("hex")}`,
  );
  delete config.history;
  writeFileSync(join(work, "config.json"), JSON.stringify(config));
  const name = `${base}-stacked:latest`;
  writeFileSync(
    join(work, "manifest.json"),
    JSON.stringify([{ Config: "config.json", RepoTags: [name], Layers: [...manifest.Layers, "top.tar"] }]),
  );
  tar("-C", work, "-cf", join(dir, "stacked.tar"), "manifest.json", "config.json", "top.tar", ...manifest.Layers);
  await engine.ok("load", "-i", join(dir, "stacked.tar"));
  return name;
}
