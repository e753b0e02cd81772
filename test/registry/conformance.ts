import { sha256 } from "../../src/base/digest.ts";
import { MEDIA } from "../../src/spec/oci-image.ts";

/** The workflows of the distribution-spec's conformance programme, as cases that any registry can be asked. */
export interface Case {
  workflow: "pull" | "push" | "discovery" | "management" | "errors";
  name: string;
  /** Throws where the registry does not do it. */
  run(client: Client): Promise<void>;
  /** Why docker-registry does not; such a case must fail there. */
  dockerRegistry?: string;
}

export const EMPTY = Buffer.from("{}");
export const EMPTY_TYPE = "application/vnd.oci.empty.v1+json";

/** A client without any cleverness: what is sent is what a case says. */
export class Client {
  constructor(
    readonly base: string,
    /** A repository of the case's own. */
    readonly repo: string,
  ) {}

  async ask(
    method: string,
    path: string,
    options: { headers?: Record<string, string>; body?: Uint8Array<ArrayBuffer> } = {},
  ) {
    const url = new URL(path.startsWith("/") ? path : `/v2/${this.repo}/${path}`, this.base);
    const response = await fetch(url, { method, redirect: "manual", decompress: false, ...options });
    return { status: response.status, headers: response.headers, body: Buffer.from(await response.arrayBuffer()) };
  }

  async expect(status: number | number[], method: string, path: string, options: Parameters<Client["ask"]>[2] = {}) {
    const answer = await this.ask(method, path, options);
    if (![status].flat().includes(answer.status)) {
      throw new Error(
        `${method} ${path}: ${answer.status} instead of ${status}: ${answer.body.toString().slice(0, 300)}`,
      );
    }
    return answer;
  }

  /** The code of an error answer with this status. */
  async refused(
    status: number | number[],
    code: string,
    method: string,
    path: string,
    options: Parameters<Client["ask"]>[2] = {},
  ) {
    const answer = await this.expect(status, method, path, options);
    const { errors } = JSON.parse(answer.body.toString());
    equal(errors[0].code, code, `${method} ${path}: code`);
    return answer;
  }

  /** The upload's address. */
  async begin(): Promise<string> {
    const answer = await this.expect(202, "POST", "blobs/uploads/");
    return where(answer);
  }

  async blob(data: Uint8Array<ArrayBuffer>, mediaType = "application/octet-stream") {
    const digest = sha256(data);
    await this.expect(201, "PUT", withDigest(await this.begin(), digest), {
      headers: { "Content-Type": "application/octet-stream" },
      body: data,
    });
    return { mediaType, digest, size: data.length };
  }

  /** An image manifest of one config and these layers, not pushed yet. */
  async image(text: string, extra: object = {}) {
    const config = await this.blob(
      Buffer.from(JSON.stringify({ architecture: "amd64", os: "linux", text })),
      MEDIA.ociConfig,
    );
    const layer = await this.blob(Buffer.from(`layer ${text}`), MEDIA.ociLayer);
    return encode({ schemaVersion: 2, mediaType: MEDIA.ociManifest, config, layers: [layer], ...extra });
  }

  async put(manifest: Encoded, reference: string, status: number | number[] = 201) {
    return await this.expect(status, "PUT", `manifests/${reference}`, {
      headers: { "Content-Type": manifest.mediaType },
      body: manifest.bytes,
    });
  }

  in(repo: string): Client {
    return new Client(this.base, repo);
  }
}

export interface Encoded {
  bytes: Buffer<ArrayBuffer>;
  digest: string;
  mediaType: string;
  size: number;
}

export function encode(value: { mediaType: string; [field: string]: unknown }): Encoded {
  const bytes = Buffer.from(JSON.stringify(value));
  return { bytes, digest: sha256(bytes), mediaType: value.mediaType, size: bytes.length };
}

export function where(answer: { headers: Headers }): string {
  const location = answer.headers.get("location");
  if (location === null) throw new Error("no Location");
  return location.startsWith("http") ? location.slice(new URL(location).origin.length) : location;
}

export function withDigest(location: string, digest: string): string {
  return `${location}${location.includes("?") ? "&" : "?"}digest=${encodeURIComponent(digest)}`;
}

function equal(found: unknown, wanted: unknown, what: string): void {
  if (!Bun.deepEquals(found, wanted))
    throw new Error(`${what}: ${JSON.stringify(found)} instead of ${JSON.stringify(wanted)}`);
}

