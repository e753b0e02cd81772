import { afterEach, describe, expect, test } from "bun:test";
import { createServer, type IncomingMessage, type ServerResponse } from "node:http";
import type { AddressInfo } from "node:net";
import { parseRegistryAuth, type RegistryAuth } from "./auth.ts";
import { Repository } from "./repository.ts";

const closers: (() => void)[] = [];
afterEach(() => {
  for (const close of closers.splice(0)) close();
});

async function serve(handle: (req: IncomingMessage, res: ServerResponse, body: string) => void): Promise<string> {
  const server = createServer((req, res) => {
    let body = "";
    req.on("data", (chunk) => {
      body += chunk;
    });
    req.on("end", () => handle(req, res, body));
  });
  await new Promise<void>((resolve) => server.listen(0, "127.0.0.1", resolve));
  closers.push(() => {
    server.close();
    server.closeAllConnections();
  });
  return `http://127.0.0.1:${(server.address() as AddressInfo).port}`;
}

const PATIENCE = { attempts: 3, retryDelay: 1, idle: 2000 };
const MANIFEST = '{"schemaVersion":2}';

/** A registry that takes only `Bearer <valid()>`, and its token server. */
async function bearerRegistry(options: { valid(): string; answer?: () => object; expiresIn?: number }) {
  const tokens: { method: string; query: URLSearchParams; authorization: string | undefined }[] = [];
  const seen: (string | undefined)[] = [];
  const token = await serve((req, res, body) => {
    const url = new URL(req.url!, "http://x");
    tokens.push({
      method: req.method!,
      query: req.method === "POST" ? new URLSearchParams(body) : url.searchParams,
      authorization: req.headers.authorization,
    });
    res.end(JSON.stringify(options.answer?.() ?? { token: options.valid(), expires_in: options.expiresIn ?? 300 }));
  });
  const registry = await serve((req, res) => {
    seen.push(req.headers.authorization);
    if (req.headers.authorization === `Bearer ${options.valid()}`) {
      res.end(MANIFEST);
      return;
    }
    const challenge = `Bearer realm="${token}/token",service="reg",scope="repository:a/b:pull"`;
    res.writeHead(401, { "WWW-Authenticate": challenge }).end('{"errors":[{"code":"UNAUTHORIZED","message":"no"}]}');
  });
  const repository = (auth?: RegistryAuth) => new Repository({ base: registry, mirror: false }, "a/b", auth, PATIENCE);
  return { tokens, seen, repository };
}

