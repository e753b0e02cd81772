import { afterAll, beforeAll, describe, expect, test } from "bun:test";
import { mkdirSync, readFileSync, rmSync, writeFileSync } from "node:fs";
import { join } from "node:path";
import { DOCKER_REGISTRY, type RunningRegistry, startRegistry } from "../../src/registry/testing/docker-registry.ts";
import { docker } from "../clients/docker.ts";
import { busyboxTar, hasBusybox, isRoot, TestEngine, temporary } from "../harness.ts";

const why = !isRoot ? "needs root" : !hasBusybox ? "no busybox-static" : !DOCKER_REGISTRY ? "no docker-registry" : "";
const skopeo = Bun.which("skopeo");

describe.skipIf(why !== "")(`push to docker-registry${why && ` (${why})`}`, () => {
  let engine: TestEngine;
  let registry: RunningRegistry;
  let dir: string;

  beforeAll(async () => {
    [engine, registry] = await Promise.all([new TestEngine().start(), startRegistry({ users: { anna: "secret" } })]);
    dir = temporary();
    await engine.ok("import", busyboxTar(dir), "box:1");
    const login = await engine.inro(["login", "-u", "anna", "--password-stdin", registry.host], {
      stdin: "secret",
      env: { DOCKER_CONFIG: dir },
    });
    expect(login.code).toBe(0);
  });
  afterAll(async () => {
    await registry?.stop();
    await engine?.stop();
    rmSync(dir, { recursive: true, force: true });
  });

  const run = async (program: string[], env: Record<string, string> = {}) => {
    const child = Bun.spawn(program, { env: { ...process.env, ...env }, stdout: "pipe", stderr: "pipe" });
    const [out, err, code] = await Promise.all([
      new Response(child.stdout).text(),
      new Response(child.stderr).text(),
      child.exited,
    ]);
    return { code, out, err };
  };

  test("inro push, quiet and of all tags; pulled by another engine, it runs", async () => {
    const name = `${registry.host}/team/box`;
    for (const tag of ["a", "b"]) await engine.ok("tag", "box:1", `${name}:${tag}`);
    const env = { DOCKER_CONFIG: dir };
    const refused = await engine.inro(["push", `${name}:a`], { env: { DOCKER_CONFIG: "/nonexistent" } });
    expect(refused.code).toBe(1);
    expect(refused.stderr).toContain("no basic auth credentials");
    const pushed = await engine.inro(["image", "push", `${name}:a`], { env });
    expect(pushed).toMatchObject({ code: 0, stderr: "" });
    expect(pushed.stdout).toStartWith(`The push refers to repository [${name}]\n`);
    const digest = /^a: digest: (sha256:[0-9a-f]{64}) size: \d+$/m.exec(pushed.stdout)![1];
    expect(await engine.ok("inspect", "-f", "{{.RepoDigests}}", "box:1")).toBe(`[${name}@${digest}]`);
    expect((await engine.inro(["push", "-q", `${name}:a`], { env })).stdout).toBe(`${name}:a\n`);
    expect((await engine.inro(["push", "-a", name], { env })).stdout).toContain(`b: digest: ${digest}`);
    const other = await new TestEngine().start();
    try {
      await other.inro(["pull", `${name}:b`], { env });
      expect(await other.ok("run", "--rm", `${name}:b`, "echo", "there")).toBe("there");
    } finally {
      await other.stop();
    }
    const events = await engine.ok("events", "--since", "0", "--until", "0s", "-f", "event=push");
    expect(events).toContain(`image push ${name}:a`);
  });

  test("inro build --push", async () => {
    const name = `${registry.host}/built/app:1`;
    const context = join(dir, "context");
    mkdirSync(context);
    writeFileSync(join(context, "Dockerfile"), "FROM box:1\nCOPY file /file\n");
    writeFileSync(join(context, "file"), "x");
    const env = { DOCKER_CONFIG: dir };
    const metadata = join(dir, "metadata.json");
    const built = await engine.inro(["build", "-t", name, "--push", "--metadata-file", metadata, context], { env });
    expect(built).toMatchObject({ code: 0 });
    const { "containerimage.digest": digest } = JSON.parse(readFileSync(metadata, "utf8"));
    expect(await engine.ok("inspect", "-f", "{{.RepoDigests}}", name)).toContain(`@${digest}`);
    await engine.ok("rmi", name);
    expect((await engine.inro(["pull", `${registry.host}/built/app@${digest}`], { env })).code).toBe(0);
    const none = await engine.inro(["build", "--push", context], { env });
    expect(none.code).toBe(1);
    expect(none.stderr).toContain("tag is needed when pushing to registry");
  });

  test("inro build --push --attest: what is in the image, and how it was built", async () => {
    const name = `${registry.host}/built/attested:1`;
    const context = join(dir, "attested");
    mkdirSync(context);
    writeFileSync(
      join(context, "Dockerfile"),
      "FROM box:1 AS a\nARG A\nRUN --mount=type=secret,id=s true\nFROM box:1\nCOPY --from=a /bin/sh /x\n",
    );
    writeFileSync(join(context, "a-secret"), "never-published");
    const env = { DOCKER_CONFIG: dir };
    const secret = ["--secret", `id=s,src=${join(context, "a-secret")}`, "--build-arg", "A=argument"];
    const build = (...flags: string[]) => engine.inro(["build", "-t", name, ...secret, ...flags, context], { env });
    const attached = async () => {
      const listed = await engine.inro(["image", "referrers", "--format", "json", name], { env });
      const digests = [...listed.stdout.matchAll(/"digest": ?"(sha256:[0-9a-f]{64})"/gi)].map((match) => match[1]!);
      const found = new Map<string, { digest: string; text: string }>();
      for (const digest of digests) {
        const auth = {
          Authorization: `Basic ${btoa("anna:secret")}`,
          Accept: "application/vnd.oci.image.manifest.v1+json",
        };
        const at = `http://${registry.host}/v2/built/attested`;
        const manifest = (await (await fetch(`${at}/manifests/${digest}`, { headers: auth })).json()) as {
          subject?: object;
          layers: { digest: string; annotations: Record<string, string> }[];
        };
        const [layer] = manifest.layers;
        if (!manifest.subject) continue;
        const text = await (await fetch(`${at}/blobs/${layer!.digest}`, { headers: auth })).text();
        found.set(layer!.annotations["in-toto.io/predicate-type"]!, { digest, text });
      }
      return found;
    };
    expect(await build("--push", "--sbom=true", "--attest", "type=provenance,mode=max")).toMatchObject({ code: 0 });
    const first = await attached();
    expect([...first.keys()].sort()).toEqual(["https://slsa.dev/provenance/v1", "https://spdx.dev/Document"]);
    const said = JSON.parse(first.get("https://slsa.dev/provenance/v1")!.text);
    expect(said.predicate.buildDefinition.externalParameters.args).toEqual({ A: "argument" });
    expect(said.predicate.buildDefinition.resolvedDependencies).toEqual([
      {
        uri: expect.stringMatching(/^pkg:docker\/.*box@1\?platform=linux/),
        digest: { sha256: expect.stringMatching(/^[0-9a-f]{64}$/) },
      },
    ]);
    expect(JSON.parse(first.get("https://spdx.dev/Document")!.text).predicate.spdxVersion).toBe("SPDX-2.3");
    for (const { text } of first.values()) expect(text).not.toContain("never-published");
    // The same again is the same: nothing is added.
    expect(await build("--push", "--sbom=true", "--provenance=mode=max", "--no-cache")).toMatchObject({ code: 0 });
    expect(await attached()).toEqual(first);
    const kept = await build("--sbom=true");
    expect(kept.code).toBe(1);
    expect(kept.stderr).toContain("push it");
    expect((await build("--sbom=false", "--provenance=false")).code).toBe(0);
  });

  test.skipIf(!docker || !skopeo)("docker's command line pushes, skopeo reads", async () => {
    const name = `${registry.host}/by/docker:1`;
    await engine.ok("tag", "box:1", name);
    const env = { DOCKER_HOST: engine.host, DOCKER_CONFIG: dir };
    const pushed = await run([docker!, "push", name], env);
    expect(pushed).toMatchObject({ code: 0, err: "" });
    expect(pushed.out).toMatch(/^[0-9a-f]{12}: (Pushed|Mounted from (team\/box|built\/(app|attested)))$/m);
    const missing = await run([docker!, "push", `${registry.host}/by/docker:2`], env);
    expect(missing).toMatchObject({ code: 1 });
    expect(missing.err).toContain(`tag does not exist: ${registry.host}/by/docker:2`);
    const target = join(dir, "copy");
    const source = ["--src-tls-verify=false", "--src-creds", "anna:secret", `docker://${name}`];
    const copied = await run([skopeo!, "--insecure-policy", "copy", ...source, `oci:${target}:x`]);
    expect(copied).toMatchObject({ code: 0 });
    const read = await run([skopeo!, "inspect", "--tls-verify=false", "--creds", "anna:secret", `docker://${name}`]);
    const inspected = await run([docker!, "manifest", "inspect", "--insecure", name], env);
    expect(inspected.code).toBe(0);
    const listed = await engine.inro(["image", "referrers", name], { env: { DOCKER_CONFIG: dir } });
    expect(listed).toMatchObject({ code: 0, stdout: "DIGEST    ARTIFACT TYPE   SIZE\n" });
    expect(JSON.parse(read.out).Digest).toBe(/digest: (sha256:\w+)/.exec(pushed.out)![1]);
  });
});
