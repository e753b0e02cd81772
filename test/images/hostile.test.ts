import { afterAll, beforeAll, describe, expect, test } from "bun:test";
import { mkdirSync, readdirSync, readFileSync, writeFileSync } from "node:fs";
import { join } from "node:path";
import { gzipSync, zstdCompressSync } from "node:zlib";
import { sha256 } from "../../src/base/digest.ts";
import { busyboxTar, hasBusybox, isRoot, TestEngine } from "../harness.ts";
import { contents } from "./contents.ts";
import { type Member, rawTar } from "./hostile-tar.ts";

const why = !isRoot ? "needs root" : !hasBusybox ? "no busybox-static" : "";

describe.skipIf(why !== "")(`hostile images${why && ` (${why})`}`, () => {
  let engine: TestEngine;
  let base: Buffer;
  let outside: string;
  let before: Awaited<ReturnType<typeof contents>>;

  beforeAll(async () => {
    engine = await new TestEngine().start();
    base = readFileSync(busyboxTar(engine.dir));
    await engine.busybox();
    outside = join(engine.dir, "outside");
    mkdirSync(outside);
    writeFileSync(join(outside, "precious"), "precious\n");
    before = await contents(engine);
  });
  afterAll(() => engine?.stop());

  const untouched = () => {
    expect(readdirSync(outside)).toEqual(["precious"]);
    expect(readFileSync(join(outside, "precious"), "utf8")).toBe("precious\n");
  };
  const refused = async (args: string[], stdin: Uint8Array, text: RegExp) => {
    const { code, stdout, stderr } = await engine.inro(args, { stdin });
    expect({ code, stdout: stdout.replace(/^.*: Loading layer.*\n/gm, "") }).toEqual({ code: 1, stdout: "" });
    expect(stderr).toMatch(text);
    // One line, for people: no stack, no path of the engine's own.
    expect(stderr.trimEnd().split("\n")).toHaveLength(1);
    expect(stderr).not.toContain(engine.dataRoot);
    expect(await contents(engine)).toEqual(before);
    untouched();
  };

  // The engine works at <dir>/data/layers/tmp-…, so each .. is one step nearer to what lies outside.
  const up = "../".repeat(12);
  const escapes: [string, () => Member[], RegExp][] = [
    ["a name with ..", () => [{ name: "../../../../outside/new", body: "x" }], /\.\.|escape|outside|invalid/i],
    ["a name with many ..", () => [{ name: `${up}${outside.slice(1)}/precious`.slice(-99), body: "x" }], /./],
    ["an absolute name with ..", () => [{ name: "/../new", body: "x" }], /leads out/],
    ["a hard link out by ..", () => [{ name: "link", type: "1", link: `${up}etc/passwd` }], /link/i],
    [
      "a hard link through a symlink",
      () => [
        { name: "d", type: "2", link: outside },
        { name: "link", type: "1", link: "d/precious" },
      ],
      /link|not found|ENOENT|no such/i,
    ],
    [
      "a pax path with ..",
      () => [
        { name: "pax", type: "x", body: "24 path=../../../../new\n" },
        { name: "x", body: "x" },
      ],
      /\.\.|escape|outside|invalid/i,
    ],
    [
      "a symlink's whiteout",
      () => [
        { name: "d", type: "2", link: outside },
        { name: "d/.wh.precious", body: "" },
      ],
      /./,
    ],
  ];
  test.each(escapes)("an entry that wants out is refused: %s", async (_, members, text) => {
    await refused(["import", "-"], rawTar(members()), text);
  });

  test("an absolute name is below the image's root", async () => {
    await engine.inro(["import", "-", "absolute"], { stdin: rawTar([{ name: `${outside}/new`, body: "x" }]) });
    untouched();
    await engine.ok("rmi", "absolute");
    expect(await contents(engine)).toEqual(before);
  });

  test("a file behind a symlink takes its place, and is below the image's root", async () => {
    const members: Member[] = [
      { name: "d", type: "2", link: outside },
      { name: "d/behind", body: "behind\n" },
    ];
    const { code, stderr } = await engine.inro(["import", "-", "inside"], { stdin: rawTar(members) });
    untouched();
    if (code !== 0) expect(stderr).toMatch(/symlink|not a directory|ENOTDIR|ELOOP/i);
    else await engine.ok("rmi", "inside");
    expect(await contents(engine)).toEqual(before);
  });

  const noise = () => Buffer.from(crypto.getRandomValues(new Uint8Array(20_000)));
  test.each<[string, () => Buffer, RegExp]>([
    ["no tar at all", () => Buffer.from("hello, world\n".repeat(1000)), /tar|header|invalid/i],
    ["a wrong checksum", () => rawTar([{ name: "a", body: "x", badChecksum: true }]), /checksum|header|tar/i],
    ["a body cut off", () => rawTar([{ name: "a", body: noise() }]).subarray(0, 5000), /end|truncated|short|cut/i],
    ["a size that is not there", () => rawTar([{ name: "a", size: 1 << 30 }]), /end|truncated|short|cut/i],
    [
      "a gzip stream cut off",
      () => gzipSync(rawTar([{ name: "a", body: noise() }])).subarray(0, 9000),
      /gzip|end|truncated|compress/i,
    ],
    [
      "a gzip stream with a wrong sum",
      () => {
        const z = gzipSync(rawTar([{ name: "a", body: noise() }]));
        z[z.length - 6]! ^= 1;
        return z;
      },
      /gzip|crc|check|compress|data/i,
    ],
    [
      "a zstd stream cut off",
      () => zstdCompressSync(rawTar([{ name: "a", body: noise() }])).subarray(0, 9000),
      /zstd|end|truncated|compress/i,
    ],
    [
      "a NUL in a pax path",
      () =>
        rawTar([
          { name: "p", type: "x", body: "12 path=a\0b\n" },
          { name: "x", body: "" },
        ]),
      /NUL|pax|invalid|name/i,
    ],
    ["a pax header of 1 GiB", () => rawTar([{ name: "p", type: "x", size: 1 << 30 }]), /pax|header|large|end|limit/i],
    [
      "a pax record that lies about its length",
      () => rawTar([{ name: "p", type: "x", body: "9999 path=a\n" }, { name: "x" }]),
      /pax|record|invalid/i,
    ],
  ])("a damaged layer leaves nothing: %s", async (_, make, text) => {
    await refused(["import", "-"], make(), text);
  });

  /** A docker-archive of one layer under a config. */
  const archive = (config: unknown, layer: Uint8Array = base, more: Record<string, unknown> = {}) => {
    const manifest = [{ Config: "config.json", RepoTags: ["hostile:1"], Layers: ["layer.tar"], ...more }];
    return rawTar([
      { name: "config.json", body: typeof config === "string" ? config : JSON.stringify(config) },
      { name: "layer.tar", body: layer },
      { name: "manifest.json", body: JSON.stringify(manifest) },
    ]);
  };
  const configOf = (config: object, diffIds = [sha256(base)]) => ({
    architecture: process.arch === "x64" ? "amd64" : "arm64",
    os: "linux",
    config: { Cmd: ["id", "-u"], Env: ["PATH=/bin"], ...config },
    rootfs: { type: "layers", diff_ids: diffIds },
  });

  test.each<[string, () => Buffer, RegExp]>([
    [
      "a layer that is not what the config says",
      () => archive(configOf({}, [`sha256:${"1".repeat(64)}`])),
      /diff|digest|layer|verification/i,
    ],
    ["more layers than the config has", () => archive(configOf({}, [])), /mismatch/],
    ["a config that is no JSON", () => archive("{"), /config.*JSON|JSON/i],
    ["a config of another shape", () => archive(configOf({ Env: "A=B" })), /config\.Env/],
    [
      "a name that is none",
      () => archive(configOf({}), base, { RepoTags: ["../../etc:passwd"] }),
      /reference|tag|name/i,
    ],
    [
      "a config outside the archive",
      () => archive(configOf({}), base, { Config: "../../../../../../etc/passwd" }),
      /passwd|not|archive/i,
    ],
    [
      "a layer outside the archive",
      () => archive(configOf({}), base, { Layers: ["/etc/passwd"] }),
      /passwd|not|archive/i,
    ],
    [
      "a manifest of the wrong shape",
      () => rawTar([{ name: "manifest.json", body: '{"Config":7}' }]),
      /manifest\.json/,
    ],
    [
      "an archive with a symlink for its config",
      () =>
        rawTar([
          { name: "config.json", type: "2", link: "/etc/passwd" },
          { name: "manifest.json", body: '[{"Config":"config.json","Layers":[]}]' },
        ]),
      /config\.json|link|not/i,
    ],
    ["nothing", () => rawTar([]), /neither manifest\.json nor index\.json|archive/],
    ["another system's image", () => archive({ ...configOf({}), os: "windows" }), /windows/],
  ])("load refuses %s", async (_, make, text) => {
    await refused(["load"], make(), text);
  });

  test.each<[string, object, number[], RegExp]>([
    ["USER with a line end", { User: "root\nevil:x:0:0" }, [125, 126], /user|no matching entries|passwd/i],
    ["USER that does not exist", { User: "nobody-here" }, [125, 126], /nobody-here/],
    ["USER beyond 32 bits", { User: "99999999999" }, [125, 126], /99999999999|range|uid|user/i],
    ["WORKDIR relative, and upward", { WorkingDir: "../../../../../../etc" }, [0, 125, 126], /./],
    ["ENV without =", { Env: ["PATH=/bin", "LONELY"] }, [0, 125], /./],
    ["ENV without a name", { Env: ["PATH=/bin", "=x"] }, [0, 125], /./],
    ["VOLUME ..", { Volumes: { "..": {}, "../../../../etc": {} } }, [0, 125], /volume|mount|path|invalid/i],
    ["VOLUME /", { Volumes: { "/": {} } }, [125], /\//],
    ["a command that is a directory", { Entrypoint: ["/etc"], Cmd: [] }, [126], /permission denied|EACCES|directory/i],
    ["a command that is not there", { Entrypoint: ["/nope"] }, [127], /no such file|ENOENT|not found/i],
    ["an unknown stop signal", { StopSignal: "SIGNOPE" }, [0, 125], /signal/i],
  ])("a config with %s: runs, or says why not; nothing is left", async (_, config, codes, text) => {
    expect((await engine.inro(["load"], { stdin: archive(configOf(config)) })).code).toBe(0);
    const { code, stdout, stderr } = await engine.inro(["run", "--rm", "hostile:1"]);
    expect(codes).toContain(code);
    if (code === 0) expect({ stdout, stderr }).toEqual({ stdout: "0\n", stderr: "" });
    else expect(stderr).toMatch(text);
    await engine.ok("rmi", "hostile:1");
    expect(await engine.ok("ps", "-aq")).toBe("");
    expect(await contents(engine)).toEqual(before);
    untouched();
    expect((await engine.inro(["system", "check"])).stdout).toBe("no leaks found\n");
  });
});
