import { afterAll, beforeAll, describe, expect, test } from "bun:test";
import { DOCKER_REGISTRY, type RunningRegistry, startRegistry } from "../../src/registry/testing/docker-registry.ts";
import { startInroRegistry } from "../../src/registry/testing/inro-registry.ts";
import { Client, cases } from "./conformance.ts";

const registries = [
  { name: "inro registry", start: startInroRegistry, missing: "" },
  { name: "docker-registry", start: startRegistry, missing: DOCKER_REGISTRY ? "" : " (no docker-registry)" },
];

for (const { name, start, missing } of registries) {
  describe.skipIf(missing !== "")(`${name}${missing}`, () => {
    let registry: RunningRegistry;
    beforeAll(async () => {
      registry = await start();
    });
    afterAll(() => registry?.stop());

    for (const [at, one] of cases.entries()) {
      const differs = name === "docker-registry" ? one.dockerRegistry : undefined;
      test(`${one.workflow}: ${one.name}${differs ? `: not there (${differs})` : ""}`, async () => {
        const outcome = one.run(new Client(`http://${registry.host}`, `conformance/case-${at}`));
        if (differs === undefined) await outcome;
        else await expect(outcome).rejects.toThrow();
      });
    }
  });
}
