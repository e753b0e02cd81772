import { afterAll, beforeAll, describe, expect, test } from "bun:test";
import { readFileSync, rmSync } from "node:fs";
import { join } from "node:path";
import { gzipSync } from "node:zlib";
import { sha256 } from "../../src/base/digest.ts";
import { startInroRegistry } from "../../src/registry/testing/inro-registry.ts";
import { TestPusher } from "../../src/registry/testing/push.ts";
import { MEDIA } from "../../src/spec/oci-image.ts";
import { busyboxTar, hasBusybox, isRoot, TestEngine, temporary } from "../harness.ts";

const skopeo = Bun.which("skopeo");
const podman = Bun.which("podman");
const arch = process.arch === "x64" ? "amd64" : "arm64";

let registry: Awaited<ReturnType<typeof startInroRegistry>>;
let dir: string;
beforeAll(async () => {
  dir = temporary();
  registry = await startInroRegistry({ users: { ann: "secret" } });
  if (!hasBusybox) return;
  const layer = readFileSync(busyboxTar(dir));
  const config = {
    architecture: arch,
    os: "linux",
    config: { Cmd: ["echo", "from the registry"], Env: ["PATH=/bin"] },
    rootfs: { type: "layers", diff_ids: [sha256(layer)] },
  };
  const pusher = new TestPusher(registry.host, "team/app", { username: "ann", password: "secret" });
  await pusher.image(config, [{ data: gzipSync(layer, { level: 1 }), mediaType: MEDIA.ociLayerGzip }], "latest");
});
afterAll(async () => {
  await registry?.stop();
  rmSync(dir, { recursive: true, force: true });
});

async function run(argv: string[], env: Record<string, string> = {}) {
  const child = Bun.spawn(argv, { stdout: "pipe", stderr: "pipe", env: { ...process.env, ...env } });
  const [stdout, stderr, code] = await Promise.all([
    new Response(child.stdout).text(),
    new Response(child.stderr).text(),
    child.exited,
  ]);
  return { code, stdout, stderr };
}

describe.skipIf(!skopeo || !hasBusybox)(`skopeo${skopeo ? "" : " (not installed)"}`, () => {
  const credentials = ["--src-creds=ann:secret", "--src-tls-verify=false"];
  const to = ["--dest-creds=ann:secret", "--dest-tls-verify=false"];
  test("copies an image out, and in again under other names and forms", async () => {
    const layout = `oci:${join(dir, "layout")}:latest`;
    const from = `docker://${registry.host}/team/app:latest`;
    expect(await run(["skopeo", "copy", ...credentials, from, layout])).toMatchObject({ code: 0 });
    for (const form of ["oci", "v2s2"]) {
      const name = `docker://${registry.host}/copied/${form}:1`;
      expect(await run(["skopeo", "copy", "--format", form, ...to, layout, name])).toMatchObject({ code: 0 });
    }
    // Within the registry: blobs are mounted.
    const copied = await run([
      "skopeo",
      "copy",
      ...credentials,
      ...to,
      from,
      `docker://${registry.host}/copied/mounted:1`,
    ]);
    expect(copied).toMatchObject({ code: 0 });
    const tags = await run([
      "skopeo",
      "list-tags",
      "--creds=ann:secret",
      "--tls-verify=false",
      `docker://${registry.host}/copied/v2s2`,
    ]);
    expect(JSON.parse(tags.stdout).Tags).toEqual(["1"]);
    const gone = await run([
      "skopeo",
      "delete",
      "--creds=ann:secret",
      "--tls-verify=false",
      `docker://${registry.host}/copied/oci:1`,
    ]);
    expect(gone).toMatchObject({ code: 0 });
  }, 30_000);
});

describe.skipIf(!podman || !isRoot || !hasBusybox)(`podman${podman ? "" : " (not installed)"}`, () => {
  test("pulls, pushes in chunks, pulls what it pushed", async () => {
    const own = ["--root", join(dir, "podman"), "--runroot", join(dir, "podman-run"), "--storage-driver", "vfs"];
    const access = ["--creds", "ann:secret", "--tls-verify=false"];
    try {
      const pulled = await run(["podman", ...own, "pull", "-q", ...access, `${registry.host}/team/app`]);
      expect(pulled).toMatchObject({ code: 0 });
      const pushed = await run([
        "podman",
        ...own,
        "push",
        "-q",
        ...access,
        pulled.stdout.trim(),
        `${registry.host}/podman/app:2`,
      ]);
      expect(pushed).toMatchObject({ code: 0 });
      expect(await run(["podman", ...own, "rmi", "-af"])).toMatchObject({ code: 0 });
      const again = await run(["podman", ...own, "pull", "-q", ...access, `${registry.host}/podman/app:2`]);
      expect(again.stdout).toBe(pulled.stdout);
    } finally {
      await run(["podman", ...own, "rmi", "-af"]);
    }
  }, 60_000);
});

describe.skipIf(!isRoot || !hasBusybox)("inro", () => {
  let engine: TestEngine;
  beforeAll(async () => {
    engine = await new TestEngine().start();
  });
  afterAll(() => engine?.stop());
  test("logs in, pulls and runs", async () => {
    const env = { DOCKER_CONFIG: join(dir, "config") };
    const name = `${registry.host}/team/app`;
    expect((await engine.inro(["pull", name], { env })).code).toBe(1);
    const login = await engine.inro(["login", "-u", "ann", "--password-stdin", registry.host], {
      env,
      stdin: "secret",
    });
    expect(login).toMatchObject({ code: 0 });
    const ran = await engine.inro(["run", "--rm", "-q", name], { env });
    expect(ran).toMatchObject({ code: 0, stdout: "from the registry\n" });
  });
});
