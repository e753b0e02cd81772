import { afterAll, beforeAll, describe, expect, test } from "bun:test";
import { spawn, spawnSync } from "node:child_process";
import {
  existsSync,
  mkdirSync,
  mkdtempSync,
  readdirSync,
  readFileSync,
  rmSync,
  symlinkSync,
  writeFileSync,
} from "node:fs";
import { createServer } from "node:net";
import { join } from "node:path";
import { sha256 } from "../../src/base/digest.ts";
import { fetchGit } from "../../src/build/ops/git.ts";
import { fetchUrl } from "../../src/build/ops/http.ts";
import { Lab } from "./lab.ts";

describe("ADD of a URL", () => {
  let lab: Lab;
  let server: Bun.Server<undefined>;
  const body = "what was fetched\n";
  beforeAll(() => {
    lab = new Lab();
    server = Bun.serve({
      port: 0,
      hostname: "127.0.0.1",
      fetch(request) {
        const { pathname, origin } = new URL(request.url);
        if (pathname === "/moved") return Response.redirect(`${origin}/files/it.bin`, 302);
        if (pathname === "/loop") return Response.redirect(`${origin}/loop`, 302);
        if (pathname === "/private") return new Response(request.headers.get("Authorization"));
        if (pathname !== "/files/it.bin") return new Response("", { status: 404 });
        return new Response(body, { headers: { "Last-Modified": "Sat, 01 Jan 2000 00:00:00 GMT", ETag: '"1"' } });
      },
    });
  });
  afterAll(async () => {
    await server.stop(true);
    expect(readdirSync(lab.directory)).toEqual([]);
    lab.close();
  });
  const at = (path: string, checksum?: string) =>
    fetchUrl(`http://127.0.0.1:${server.port}${path}`, checksum ? { checksum } : {}, lab.context());

  test("by redirects, with name, time and digest", async () => {
    const got = await at("/moved", sha256(body));
    expect(got).toMatchObject({ digest: sha256(body), name: "moved", mtime: 946_684_800, etag: '"1"' });
    expect(readFileSync(got.path, "utf8")).toBe(body);
    expect((await at("/files/it.bin")).name).toBe("it.bin");
  });

  test("a secret for the host is what it is told, and the user in the URL comes first", async () => {
    const told = async (url = `http://127.0.0.1:${server.port}/private`) =>
      readFileSync((await fetchUrl(url, {}, lab.context())).path, "utf8");
    const secret = (name: string, value: string) => lab.secrets.set(name, Buffer.from(value));
    expect(await told()).toBe("");
    secret("HTTP_AUTH_TOKEN_127.0.0.1", "one\n");
    secret("HTTP_AUTH_TOKEN_localhost", "other");
    expect(await told()).toBe("Bearer one");
    secret("HTTP_AUTH_HEADER_127.0.0.1", "Basic two");
    expect(await told()).toBe("Basic two");
    expect(await told(`http://u:p@127.0.0.1:${server.port}/private`)).toBe(`Basic ${btoa("u:p")}`);
    secret("HTTP_AUTH_HEADER_127.0.0.1", "Basic two\r\nHost: elsewhere");
    await expect(told()).rejects.toThrow("more than one line");
    lab.secrets.clear();
  });

  test("a wrong checksum, a missing file, a circle: nothing is left", async () => {
    await expect(at("/files/it.bin", sha256("other"))).rejects.toThrow("--checksum says");
    await expect(at("/none")).rejects.toThrow("the server answered 404");
    await expect(at("/loop")).rejects.toThrow("redirects");
    await expect(at("/files/it.bin", "sha256:../../x")).rejects.toThrow();
    await expect(fetchUrl("file:///etc/passwd", {}, lab.context())).rejects.toThrow("no http or https URL");
  });

  test("credentials of the URL go into a header", async () => {
    const got = await fetchUrl(`http://me:se%40cret@127.0.0.1:${server.port}/private`, {}, lab.context());
    expect(readFileSync(got.path, "utf8")).toBe(`Basic ${Buffer.from("me:se@cret").toString("base64")}`);
    const wrong = fetchUrl(`http://me:%zz-hidden@127.0.0.1:${server.port}/private`, {}, lab.context());
    const failure = await wrong.catch((error) => error);
    expect(failure).toMatchObject({ kind: "invalid" });
    expect(failure.message).not.toContain("hidden");
  });
});

