import { afterAll, beforeAll, describe, expect, test } from "bun:test";
import { randomBytes } from "node:crypto";
import { rmSync } from "node:fs";
import { request } from "node:http";
import { Bench, configOf, layerOf } from "../../src/images/testing/samples.ts";
import { attach, referrers, referrersTag } from "../../src/registry/referrers.ts";
import { Repository } from "../../src/registry/repository.ts";
import { Registry } from "../../src/registry/server/server.ts";
import { interpose } from "../../src/registry/testing/interpose.ts";
import { TestPusher } from "../../src/registry/testing/push.ts";
import { isRoot, temporary } from "../harness.ts";

describe.skipIf(!isRoot)("push to inro's own registry", () => {
  let dir: string;
  let registry: Registry;
  let host: string;
  beforeAll(async () => {
    dir = temporary();
    registry = new Registry({ data: dir });
    host = `127.0.0.1:${await registry.listen("127.0.0.1", 0)}`;
  });
  afterAll(async () => {
    await registry?.close();
    rmSync(dir, { recursive: true, force: true });
  });

  const repository = (path: string) =>
    new Repository({ base: `http://${host}`, mirror: false }, path, undefined, undefined, "pull,push");

  test("an upload that is cut off goes on where the registry says; what is attached is listed by its API", async () => {
    const layer = await layerOf({ noise: randomBytes(3_000_000) });
    const pushed = await new TestPusher(host, "a/b").image(configOf([layer]), [layer], "t");
    const bench = new Bench();
    const half = 1_500_000;
    const ranges: (string | undefined)[] = [];
    const proxy = await interpose(host, (req) => {
      if (req.method !== "PATCH") return false;
      ranges.push(req.headers["content-range"]);
      if (ranges.length > 1) return false;
      let passed = 0;
      const onward = request({ host: "127.0.0.1", port: host.split(":")[1], method: "PATCH", path: req.url });
      onward.on("error", () => {});
      req.on("data", (chunk: Buffer) => {
        if (passed >= half) return;
        const part = chunk.subarray(0, half - passed);
        passed += part.length;
        onward.write(part);
        if (passed === half) onward.end();
      });
      onward.on("response", () => req.socket.destroy());
      return true;
    });
    try {
      await bench.images.pull({ reference: `${host}/a/b:t`, onMessage() {} });
      bench.images.tag(`${host}/a/b:t`, `${proxy.host}/c`, "t");
      await bench.images.push({ reference: `${proxy.host}/c`, tag: "t", onMessage() {} });
      expect(ranges).toEqual([undefined, `${half}-${layer.data.length - 1}`]);
      expect((await repository("c").manifest("t")).digest).toBe(pushed.digest);
    } finally {
      await proxy.stop();
      bench.close();
    }
    const attached = await attach(repository("c"), pushed, { artifactType: "text/x", blobs: [] });
    expect(await referrers(repository("c"), pushed.digest)).toMatchObject([{ digest: attached.digest }]);
    expect(await repository("c").tags()).not.toContain(referrersTag(pushed.digest));
  });
});
