import { afterEach, describe, expect, test } from "bun:test";
import { mkdtempSync, readdirSync, readFileSync, rmSync, truncateSync, writeFileSync } from "node:fs";
import { connect } from "node:net";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { sha256 } from "../../src/base/digest.ts";
import { startInroRegistry } from "../../src/registry/testing/inro-registry.ts";
import { MEDIA } from "../../src/spec/oci-image.ts";
import { command } from "../harness.ts";
import { Client, encode, where, withDigest } from "./conformance.ts";

let stop: (() => Promise<void>) | undefined;
afterEach(async () => {
  await stop?.();
  stop = undefined;
});
async function start(options: Parameters<typeof startInroRegistry>[0] = {}) {
  const running = await startInroRegistry(options);
  stop = running.stop;
  return { ...running, client: new Client(`http://${running.host}`, "team/app") };
}
const basic = (text: string) => ({ headers: { Authorization: `Basic ${Buffer.from(text).toString("base64")}` } });

describe("users", () => {
  test("a password is needed, of a user", async () => {
    const { client } = await start({ users: { ann: "secret", ben: "x:y" } });
    const refused = await client.refused(401, "UNAUTHORIZED", "GET", "/v2/");
    expect(refused.headers.get("www-authenticate")).toStartWith("Basic realm=");
    for (const wrong of ["ann:wrong", "ann:", "nobody:secret", "ann", ":secret"]) {
      await client.expect(401, "POST", "blobs/uploads/", basic(wrong));
    }
    for (const right of ["ann:secret", "ben:x:y", "ann:secret"]) await client.expect(200, "GET", "/v2/", basic(right));
  });

  test("a changed file counts at once, a broken one not", async () => {
    const { client, registry } = await start({ users: { ann: "secret" } });
    const file = join(registry.store.dir, "../htpasswd");
    await client.expect(200, "GET", "/v2/", basic("ann:secret"));
    writeFileSync(file, "garbage");
    await client.expect(200, "GET", "/v2/", basic("ann:secret"));
    writeFileSync(
      file,
      `ben:${Bun.password.hashSync("new", { algorithm: "bcrypt", cost: 4 }).replace("$2b", "$2y")}\n`,
    );
    await client.expect(401, "GET", "/v2/", basic("ann:secret"));
    await client.expect(200, "GET", "/v2/", basic("ben:new"));
  });
});

test("read-only serves what is there and takes nothing", async () => {
  const { client } = await start({ readOnly: true });
  await client.refused(405, "UNSUPPORTED", "POST", "blobs/uploads/");
  await client.refused(405, "UNSUPPORTED", "DELETE", `blobs/${sha256("x")}`);
  await client.expect(200, "GET", "/v2/");
});

test("a web page may not write", async () => {
  const { client } = await start();
  await client.refused(403, "DENIED", "POST", "blobs/uploads/", { headers: { Origin: "http://evil.example" } });
});

test("a directory has one registry", async () => {
  const { registry } = await start();
  const child = Bun.spawnSync([...command, "registry", "gc", "--data", registry.store.dir]);
  expect(child.exitCode).toBe(1);
  expect(child.stderr.toString()).toContain("is another registry using this directory?");
});

test("an upload goes on where a lost connection left it, and after a restart", async () => {
  const { client, registry, host } = await start();
  const location = await client.begin();
  const [name, port] = host.split(":");
  const arrived = Buffer.alloc(100_000, "a");
  const socket = connect(Number(port), name);
  socket.write(`PATCH ${location} HTTP/1.1\r\nHost: x\r\nContent-Length: 200000\r\n\r\n`);
  socket.write(arrived);
  const range = async () => (await client.expect(204, "GET", location)).headers.get("range");
  while ((await range()) !== "0-99999") await Bun.sleep(5);
  await client.refused(409, "BLOB_UPLOAD_INVALID", "PATCH", location, { body: Buffer.alloc(0) });
  socket.destroy();
  while ((await client.ask("PATCH", location, { body: Buffer.alloc(0) })).status !== 202) await Bun.sleep(5);
  expect(await range()).toBe("0-99999");
  // A second registry on the same directory knows the upload by its file.
  await registry.close();
  const { Registry } = await import("../../src/registry/server/server.ts");
  const again = new Registry({ data: registry.store.dir });
  const client2 = new Client(`http://127.0.0.1:${await again.listen("127.0.0.1", 0)}`, "team/app");
  const rest = Buffer.alloc(50_000, "b");
  const next = where(
    await client2.expect(202, "PATCH", location, { body: rest, headers: { "Content-Range": "100000-149999" } }),
  );
  await client2.expect(201, "PUT", withDigest(next, sha256(Buffer.concat([arrived, rest]))));
  await again.close();
});