const daemon = "/usr/lib/git-core/git-daemon";
const why = !Bun.which("git") ? "no git" : !existsSync(daemon) ? "no git-daemon" : "";

describe.skipIf(why !== "")(`git${why && ` (${why})`}`, () => {
  let lab: Lab;
  let top: string;
  let url: string;
  let child: ReturnType<typeof spawn>;
  const env = { PATH: process.env.PATH!, HOME: "/nonexistent", GIT_CONFIG_NOSYSTEM: "1" };
  const git = (cwd: string, ...args: string[]) => {
    const who = [
      "-c",
      "user.name=t",
      "-c",
      "user.email=t@t.example",
      "-c",
      "protocol.file.allow=always",
      "-c",
      "init.defaultBranch=main",
    ];
    const done = spawnSync("git", [...who, ...args], { cwd, env, encoding: "utf8" });
    if (done.status !== 0) throw new Error(`git ${args[0]}: ${done.stderr}`);
    return done.stdout.trim();
  };
  beforeAll(async () => {
    lab = new Lab();
    top = mkdtempSync(join(lab.bench.dir, "git-"));
    const work = join(top, "r.git");
    mkdirSync(join(work, "sub/dir"), { recursive: true });
    git(work, "init", "--quiet");
    writeFileSync(join(work, "f"), "one\n");
    git(work, "add", ".");
    git(work, "commit", "-qm", "one");
    git(work, "tag", "v1");
    writeFileSync(join(work, "f"), "two\n");
    writeFileSync(join(work, "sub/dir/g"), "g\n");
    symlinkSync("/etc", join(work, "sub/etc"));
    git(work, "add", ".");
    git(work, "commit", "-qm", "two");
    // The port of a socket that is closed again: the daemon takes it next.
    const probe = createServer();
    await new Promise<void>((resolve) => probe.listen(0, "127.0.0.1", resolve));
    const { port } = probe.address() as { port: number };
    await new Promise((resolve) => probe.close(resolve));
    child = spawn(
      daemon,
      ["--reuseaddr", "--listen=127.0.0.1", `--port=${port}`, `--base-path=${top}`, "--export-all", "--verbose"],
      {
        env: { ...env, GIT_CONFIG_COUNT: "1", GIT_CONFIG_KEY_0: "safe.directory", GIT_CONFIG_VALUE_0: "*" },
        stdio: ["ignore", "ignore", "pipe"],
      },
    );
    await new Promise<void>((resolve) =>
      child.stderr!.on("data", (text) => String(text).includes("Ready") && resolve()),
    );
    url = `git://127.0.0.1:${port}/r.git`;
  });
  afterAll(async () => {
    const ended = new Promise((resolve) => child.on("close", resolve));
    child.kill();
    await ended;
    expect(readdirSync(lab.directory)).toEqual([]);
    lab.close();
  });
  const none = { keepGitDir: false };

  test("HEAD, a tag, a commit, a directory", async () => {
    const head = git(join(top, "r.git"), "rev-parse", "HEAD");
    const first = git(join(top, "r.git"), "rev-parse", "v1");
    const cases: [suffix: string, commit: string, file: string, text: string][] = [
      ["", head, "f", "two\n"],
      ["#v1", first, "f", "one\n"],
      [`#${first}`, first, "f", "one\n"],
      [`#${first.slice(0, 10)}`, first, "f", "one\n"],
      ["#main:sub/dir", head, "g", "g\n"],
      [`?checksum=${head}`, head, "f", "two\n"],
    ];
    for (const [suffix, commit, file, text] of cases) {
      const got = await fetchGit(url + suffix, none, lab.context());
      expect([suffix, got.commit]).toEqual([suffix, commit]);
      const { path } = got.source as { path: string };
      expect(readFileSync(join(path, file), "utf8")).toBe(text);
      expect(existsSync(join(path, ".git"))).toBe(false);
      await got.release();
    }
    const kept = await fetchGit(url, { keepGitDir: true }, lab.context());
    expect(existsSync(join((kept.source as { path: string }).path, ".git/HEAD"))).toBe(true);
    await kept.release();
  });

  test("what is not there, or another than it should be, is told", async () => {
    await expect(fetchGit(`${url}#no-such`, none, lab.context())).rejects.toThrow("no-such");
    await expect(fetchGit(`${url}#:none`, none, lab.context())).rejects.toThrow('no directory "none"');
    await expect(fetchGit(`${url}#:sub/etc`, none, lab.context())).rejects.toThrow('no directory "sub/etc"');
    await expect(fetchGit(url, { ...none, checksum: "0000000" }, lab.context())).rejects.toThrow("as it should be");
    await expect(fetchGit(url.replace("r.git", "x.git"), none, lab.context())).rejects.toThrow("git ");
  });

  test("credentials are secrets, those of the host first, and a header has one line", async () => {
    const told: (string | null)[] = [];
    const server = Bun.serve({
      hostname: "127.0.0.1",
      port: 0,
      fetch(request) {
        told.push(request.headers.get("Authorization"));
        return new Response("", { status: 403 });
      },
    });
    const ask = async (secrets: Record<string, string>) => {
      for (const [name, value] of Object.entries(secrets)) lab.secrets.set(name, Buffer.from(value));
      told.length = 0;
      const failed = fetchGit(`http://127.0.0.1:${server.port}/r.git`, none, lab.context());
      const message = await failed.then(String, (error) => error.message);
      lab.secrets.clear();
      return { told: told[0], message };
    };
    try {
      expect((await ask({})).told).toBeNull();
      expect((await ask({ GIT_AUTH_TOKEN: "t" })).told).toBe(`basic ${btoa("x-access-token:t")}`);
      expect((await ask({ GIT_AUTH_HEADER: "Bearer all", GIT_AUTH_TOKEN: "t" })).told).toBe("Bearer all");
      const own = { "GIT_AUTH_TOKEN.127.0.0.1": "own", GIT_AUTH_HEADER: "Bearer all" };
      expect((await ask(own)).told).toBe(`basic ${btoa("x-access-token:own")}`);
      const more = await ask({ GIT_AUTH_HEADER: "x\ny: z" });
      expect([more.told, more.message]).toEqual([undefined, expect.stringContaining("more than one line")]);
    } finally {
      await server.stop(true);
    }
  });

  test("CVE-2022-39253: a submodule by a local path is not fetched", async () => {
    const hostile = join(top, "h.git");
    const module = join(top, "m");
    mkdirSync(module);
    git(module, "init", "--quiet");
    git(module, "commit", "--allow-empty", "-qm", "m");
    mkdirSync(hostile);
    git(hostile, "init", "--quiet");
    git(hostile, "submodule", "--quiet", "add", module, "A/modules/x");
    git(hostile, "commit", "-qm", "h");
    await expect(fetchGit(url.replace("r.git", "h.git"), none, lab.context())).rejects.toThrow(
      "transport 'file' not allowed",
    );
    rmSync(module, { recursive: true });
  });

  test("CVE-2024-32002: a hook that a repository gets into place does not run, its own or a submodule's", async () => {
    const mark = join(lab.bench.dir, "hook-ran");
    const hook = join(top, "hook");
    writeFileSync(hook, `#!/bin/sh\necho $0 >> ${mark}\n`, { mode: 0o755 });
    const outer = join(top, "o.git");
    mkdirSync(outer);
    git(outer, "init", "--quiet");
    git(outer, "submodule", "--quiet", "add", url, "x");
    git(outer, "commit", "-qm", "o");
    // What the flaw comes to, whatever git is installed: after each of its commands, hooks lie where git looks for them.
    const bin = join(top, "bin");
    mkdirSync(bin);
    const real = Bun.which("git")!;
    const plant = `for d in .git .git/modules/*; do [ -d "$d/hooks" ] || mkdir -p "$d/hooks"; for h in post-checkout reference-transaction post-index-change; do cp ${hook} "$d/hooks/$h"; done; done`;
    writeFileSync(join(bin, "git"), `#!/bin/sh\n${real} "$@"\ncode=$?\n${plant}\nexit $code\n`, { mode: 0o755 });
    const before = process.env.PATH;
    process.env.PATH = `${bin}:${before}`;
    try {
      const got = await fetchGit(url.replace("r.git", "o.git"), { keepGitDir: true }, lab.context());
      const { path } = got.source as { path: string };
      expect(readFileSync(join(path, "x/f"), "utf8")).toBe("two\n");
      expect(existsSync(join(path, ".git/hooks/post-checkout"))).toBe(true);
      await got.release();
    } finally {
      process.env.PATH = before;
    }
    expect(existsSync(mark)).toBe(false);
  });
});
