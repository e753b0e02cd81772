import { afterAll, expect, test } from "bun:test";
import { mkdtempSync, rmSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { configDirectory, readConfig, withProxies } from "./config-file.ts";
import { FakeEngine, inro } from "./testing.ts";

const directory = mkdtempSync(`${tmpdir()}/inro-config-`);
afterAll(() => rmSync(directory, { recursive: true }));
const write = (file: unknown) =>
  writeFileSync(`${directory}/config.json`, typeof file === "string" ? file : JSON.stringify(file));

test("where it is", () => {
  expect(configDirectory("/x", { DOCKER_CONFIG: "/y" })).toBe("/x");
  expect(configDirectory("", { DOCKER_CONFIG: "/y", HOME: "/h" })).toBe("/y");
  expect(configDirectory(undefined, { HOME: "/h" })).toBe("/h/.docker");
});

test("what has the wrong type, or could begin another header, is left out", async () => {
  write({
    psFormat: 1,
    detachKeys: "a",
    HttpHeaders: { A: "b", B: "c\r\nD: e", C: 5 },
    proxies: { default: 3, x: null },
  });
  expect(await readConfig(directory)).toEqual({
    detachKeys: "a",
    HttpHeaders: { A: "b" },
    proxies: { default: {}, x: {} },
  });
  expect(await readConfig(`${directory}/none`)).toEqual({});
});

test("proxies are those of the engine, in both spellings, and give way to what is set", () => {
  const config = {
    proxies: { default: { httpProxy: "http://p", noProxy: "x" }, "unix:///e": { allProxy: "socks://q" } },
  };
  expect(withProxies(["A=b", "http_proxy=own"], config, "unix:///other")).toEqual([
    ...["A=b", "http_proxy=own", "HTTP_PROXY=http://p"],
    ...["NO_PROXY=x", "no_proxy=x"],
  ]);
  expect(withProxies([], config, "unix:///e")).toEqual(["ALL_PROXY=socks://q", "all_proxy=socks://q"]);
});

test("the command line takes formats, headers and proxies from it", async () => {
  const engine = await FakeEngine.start();
  try {
    engine.on("GET /containers/json", [{ Id: "1".repeat(64), Names: ["/web"], Command: "", Created: 0 }]);
    engine.on("POST /containers/create", { Id: "x", Warnings: [] });
    write({
      psFormat: "<{{.Names}}>",
      HttpHeaders: { "X-Mine": "yes" },
      proxies: { default: { httpProxy: "http://p" } },
    });
    const run = (...words: string[]) => inro(words, engine.url, { env: { DOCKER_CONFIG: directory } });
    expect((await run("ps")).stdout).toBe("<web>\n");
    expect(engine.seen.at(-1)!.headers["x-mine"]).toBe("yes");
    expect((await run("ps", "-q")).stdout).toBe("111111111111\n");
    expect((await run("ps", "--format", "{{.ID}}")).stdout).toBe("111111111111\n");
    expect((await inro(["--config", directory, "ps"], engine.url)).stdout).toBe("<web>\n");
    await run("create", "-e", "A=b", "image");
    expect(JSON.parse(engine.seen.at(-1)!.body).Env).toEqual(["A=b", "HTTP_PROXY=http://p", "http_proxy=http://p"]);
    write("{");
    const broken = await run("ps", "-q");
    expect(broken).toMatchObject({ status: 0, stdout: "111111111111\n" });
    expect(broken.stderr).toStartWith(`WARNING: Error loading config file: ${directory}/config.json: `);
  } finally {
    engine.stop();
  }
});
