import { afterAll, beforeAll, beforeEach, describe, expect, test } from "bun:test";
import { chmodSync, existsSync, mkdirSync, readFileSync, rmSync, statSync, symlinkSync, writeFileSync } from "node:fs";
import { join } from "node:path";
import { gzipSync } from "node:zlib";
import { sha256 } from "../../src/base/digest.ts";
import { tarOf } from "../../src/images/testing/samples.ts";
import { DOCKER_REGISTRY, type RunningRegistry, startRegistry } from "../../src/registry/testing/docker-registry.ts";
import { TestPusher } from "../../src/registry/testing/push.ts";
import { MEDIA } from "../../src/spec/oci-image.ts";
import { hasBusybox, isRoot, type Result, TestEngine, temporary } from "../harness.ts";

const DOCKER = Bun.which("docker");
const why = !isRoot ? "needs root" : !hasBusybox ? "no busybox-static" : !DOCKER_REGISTRY ? "no docker-registry" : "";

describe.skipIf(why !== "")(`login${why && ` (${why})`}`, () => {
  const dir = temporary();
  const config = join(dir, "config");
  const file = join(config, "config.json");
  let engine: TestEngine;
  let registry: RunningRegistry;
  let image: string;

  beforeAll(async () => {
    const users = { me: "s3cret:with colon" };
    registry = await startRegistry({ users });
    engine = await new TestEngine().start();
    const pusher = new TestPusher(registry.host, "team/app", { username: "me", password: users.me });
    const layer = await tarOf({ "etc/": "", "etc/file": "x\n" });
    const arch = process.arch === "x64" ? "amd64" : "arm64";
    const rootfs = { type: "layers" as const, diff_ids: [sha256(layer)] };
    await pusher.image(
      { architecture: arch, os: "linux", config: { Cmd: ["x"] }, rootfs },
      [{ data: gzipSync(layer), mediaType: MEDIA.ociLayerGzip }],
      "1",
    );
    image = `${registry.host}/team/app:1`;
    // A helper of docker's protocol that keeps its secrets in a file.
    mkdirSync(join(dir, "bin"));
    const helper = `#!${process.execPath}
      const { existsSync, readFileSync, writeFileSync, appendFileSync } = require("node:fs");
      const path = ${JSON.stringify(join(dir, "secrets.json"))};
      const all = existsSync(path) ? JSON.parse(readFileSync(path, "utf8")) : {};
      const input = readFileSync(0, "utf8");
      appendFileSync(${JSON.stringify(join(dir, "helper.log"))}, process.argv[2] + "\\n");
      const missing = () => { console.log("credentials not found in native keychain"); process.exit(1); };
      if (process.argv[2] === "get") { if (!all[input]) missing(); console.log(JSON.stringify(all[input])); }
      else if (process.argv[2] === "store") { const one = JSON.parse(input); all[one.ServerURL] = one; writeFileSync(path, JSON.stringify(all)); }
      else if (process.argv[2] === "erase") { if (!all[input]) missing(); delete all[input]; writeFileSync(path, JSON.stringify(all)); }
      else { console.log("locked"); process.exit(2); }`;
    writeFileSync(join(dir, "bin/docker-credential-test"), helper);
    writeFileSync(join(dir, "bin/docker-credential-broken"), "#!/bin/sh\necho locked; exit 2\n");
    for (const name of ["test", "broken"]) chmodSync(join(dir, `bin/docker-credential-${name}`), 0o755);
  });
  afterAll(async () => {
    await registry?.stop();
    await engine?.stop();
    rmSync(dir, { recursive: true });
  });
  beforeEach(() => {
    rmSync(config, { recursive: true, force: true });
    mkdirSync(config);
  });

  const env = { DOCKER_CONFIG: config, PATH: `${join(dir, "bin")}:${process.env.PATH}`, DOCKER_AUTH_CONFIG: "" };
  const inro = (args: string[], stdin?: string, more: Record<string, string> = {}): Promise<Result> =>
    engine.inro(args, { env: { ...env, ...more }, ...(stdin === undefined ? {} : { stdin }) });
  const login = (...words: string[]) =>
    inro(["login", "-u", "me", "--password-stdin", ...words, registry.host], "s3cret:with colon\n");
  const pulled = async (more: Record<string, string> = {}) => {
    await engine.inro(["rmi", "-f", image]);
    return (await inro(["pull", "-q", image], undefined, more)).code === 0;
  };

  test("into config.json: for its owner alone, what else is in it stays, pull and run show it, logout takes it away", async () => {
    expect(await pulled()).toBe(false);
    writeFileSync(
      join(config, "real.json"),
      '{\n\t"mine": {"b": 1, "a": [2]},\n\t"auths": {"other.example": {"auth": "eDp5"}}\n}',
      { mode: 0o644 },
    );
    symlinkSync("real.json", file);
    const made = await login();
    expect(made).toMatchObject({ code: 0, stdout: "Login Succeeded\n" });
    expect(made.stderr).toContain("stored unencrypted");
    expect(made.stdout + made.stderr).not.toContain("s3cret");
    const auth = Buffer.from("me:s3cret:with colon").toString("base64");
    expect(JSON.parse(readFileSync(join(config, "real.json"), "utf8"))).toEqual({
      mine: { b: 1, a: [2] },
      auths: { "other.example": { auth: "eDp5" }, [registry.host]: { auth } },
    });
    expect(statSync(join(config, "real.json")).mode & 0o777).toBe(0o600);
    expect(await pulled()).toBe(true);
    await engine.inro(["rmi", "-f", image]);
    expect((await inro(["create", "-q", image])).code).toBe(0);
    await engine.ok("container", "prune", "-f");
    if (DOCKER) {
      const child = Bun.spawnSync([DOCKER, "-H", engine.host, "pull", "-q", image], { env: { ...env, HOME: dir } });
      expect(child.exitCode).toBe(0);
      const words = ["-H", engine.host, "login", "-u", "me", "--password-stdin", registry.host];
      const stdin = Buffer.from("s3cret:with colon");
      const theirs = Bun.spawnSync([DOCKER, ...words], {
        stdin,
        env: { ...env, HOME: dir, DOCKER_CONFIG: join(dir, "theirs") },
      });
      expect(theirs.stdout.toString()).toContain("Login Succeeded");
    }
    expect(await inro(["login", registry.host])).toMatchObject({
      code: 0,
      stdout: "Authenticating with existing credentials... [Username: me]\nLogin Succeeded\n",
    });
    expect((await inro(["logout", registry.host])).stdout).toBe(`Removing login credentials for ${registry.host}\n`);
    expect(Object.keys(JSON.parse(readFileSync(file, "utf8")).auths)).toEqual(["other.example"]);
    expect((await inro(["logout", `https://${registry.host}/v1/`])).stdout).toBe(`Not logged in to ${registry.host}\n`);
    expect(await pulled()).toBe(false);
  });

  test("a wrong password is refused and kept nowhere; a missing registry is told", async () => {
    const wrong = await inro(["login", "-u", "me", "--password-stdin", registry.host], "wrong");
    expect(wrong).toMatchObject({ code: 1, stdout: "" });
    expect(wrong.stderr).toBe(
      `Error response from daemon: login attempt to http://${registry.host}/v2/ failed with status: 401 Unauthorized\n`,
    );
    expect(existsSync(file)).toBe(false);
    expect((await inro(["login", "-u", "x", "-p", "y", "127.0.0.1:1"])).stderr).toContain("127.0.0.1:1");
    for (const [args, text] of [
      [["--password-stdin"], "requires --username"],
      [["-u", "me", "-p", "x", "--password-stdin"], "conflicting options"],
      [[], "Cannot perform an interactive login from a non TTY device"],
    ] as [string[], string][]) {
      expect((await inro(["login", ...args, registry.host])).stderr).toContain(text);
    }
    writeFileSync(file, "{ no JSON");
    const broken = await login();
    expect([broken.code, readFileSync(file, "utf8")]).toEqual([1, "{ no JSON"]);
    expect((await engine.api("POST", "/auth", { username: 5 })).status).toBe(400);
    expect((await engine.api("POST", "/auth", {})).status).toBe(400);
  });

  test("a helper keeps the secret, and config.json does not", async () => {
    writeFileSync(file, '{"credsStore":"test"}');
    expect(await login()).toMatchObject({ code: 0, stdout: "Login Succeeded\n", stderr: "" });
    expect(JSON.parse(readFileSync(file, "utf8"))).toEqual({ credsStore: "test", auths: { [registry.host]: {} } });
    expect(await pulled()).toBe(true);
    expect((await inro(["logout", registry.host])).stdout).toContain("Removing login credentials");
    expect(await pulled()).toBe(false);
    expect(readFileSync(join(dir, "helper.log"), "utf8").split("\n")).toContain("erase");
    // For one registry; others have theirs elsewhere.
    writeFileSync(file, `{"credsStore":"broken","credHelpers":{"${registry.host}":"test"}}`);
    expect((await login()).code).toBe(0);
    expect(await pulled()).toBe(true);
    await inro(["logout", registry.host]);
    writeFileSync(file, '{"credsStore":"broken"}');
    expect((await inro(["pull", "-q", image])).stderr).toContain(
      "error getting credentials - err: exit status 2, out: `locked`",
    );
    writeFileSync(file, '{"credsStore":"not-there"}');
    expect((await inro(["pull", "-q", image])).stderr).toContain(
      'exec: "docker-credential-not-there": executable file not found',
    );
    writeFileSync(file, '{"credsStore":"../../bin/sh"}');
    expect((await inro(["pull", "-q", image])).stderr).toContain("invalid credential helper");
  });

  test("DOCKER_AUTH_CONFIG comes before the file", async () => {
    const auth = Buffer.from("me:s3cret:with colon").toString("base64");
    expect(
      await pulled({ DOCKER_AUTH_CONFIG: JSON.stringify({ auths: { [`https://${registry.host}/v1/`]: { auth } } }) }),
    ).toBe(true);
    expect((await inro(["pull", "-q", image], undefined, { DOCKER_AUTH_CONFIG: "{" })).stderr).toContain(
      "DOCKER_AUTH_CONFIG is not JSON",
    );
  });

  test("on a terminal it asks, and does not show the password", async () => {
    let shown = "";
    let changed = () => {};
    const terminal = {
      data(_terminal: unknown, data: Uint8Array) {
        shown += Buffer.from(data).toString();
        changed();
      },
    };
    const child = engine.spawn(["login", registry.host], { env, terminal });
    const type = async (after: string, keys = "") => {
      while (!shown.includes(after)) {
        await new Promise<void>((resolve) => {
          changed = resolve;
        });
      }
      if (keys !== "") child.terminal!.write(keys);
    };
    await type("Username", "mx\x7fe\r");
    await type("Password: ", "s3cret:with colon\r");
    await type("Login Succeeded");
    expect(await child.exited).toBe(0);
    child.terminal!.close();
    expect(shown).not.toContain("s3cret");
    expect(await pulled()).toBe(true);
  });
});