const chunk = (client: Client, location: string, from: number, data: Uint8Array<ArrayBuffer>, status: number) =>
  client.expect(status, "PATCH", location, {
    headers: { "Content-Type": "application/octet-stream", "Content-Range": `${from}-${from + data.length - 1}` },
    body: data,
  });

const NOTHING = sha256("nothing has this digest");
const LATER = "the referrers API came after 2.8";

export const cases: Case[] = [
  {
    workflow: "pull",
    name: "blobs and manifests by tag and digest, GET and HEAD",
    async run(client) {
      const manifest = await client.image("pull");
      const location = where(await client.put(manifest, "one"));
      if (!location.endsWith(`/manifests/${manifest.digest}`)) throw new Error(`Location ${location}`);
      for (const reference of ["one", manifest.digest]) {
        for (const method of ["GET", "HEAD"]) {
          const answer = await client.expect(200, method, `manifests/${reference}`, {
            headers: { Accept: MEDIA.ociManifest },
          });
          equal(answer.headers.get("docker-content-digest"), manifest.digest, "digest");
          equal(answer.headers.get("content-type"), MEDIA.ociManifest, "type");
          equal(answer.headers.get("content-length"), String(manifest.size), "length");
          if (method === "GET") equal(answer.body.equals(manifest.bytes), true, "bytes");
        }
      }
      const data = Buffer.from("layer pull");
      const got = await client.expect(200, "GET", `blobs/${sha256(data)}`);
      equal(got.body.toString(), "layer pull", "blob");
      const head = await client.expect(200, "HEAD", `blobs/${sha256(data)}`);
      equal(head.headers.get("content-length"), "10", "length");
    },
  },
  {
    workflow: "pull",
    name: "a range of a blob",
    dockerRegistry: "closes the connection at a range behind the end",
    async run(client) {
      const { digest } = await client.blob(Buffer.from("0123456789"));
      const part = await client.expect(206, "GET", `blobs/${digest}`, { headers: { Range: "bytes=4-6" } });
      equal([part.body.toString(), part.headers.get("content-range")], ["456", "bytes 4-6/10"], "part");
      const rest = await client.expect(206, "GET", `blobs/${digest}`, { headers: { Range: "bytes=7-" } });
      equal(rest.body.toString(), "789", "rest");
      const last = await client.expect(206, "GET", `blobs/${digest}`, { headers: { Range: "bytes=-2" } });
      equal(last.body.toString(), "89", "suffix");
      await client.expect(416, "GET", `blobs/${digest}`, { headers: { Range: "bytes=10-" } });
    },
  },
  {
    workflow: "pull",
    name: "what is not there is 404",
    async run(client) {
      await client.blob(Buffer.from("makes the repository"));
      await client.refused(404, "BLOB_UNKNOWN", "GET", `blobs/${NOTHING}`);
      await client.expect(404, "HEAD", `blobs/${NOTHING}`);
      await client.refused(404, "MANIFEST_UNKNOWN", "GET", "manifests/none");
      await client.expect(404, "HEAD", `manifests/${NOTHING}`);
    },
  },
  {
    workflow: "push",
    name: "POST, then PUT with the whole blob",
    async run(client) {
      const data = Buffer.from("monolithic");
      const answer = await client.expect(201, "PUT", withDigest(await client.begin(), sha256(data)), { body: data });
      const got = await client.expect(200, "GET", where(answer));
      equal(got.body.toString(), "monolithic", "blob");
    },
  },
  {
    workflow: "push",
    name: "one POST with the whole blob, or 202",
    async run(client) {
      const data = Buffer.from("single post");
      const answer = await client.expect([201, 202], "POST", `blobs/uploads/?digest=${sha256(data)}`, { body: data });
      if (answer.status === 202)
        await client.expect(201, "PUT", withDigest(where(answer), sha256(data)), { body: data });
      await client.expect(200, "HEAD", `blobs/${sha256(data)}`);
    },
  },
  {
    workflow: "push",
    name: "in chunks; one out of order is 416; GET says where to go on",
    dockerRegistry: "2.8 takes the bytes wherever they say they belong",
    async run(client) {
      const [one, two] = [Buffer.from("first chunk,"), Buffer.from("second chunk")];
      let location = await client.begin();
      await chunk(client, location, one.length, two, 416);
      location = where(await client.expect(204, "GET", location));
      const first = await chunk(client, location, 0, one, 202);
      equal(first.headers.get("range"), `0-${one.length - 1}`, "Range");
      location = where(first);
      await chunk(client, location, 0, one, 416);
      const status = await client.expect(204, "GET", location);
      equal(status.headers.get("range"), `0-${one.length - 1}`, "Range");
      location = where(await chunk(client, where(status), one.length, two, 202));
      await client.expect(201, "PUT", withDigest(location, sha256(Buffer.concat([one, two]))));
    },
  },
  {
    workflow: "push",
    name: "chunks without Content-Range append, the PUT may bring the last",
    async run(client) {
      let location = await client.begin();
      for (const part of ["a", "bc", "def"]) {
        location = where(await client.expect(202, "PATCH", location, { body: Buffer.from(part) }));
      }
      const digest = sha256("abcdefgh");
      await client.expect(201, "PUT", withDigest(location, digest), { body: Buffer.from("gh") });
      equal((await client.expect(200, "GET", `blobs/${digest}`)).body.toString(), "abcdefgh", "blob");
    },
  },
  {
    workflow: "push",
    name: "an upload is cancelled",
    async run(client) {
      const location = await client.begin();
      await client.expect(204, "DELETE", location);
      await client.refused(404, "BLOB_UPLOAD_UNKNOWN", "GET", location);
    },
  },
  {
    workflow: "push",
    name: "a blob is mounted from another repository; without it an upload begins",
    async run(client) {
      const { digest } = await client.in(`${client.repo}/source`).blob(Buffer.from(`mounted ${client.repo}`));
      const mounted = await client.expect(201, "POST", `blobs/uploads/?mount=${digest}&from=${client.repo}/source`);
      equal((await client.expect(200, "GET", where(mounted))).body.toString(), `mounted ${client.repo}`, "blob");
      const fallback = await client.expect(202, "POST", `blobs/uploads/?mount=${NOTHING}&from=${client.repo}/source`);
      await client.expect(204, "GET", where(fallback));
    },
  },
  {
    workflow: "push",
    name: "a blob of another repository is not here before it is mounted",
    async run(client) {
      const { digest } = await client.in(`${client.repo}/source`).blob(Buffer.from(`apart ${client.repo}`));
      await client.expect(404, "HEAD", `blobs/${digest}`);
    },
  },
  {
    workflow: "push",
    name: "manifests of both kinds, and an index of them",
    async run(client) {
      const oci = await client.image("oci");
      const config = await client.blob(Buffer.from('{"docker":1}'), MEDIA.dockerConfig);
      const docker = encode({ schemaVersion: 2, config, layers: [], mediaType: MEDIA.dockerManifest });
      await client.put(oci, oci.digest);
      await client.put(docker, "docker");
      const manifests = [oci, docker].map(({ mediaType, digest, size }) => ({
        mediaType,
        digest,
        size,
        platform: { os: "linux", architecture: "amd64" },
      }));
      const index = encode({ schemaVersion: 2, manifests, mediaType: MEDIA.ociIndex });
      await client.put(index, "index");
      const list = encode({ schemaVersion: 2, manifests, mediaType: MEDIA.dockerList });
      await client.put(list, "list");
      const got = await client.expect(200, "GET", "manifests/index", { headers: { Accept: MEDIA.ociIndex } });
      equal([got.headers.get("content-type"), sha256(got.body)], [MEDIA.ociIndex, index.digest], "index");
    },
  },
  {
    workflow: "push",
    name: "a manifest without layers",
    async run(client) {
      const config = await client.blob(EMPTY, MEDIA.ociConfig);
      await client.put(encode({ schemaVersion: 2, config, layers: [], mediaType: MEDIA.ociManifest }), "empty");
    },
  },
  {
    workflow: "push",
    name: "a manifest of 3.9 MiB",
    async run(client) {
      const manifest = await client.image("large", {
        annotations: { "org.example.large": "x".repeat(3.9 * 1024 * 1024) },
      });
      await client.put(manifest, "large");
      equal(
        (await client.expect(200, "GET", "manifests/large", { headers: { Accept: MEDIA.ociManifest } })).body.length,
        manifest.size,
        "bytes",
      );
    },
  },
  {
    workflow: "push",
    name: "a digest with several tags at once",
    dockerRegistry: "?tag= came after 2.8",
    async run(client) {
      const manifest = await client.image("tags");
      const answer = await client.put(manifest, `${manifest.digest}?tag=a&tag=b`);
      equal(answer.headers.get("oci-tag"), "a, b", "OCI-Tag");
      for (const tag of ["a", "b"]) await client.expect(200, "HEAD", `manifests/${tag}`);
    },
  },
  {
    workflow: "push",
    name: "blobs and manifests by sha512",
    dockerRegistry: "sha512 is compared with the sha256 of the content",
    async run(client) {
      const sha512 = (data: Uint8Array) => `sha512:${new Bun.CryptoHasher("sha512").update(data).digest("hex")}`;
      const data = Buffer.from("sha512");
      await client.expect(201, "PUT", withDigest(await client.begin(), sha512(data)), { body: data });
      equal((await client.expect(200, "GET", `blobs/${sha512(data)}`)).body.toString(), "sha512", "blob");
      const manifest = await client.image("sha512");
      await client.put(manifest, sha512(manifest.bytes));
      await client.expect(200, "GET", `manifests/${sha512(manifest.bytes)}`);
    },
  },
  {
    workflow: "push",
    name: "twelve pushes of one blob at once",
    async run(client) {
      const data = Buffer.alloc(300_000, client.repo);
      await Promise.all(Array.from({ length: 12 }, () => client.blob(data)));
      equal(sha256((await client.expect(200, "GET", `blobs/${sha256(data)}`)).body), sha256(data), "blob");
    },
  },
  {
    workflow: "discovery",
    name: "tags in order, by pages with Link",
    dockerRegistry: "2.8 lists them in the file system's order",
    async run(client) {
      const manifest = await client.image("list");
      const tags = ["a1", "a2", "b1", "b2", "c1"];
      for (const tag of tags.toReversed()) await client.put(manifest, tag);
      const all = await client.expect(200, "GET", "tags/list");
      equal(JSON.parse(all.body.toString()), { name: client.repo, tags }, "tags");
      const after = await client.expect(200, "GET", "tags/list?n=2&last=a2");
      equal(JSON.parse(after.body.toString()).tags, ["b1", "b2"], "page");
      const seen: string[] = [];
      for (let next: string | undefined = "tags/list?n=2"; next; ) {
        const answer: Awaited<ReturnType<Client["ask"]>> = await client.expect(200, "GET", next);
        seen.push(...JSON.parse(answer.body.toString()).tags);
        next = /^<([^>]+)>; *rel="?next"?$/.exec(answer.headers.get("link") ?? "")?.[1];
      }
      equal(seen, tags, "pages");
    },
  },
  {
    workflow: "discovery",
    name: "no tags at n=0",
    dockerRegistry: "n=0 is all of them, or an error",
    async run(client) {
      await client.put(await client.image("zero"), "one");
      const none = await client.expect(200, "GET", "tags/list?n=0");
      equal(JSON.parse(none.body.toString()).tags, [], "tags");
    },
  },
  {
    workflow: "discovery",
    name: "referrers, filtered by type, with annotations; the subject may come later",
    dockerRegistry: LATER,
    async run(client) {
      const manifest = await client.image("subject");
      const subject = { mediaType: manifest.mediaType, digest: manifest.digest, size: manifest.size };
      const empty = await client.blob(EMPTY, EMPTY_TYPE);
      const of = (artifactType: string | undefined, config: object, annotations: object) =>
        encode({
          ...{
            schemaVersion: 2,
            ...(artifactType ? { artifactType } : {}),
            config,
            layers: [empty],
            subject,
            annotations,
          },
          mediaType: MEDIA.ociManifest,
        });
      const sbom = of("application/spdx+json", empty, { made: "first" });
      const signature = of(undefined, { ...empty, mediaType: "application/vnd.example.config" }, {});
      const index = encode({ schemaVersion: 2, manifests: [], subject, mediaType: MEDIA.ociIndex });
      for (const one of [sbom, signature, index]) {
        const answer = await client.put(one, one.digest);
        equal(answer.headers.get("oci-subject"), manifest.digest, "OCI-Subject");
      }
      await client.put(manifest, "subject");
      const answer = await client.expect(200, "GET", `referrers/${manifest.digest}`);
      equal(answer.headers.get("content-type"), MEDIA.ociIndex, "type");
      const { manifests } = JSON.parse(answer.body.toString());
      equal(
        new Set(manifests.map((one: { digest: string }) => one.digest)),
        new Set([sbom.digest, signature.digest, index.digest]),
        "digests",
      );
      const types = new Map(
        manifests.map((one: { digest: string; artifactType?: string }) => [one.digest, one.artifactType]),
      );
      equal(types.get(signature.digest), "application/vnd.example.config", "type of the config");
      equal(types.get(index.digest), undefined, "type of an index");
      const filtered = await client.expect(
        200,
        "GET",
        `referrers/${manifest.digest}?artifactType=application/spdx%2Bjson`,
      );
      equal(filtered.headers.get("oci-filters-applied"), "artifactType", "OCI-Filters-Applied");
      equal(
        JSON.parse(filtered.body.toString()).manifests,
        [
          {
            mediaType: MEDIA.ociManifest,
            digest: sbom.digest,
            size: sbom.size,
            artifactType: "application/spdx+json",
            annotations: { made: "first" },
          },
        ],
        "filtered",
      );
      await client.expect(202, "DELETE", `manifests/${sbom.digest}`);
      const less = await client.expect(200, "GET", `referrers/${manifest.digest}`);
      equal(JSON.parse(less.body.toString()).manifests.length, 2, "after a delete");
    },
  },
  {
    workflow: "discovery",
    name: "no referrers are an empty index, not 404",
    dockerRegistry: LATER,
    async run(client) {
      const answer = await client.expect(200, "GET", `referrers/${NOTHING}`);
      equal(JSON.parse(answer.body.toString()).manifests, [], "manifests");
      await client.expect(400, "GET", "referrers/sha256:short");
    },
  },
  {
    workflow: "management",
    name: "a tag is deleted, its manifest stays",
    dockerRegistry: "tags are deleted with their manifest only",
    async run(client) {
      const manifest = await client.image("untag");
      await client.put(manifest, "one");
      await client.expect(202, "DELETE", "manifests/one");
      await client.refused(404, "MANIFEST_UNKNOWN", "GET", "manifests/one");
      await client.expect(200, "GET", `manifests/${manifest.digest}`);
    },
  },
  {
    workflow: "management",
    name: "a manifest is deleted, with its tags",
    async run(client) {
      const manifest = await client.image("delete");
      await client.put(manifest, "one");
      await client.expect(202, "DELETE", `manifests/${manifest.digest}`);
      await client.expect(404, "GET", `manifests/${manifest.digest}`);
      await client.expect(404, "GET", "manifests/one");
      await client.expect(404, "DELETE", `manifests/${manifest.digest}`);
      const list = await client.ask("GET", "tags/list");
      if (list.status !== 404) equal(JSON.parse(list.body.toString()).tags ?? [], [], "tags");
    },
  },
  {
    workflow: "management",
    name: "a blob is deleted",
    async run(client) {
      const { digest } = await client.blob(Buffer.from(`to be deleted ${client.repo}`));
      await client.expect(202, "DELETE", `blobs/${digest}`);
      await client.expect(404, "GET", `blobs/${digest}`);
      await client.refused(404, "BLOB_UNKNOWN", "DELETE", `blobs/${digest}`);
    },
  },
  {
    workflow: "management",
    name: "what another manifest needs is not deleted before it",
    dockerRegistry: "deletes it, and leaves the image broken",
    async run(client) {
      const child = await client.image("held");
      await client.put(child, child.digest);
      const { mediaType, digest, size } = child;
      const index = encode({ schemaVersion: 2, manifests: [{ mediaType, digest, size }], mediaType: MEDIA.ociIndex });
      await client.put(index, "index");
      await client.refused(405, "DENIED", "DELETE", `blobs/${sha256("layer held")}`);
      await client.refused(405, "DENIED", "DELETE", `manifests/${digest}`);
      await client.expect(202, "DELETE", `manifests/${index.digest}`);
      await client.expect(202, "DELETE", `manifests/${digest}`);
      await client.expect(202, "DELETE", `blobs/${sha256("layer held")}`);
    },
  },
  {
    workflow: "errors",
    name: "content that is not the digest's",
    async run(client) {
      const location = await client.begin();
      await client.refused(400, "DIGEST_INVALID", "PUT", withDigest(location, NOTHING), { body: Buffer.from("other") });
      await client.expect(404, "HEAD", `blobs/${NOTHING}`);
      const manifest = await client.image("mismatch");
      await client.refused(400, "DIGEST_INVALID", "PUT", `manifests/${NOTHING}`, {
        headers: { "Content-Type": manifest.mediaType },
        body: manifest.bytes,
      });
    },
  },
  {
    workflow: "errors",
    name: "a manifest whose blob or manifest is not there",
    async run(client) {
      const config = await client.blob(EMPTY, MEDIA.ociConfig);
      const layer = { mediaType: MEDIA.ociLayer, digest: NOTHING, size: 1 };
      const image = encode({ schemaVersion: 2, config, layers: [layer], mediaType: MEDIA.ociManifest });
      await client.expect([400, 404], "PUT", "manifests/x", {
        headers: { "Content-Type": image.mediaType },
        body: image.bytes,
      });
      const entry = { mediaType: MEDIA.ociManifest, digest: NOTHING, size: 1 };
      const index = encode({ schemaVersion: 2, manifests: [entry], mediaType: MEDIA.ociIndex });
      await client.expect([400, 404], "PUT", "manifests/x", {
        headers: { "Content-Type": index.mediaType },
        body: index.bytes,
      });
      await client.expect(404, "HEAD", "manifests/x");
    },
  },
  {
    workflow: "errors",
    name: "manifests that are none",
    dockerRegistry: "some are its internal error",
    async run(client) {
      const put = (type: string, body: string) =>
        client.expect(400, "PUT", "manifests/x", { headers: { "Content-Type": type }, body: Buffer.from(body) });
      await put(MEDIA.ociManifest, "blablabla");
      await put(MEDIA.ociManifest, '{"schemaVersion": 1}');
      await put("application/vnd.example", '{"schemaVersion": 2}');
      await put(MEDIA.ociManifest, JSON.stringify({ schemaVersion: 2, mediaType: MEDIA.ociIndex, manifests: [] }));
    },
  },
  {
    workflow: "errors",
    name: "an index that is a manifest too (CVE-2021-41190)",
    async run(client) {
      const config = await client.blob(EMPTY, MEDIA.ociConfig);
      const both = JSON.stringify({ schemaVersion: 2, config, layers: [], manifests: [] });
      await client.expect(400, "PUT", "manifests/x", {
        headers: { "Content-Type": MEDIA.ociManifest },
        body: Buffer.from(both),
      });
    },
  },
  {
    workflow: "errors",
    name: "more than 4 MiB of a manifest",
    async run(client) {
      const answer = await client.ask("PUT", "manifests/x", {
        headers: { "Content-Type": MEDIA.ociManifest },
        body: Buffer.alloc(4 * 1024 * 1024 + 1, " "),
      });
      if (answer.status !== 413 && answer.status !== 400) throw new Error(`status ${answer.status}`);
    },
  },
  {
    workflow: "errors",
    name: "digests and names that would be paths",
    async run(client) {
      for (const digest of ["sha256:..%2f..%2fx", "sha256%3A..", `md5:${"0".repeat(32)}`, `sha256:${"A".repeat(64)}`]) {
        const answer = await client.ask("GET", `blobs/${digest}`);
        if (![301, 400, 404].includes(answer.status)) throw new Error(`${digest}: ${answer.status}`);
      }
      for (const name of ["Upper", "a%2f..%2fb", "_x", "a..b", "a/-b"]) {
        const answer = await client.ask("POST", `/v2/${name}/blobs/uploads/`);
        if (![301, 400, 404].includes(answer.status)) throw new Error(`${name}: ${answer.status}`);
      }
      const { digest } = await client.blob(Buffer.from("for a mount"));
      const from = await client.ask("POST", `blobs/uploads/?mount=${digest}&from=..%2f..%2fetc`);
      if (![202, 400].includes(from.status)) throw new Error(`from: ${from.status}`);
      await client.expect([400, 404], "PUT", withDigest(await client.begin(), "sha256:../../x"));
      await client.expect([400, 404], "GET", "manifests/.hidden");
    },
  },
  {
    workflow: "errors",
    name: "a name of 300 characters",
    dockerRegistry: "is its internal error",
    run: async (client) =>
      void (await client.in("x".repeat(300)).refused(400, "NAME_INVALID", "POST", "blobs/uploads/")),
  },
  {
    workflow: "errors",
    name: "an upload belongs to its repository",
    async run(client) {
      const location = await client.begin();
      const id = new URL(location, "http://x").pathname.split("/").at(-1);
      await client
        .in(`${client.repo}/other`)
        .expect([400, 404], "PATCH", `blobs/uploads/${id}`, { body: Buffer.from("x") });
    },
  },
  {
    workflow: "errors",
    name: "a chunk longer than its range",
    dockerRegistry: "looks at Content-Length alone",
    async run(client) {
      await client.expect([400, 416], "PATCH", await client.begin(), {
        headers: { "Content-Range": "0-4", "Content-Type": "application/octet-stream" },
        body: Buffer.from("more than five"),
      });
    },
  },
];