describe("bearer", () => {
  test("anonymous: one token for many requests", async () => {
    const { tokens, seen, repository } = await bearerRegistry({ valid: () => "t1" });
    const repo = repository();
    await repo.manifest("latest");
    await Promise.all([repo.manifest("latest"), repo.manifest("latest")]);
    expect(tokens.length).toBe(1);
    expect(tokens[0]!.query.get("service")).toBe("reg");
    expect(tokens[0]!.query.get("scope")).toBe("repository:a/b:pull");
    expect(tokens[0]!.authorization).toBeUndefined();
    expect(seen).toEqual([undefined, "Bearer t1", "Bearer t1", "Bearer t1"]);
  });

  test("with a password, which the registry never sees", async () => {
    const { tokens, seen, repository } = await bearerRegistry({ valid: () => "t1" });
    await repository({ username: "u", password: "p" }).manifest("latest");
    expect(tokens[0]!.authorization).toBe(`Basic ${btoa("u:p")}`);
    expect(tokens[0]!.query.get("account")).toBe("u");
    expect(seen).toEqual([undefined, "Bearer t1"]);
  });

  test("with an identity token: OAuth2", async () => {
    const { tokens, repository } = await bearerRegistry({ valid: () => "t1" });
    await repository({ identitytoken: "refresh" }).manifest("latest");
    expect(tokens[0]!.method).toBe("POST");
    expect(tokens[0]!.query.get("grant_type")).toBe("refresh_token");
    expect(tokens[0]!.query.get("refresh_token")).toBe("refresh");
  });

  test("a revoked token is fetched again, once", async () => {
    let current = "t1";
    const { tokens, repository } = await bearerRegistry({ valid: () => current });
    const repo = repository();
    await repo.manifest("latest");
    current = "t2";
    await repo.manifest("latest");
    expect(tokens.length).toBe(2);
  });

  test("an expired token is not used again", async () => {
    const { tokens, repository } = await bearerRegistry({ valid: () => "t1", expiresIn: 0.001 });
    const repo = repository();
    await repo.manifest("latest");
    await Bun.sleep(2);
    await repo.manifest("latest");
    expect(tokens.length).toBeGreaterThanOrEqual(2);
  });

  test("a token that is refused ends in unauthorized, without a loop", async () => {
    const { seen, repository } = await bearerRegistry({ valid: () => "t1", answer: () => ({ token: "other" }) });
    await expect(repository().manifest("latest")).rejects.toMatchObject({ kind: "unauthorized" });
    expect(seen).toEqual([undefined, "Bearer other"]);
  });

  test("a token that would break the header is refused", async () => {
    const { repository } = await bearerRegistry({ valid: () => "t1", answer: () => ({ token: "a\r\nX: y" }) });
    await expect(repository().manifest("latest")).rejects.toThrow("answer holds no token");
  });

  test("registrytoken is sent as it is", async () => {
    const { tokens, seen, repository } = await bearerRegistry({ valid: () => "raw" });
    await repository({ registrytoken: "raw" }).manifest("latest");
    expect(tokens).toEqual([]);
    expect(seen).toEqual(["Bearer raw"]);
  });
});

test("Basic credentials are not forwarded to another host, and only asked-for", async () => {
  const elsewhere: (string | undefined)[] = [];
  const storage = await serve((req, res) => {
    elsewhere.push(req.headers.authorization);
    res.end("blob");
  });
  const seen: (string | undefined)[] = [];
  const registry = await serve((req, res) => {
    seen.push(req.headers.authorization);
    if (req.headers.authorization) res.writeHead(307, { Location: `${storage}/x?sig=1` }).end();
    else res.writeHead(401, { "WWW-Authenticate": 'Basic realm="r"' }).end();
  });
  const repo = new Repository({ base: registry, mirror: false }, "a/b", { username: "u", password: "p" }, PATIENCE);
  const blob = await repo.blob(`sha256:${"0".repeat(64)}`, 0);
  const chunks = await Array.fromAsync(blob.body);
  expect(Buffer.concat(chunks).toString()).toBe("blob");
  expect(seen).toEqual([undefined, `Basic ${btoa("u:p")}`]);
  expect(elsewhere).toEqual([undefined]);
});

test("a mirror gets no credentials", async () => {
  const seen: (string | undefined)[] = [];
  const mirror = await serve((req, res) => {
    seen.push(req.headers.authorization);
    res.writeHead(401, { "WWW-Authenticate": 'Basic realm="r"' }).end();
  });
  const repo = new Repository({ base: mirror, mirror: true }, "a/b", { username: "u", password: "p" }, PATIENCE);
  await expect(repo.manifest("latest")).rejects.toMatchObject({ kind: "unauthorized" });
  expect(seen).toEqual([undefined]);
});

describe("parseRegistryAuth", () => {
  const encode = (value: unknown) => Buffer.from(JSON.stringify(value)).toString("base64url");
  test("reads credentials", () => {
    expect(parseRegistryAuth(encode({ username: "u", password: "p", email: "" }))).toEqual({
      username: "u",
      password: "p",
    });
    expect(parseRegistryAuth(encode({}))).toBeUndefined();
    expect(parseRegistryAuth("")).toBeUndefined();
  });
  for (const [name, header] of [
    ["no JSON", "!!!"],
    ["a list", encode([])],
    ["a number", encode({ username: 5 })],
    ["null", encode(null)],
  ] as const) {
    test(`refuses ${name}`, () => {
      expect(() => parseRegistryAuth(header)).toThrow("invalid X-Registry-Auth header");
    });
  }
});
