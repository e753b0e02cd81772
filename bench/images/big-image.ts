import { createHash } from "node:crypto";
import { createReadStream, lstatSync, readdirSync, statSync, writeFileSync } from "node:fs";
import { join } from "node:path";
import type { Workspace } from "../workspace.ts";

export const REPOSITORY = "big";
export const TAG = "1";
const LAYERS = 9;
const WANTED = 1 << 30;
/** What is in it differs from machine to machine: the figures beside each other are of one. */
const SOURCE = "/usr";

export interface BigLayer {
  file: string;
  digest: string;
  diffId: string;
  size: number;
}

export interface BigImage {
  layers: BigLayer[];
  config: Buffer;
  /** Of the plain tars. */
  bytes: number;
  entries: number;
}

/** An image of about 1 GiB in gzip layers, of the machine's own files. */
export async function makeBigImage(workspace: Workspace): Promise<BigImage> {
  const dir = workspace.directory("big");
  const lists: string[][] = [[]];
  let bytes = 0;
  for (const { path, size } of filesBelow(SOURCE)) {
    lists.at(-1)!.push(path);
    bytes += size;
    if (bytes >= WANTED) break;
    if (bytes >= (WANTED / LAYERS) * lists.length) lists.push([]);
  }
  const diffIds: string[] = [];
  const layers: BigLayer[] = [];
  const make = async (list: string[], i: number) => {
    const [names, tar, file] = [join(dir, `${i}.list`), join(dir, `${i}.tar`), join(dir, `${i}.tar.gz`)];
    writeFileSync(names, list.map((path) => `${path.slice(1)}\0`).join(""));
    await run(["tar", "--no-recursion", "-C", "/", "--null", "-T", names, "-cf", tar]);
    diffIds[i] = await digestOf(tar);
    await run(["sh", "-c", 'exec gzip -c -4 "$0" >"$1"', tar, file]);
    layers[i] = { file, digest: await digestOf(file), diffId: diffIds[i]!, size: statSync(file).size };
    await run(["rm", tar]);
  };
  for (let i = 0; i < lists.length; i += 2) {
    await Promise.all(lists.slice(i, i + 2).map((list, j) => make(list, i + j)));
  }
  const architecture = process.arch === "x64" ? "amd64" : "arm64";
  const config = {
    architecture,
    os: "linux",
    config: { Cmd: ["true"] },
    rootfs: { type: "layers", diff_ids: diffIds },
  };
  const entries = lists.reduce((sum, list) => sum + list.length, 0);
  return { layers, config: Buffer.from(JSON.stringify(config)), bytes, entries };
}

/** Uploads it with plain requests (distribution-spec, "Pushing"). */
export async function upload(host: string, image: BigImage): Promise<void> {
  const base = `http://${host}/v2/${REPOSITORY}`;
  const put = async (digest: string, body: Bun.BodyInit) => {
    const begun = await fetch(`${base}/blobs/uploads/`, { method: "POST" });
    const place = new URL(begun.headers.get("location")!, base);
    place.searchParams.set("digest", digest);
    const done = await fetch(place, { method: "PUT", body, headers: { "Content-Type": "application/octet-stream" } });
    if (done.status !== 201) throw new Error(`upload of ${digest}: status ${done.status}`);
  };
  for (const { digest, file } of image.layers) await put(digest, Bun.file(file));
  const config = `sha256:${createHash("sha256").update(image.config).digest("hex")}`;
  await put(config, new Uint8Array(image.config));
  const type = "application/vnd.docker.distribution.manifest.v2+json";
  const manifest = {
    schemaVersion: 2,
    mediaType: type,
    config: { mediaType: "application/vnd.docker.container.image.v1+json", digest: config, size: image.config.length },
    layers: image.layers.map(({ digest, size }) => {
      return { mediaType: "application/vnd.docker.image.rootfs.diff.tar.gzip", digest, size };
    }),
  };
  const answer = await fetch(`${base}/manifests/${TAG}`, {
    method: "PUT",
    headers: { "Content-Type": type },
    body: JSON.stringify(manifest),
  });
  if (answer.status !== 201) throw new Error(`upload of the manifest: status ${answer.status}: ${await answer.text()}`);
}

function* filesBelow(directory: string): Generator<{ path: string; size: number }> {
  yield { path: directory, size: 0 };
  for (const { name } of readdirSync(directory, { withFileTypes: true }).sort((a, b) => (a.name < b.name ? -1 : 1))) {
    const path = join(directory, name);
    const stat = lstatSync(path);
    if (stat.isDirectory()) yield* filesBelow(path);
    else if (stat.isFile() || stat.isSymbolicLink()) yield { path, size: stat.isFile() ? stat.size : 0 };
  }
}

async function run(argv: string[]): Promise<void> {
  const child = Bun.spawn(argv, { stdio: ["ignore", "ignore", "pipe"] });
  if ((await child.exited) !== 0) throw new Error(`${argv[0]}: ${await new Response(child.stderr).text()}`);
}

async function digestOf(file: string): Promise<string> {
  const hash = createHash("sha256");
  for await (const chunk of createReadStream(file, { highWaterMark: 1 << 20 })) hash.update(chunk);
  return `sha256:${hash.digest("hex")}`;
}
