import { afterAll, beforeAll, describe, expect, test } from "bun:test";
import { sha256 } from "../../src/base/digest.ts";
import { tarOf } from "../../src/images/testing/samples.ts";
import { DOCKER_REGISTRY, type RunningRegistry, startRegistry } from "../../src/registry/testing/docker-registry.ts";
import { TestPusher } from "../../src/registry/testing/push.ts";
import { MEDIA } from "../../src/spec/oci-image.ts";
import { command, engineForTests } from "../harness.ts";
import { Client, cannotCompare, docker } from "./docker.ts";

const why = cannotCompare || (DOCKER_REGISTRY ? "" : "no docker-registry");

describe.skipIf(why !== "")(`from a registry${why && ` (${why})`}`, () => {
  const engine = why ? undefined : engineForTests();
  let registry: RunningRegistry;
  let name: string;
  beforeAll(async () => {
    registry = await startRegistry();
    const layer = await tarOf({ file: "x\n" });
    const image = {
      architecture: process.arch === "x64" ? "amd64" : "arm64",
      os: "linux",
      config: {},
      rootfs: { type: "layers", diff_ids: [sha256(layer)] },
    };
    await new TestPusher(registry.host, "small").image(image, [{ data: layer, mediaType: MEDIA.ociLayer }], "1");
    name = `${registry.host}/small:1`;
  });
  afterAll(() => registry.stop());

  for (const program of ["docker", "inro"]) {
    test(`${program} pulls, creates with --pull, tags, saves, loads and removes`, async () => {
      const client = new Client(program === "docker" ? [docker!] : command, engine!);
      try {
        const pulled = await client.run(["pull", name]);
        expect(pulled).toMatchObject({ code: 0, err: "" });
        expect(pulled.out).toContain(`Status: Downloaded newer image for ${name}\n`);
        expect(pulled.out).toEndWith(`${name}\n`);
        expect(await client.run(["pull", "-q", name])).toEqual({ code: 0, out: `${name}\n`, err: "" });
        const missing = await client.run(["pull", `${registry.host}/small:2`]);
        expect(missing.code).toBe(1);
        expect(missing.err).toMatch(/manifest .*unknown/);
        expect((await client.run(["run", `${registry.host}/small:2`])).code).toBe(125);
        expect((await client.run(["create", `${registry.host}/small:2`, "x"])).code).toBe(1);
        await client.ok("rmi", name);
        const created = await client.run(["create", "--name", "small", name, "x"]);
        expect(created).toMatchObject({ code: 0 });
        expect(created.out).toMatch(/^[0-9a-f]{64}\n$/);
        expect(created.err).toStartWith(`Unable to find image '${name}' locally\n`);
        const again = await client.run(["create", "--pull", "always", "-q", "--name", "other", name, "x"]);
        expect(again).toMatchObject({ code: 0, err: "" });
        await client.ok("rm", "small", "other");
        await client.ok("tag", name, "small:local");
        expect(await client.ok("images", "--format", "{{.Repository}}:{{.Tag}}", "small")).toBe("small:local");
        await client.ok("save", "-o", "$D/small.tar", "small:local");
        await client.ok("rmi", "small:local", name);
        expect(await client.ok("load", "-i", "$D/small.tar")).toContain("Loaded image: small:local");
        expect(await client.ok("rmi", "small:local")).toContain("Deleted: sha256:");
      } finally {
        client.close();
      }
    });
  }
});