test("an upload that says nothing for too long is given up, what came of it stays", async () => {
  const { client, host } = await start({ silence: 100 });
  const location = await client.begin();
  const [name, port] = host.split(":");
  await new Promise<void>((resolve) => {
    const socket = connect(Number(port), name, () =>
      socket.write(`PATCH ${location} HTTP/1.1\r\nHost: x\r\nContent-Length: 100\r\n\r\nabc`),
    );
    socket.on("close", () => resolve());
    socket.on("error", () => {});
  });
  expect((await client.expect(204, "GET", location)).headers.get("range")).toBe("0-2");
});

describe("what nobody needs goes", () => {
  const blobs = (dir: string) => readdirSync(join(dir, "blobs/sha256")).length;

  test("a deleted blob's file goes with its last repository", async () => {
    const { client, registry } = await start();
    const { digest } = await client.blob(Buffer.from("shared"));
    await client.in("other").expect(201, "POST", `blobs/uploads/?mount=${digest}&from=team/app`);
    await client.expect(202, "DELETE", `blobs/${digest}`);
    expect(blobs(registry.store.dir)).toBe(1);
    await client.in("other").expect(202, "DELETE", `blobs/${digest}`);
    expect(blobs(registry.store.dir)).toBe(0);
  });

  test("collection takes blobs without a manifest, and manifests without a tag when asked", async () => {
    const { client, registry } = await start();
    const { store, uploads } = registry;
    const kept = await client.image("kept");
    await client.put(kept, "kept");
    const { mediaType, digest, size } = kept;
    const signature = encode({
      schemaVersion: 2,
      mediaType: MEDIA.ociManifest,
      config: await client.blob(Buffer.from("{}"), "application/vnd.example.signature"),
      layers: [],
      subject: { mediaType, digest, size },
    });
    await client.put(signature, signature.digest);
    const child = await client.image("child");
    await client.put(child, child.digest);
    const index = encode({
      schemaVersion: 2,
      mediaType: MEDIA.ociIndex,
      manifests: [{ mediaType, digest: child.digest, size: child.size }],
    });
    await client.put(index, index.digest);
    await client.blob(Buffer.from("never came to a manifest"));
    const files = blobs(store.dir);

    expect(await store.collect({ grace: 60_000 })).toMatchObject({ blobs: 0, manifests: 0 });
    expect(await store.collect({ grace: -1, dryRun: true, untagged: true })).toMatchObject({ blobs: 3, manifests: 2 });
    expect(blobs(store.dir)).toBe(files);
    expect(await store.collect({ grace: -1 })).toMatchObject({ blobs: 1, manifests: 0 });
    expect(blobs(store.dir)).toBe(files - 1);
    expect(await store.collect({ grace: -1, untagged: true })).toMatchObject({ blobs: 2, manifests: 2 });
    await client.expect(404, "GET", `manifests/${index.digest}`);
    await client.expect(200, "GET", `manifests/${signature.digest}`);
    await client.expect(200, "GET", `blobs/${sha256("layer kept")}`);

    const location = await client.begin();
    expect(uploads.sweep(60_000)).toBe(0);
    expect(uploads.sweep(0, Date.now() + 1000)).toBe(1);
    await client.expect(404, "GET", location);
  });
});

test("a blob of 256 MiB goes in and out in little memory", async () => {
  const dir = mkdtempSync(join(tmpdir(), "inro-registry-"));
  const child = Bun.spawn([...command, "registry", "serve", "--listen", "127.0.0.1:0", "--data", dir], {
    stderr: "pipe",
  });
  try {
    let said = "";
    for await (const chunk of child.stderr) {
      said += Buffer.from(chunk);
      if (said.includes("\n")) break;
    }
    const base = /listening on (\S+)/.exec(said)![1]!;
    const client = new Client(base, "large");
    const file = join(dir, "large");
    writeFileSync(file, "");
    truncateSync(file, 256 * 1024 * 1024);
    const hash = new Bun.CryptoHasher("sha256");
    for await (const chunk of Bun.file(file).stream()) hash.update(chunk);
    const digest = `sha256:${hash.digest("hex")}`;
    const location = withDigest(await client.begin(), digest);
    const put = await fetch(new URL(location, base), { method: "PUT", body: Bun.file(file) });
    expect(put.status).toBe(201);
    const got = await fetch(new URL(`/v2/large/blobs/${digest}`, base));
    let size = 0;
    for await (const chunk of got.body!) size += chunk.length;
    expect(size).toBe(256 * 1024 * 1024);
    const peak = Number(/VmHWM:\s+(\d+) kB/.exec(readFileSync(`/proc/${child.pid}/status`, "utf8"))![1]);
    expect(peak).toBeLessThan(200 * 1024);
  } finally {
    child.kill("SIGTERM");
    expect(await child.exited).toBe(0);
    rmSync(dir, { recursive: true });
  }
}, 60_000);
