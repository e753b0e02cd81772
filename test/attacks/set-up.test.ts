import { describe, expect, test } from "bun:test";
import { describe as rowsOf } from "../../src/program/print.ts";
import { Builder } from "../../src/runtime/builder.ts";
import { beKeeper } from "../../src/runtime/keeper.ts";
import { engineForTests } from "../harness.ts";
import { missing } from "../isolation/container.ts";

test("the keeper's first rows make it, and with it the set-up, untraceable (CVE-2016-9962)", () => {
  const p = new Builder();
  beKeeper(p);
  expect(rowsOf(p).map(({ text }) => text)).toContain("prctl(PR_SET_DUMPABLE, 0, 0, 0, 0)");
});

describe.skipIf(missing !== "")(`a launch gives nothing away${missing}`, async () => {
  const engine = missing ? undefined! : engineForTests();

  test("run and exec begin so", async () => {
    const text = await engine.ok("explain", "run", "busybox", "true");
    const order = ["PR_SET_DUMPABLE", "clone3\\(", "keyctl\\(", "execve\\("];
    const places = order.map((word) => text.search(new RegExp(word)));
    expect(places.every((place) => place >= 0)).toBe(true);
    expect(places).toEqual([...places].sort((a, b) => a - b));
  });

  test("--ulimit nofile as low as what is open anyway", async () => {
    expect(await engine.sh("ulimit -n", "--ulimit", "nofile=4:4", "-w", "/tmp")).toMatchObject({ stdout: "4\n" });
  });

  test("hundreds of binds keep their sources apart", async () => {
    const flags = Array.from({ length: 450 }, (_, i) => ["-v", `${i % 2 ? "/etc/passwd" : "/etc/group"}:/b/${i}:ro`]);
    const { stdout, stderr } = await engine.sh(
      "cat /b/448 /b/449 | grep -c ^root:x:0:; ls /b | wc -l",
      ...flags.flat(),
    );
    expect(stdout + stderr).toBe("2\n450\n");
  });

  test("a hundred operations at once on one container, and then its removal", async () => {
    const id = await engine.ok("create", "busybox", "sleep", "1000");
    const operations = [
      "start",
      "stop?t=0",
      "kill",
      "restart?t=0",
      "pause",
      "unpause",
      "rename?name=a",
      "kill?signal=HUP",
    ];
    const statuses = await Promise.all(
      Array.from({ length: 100 }, async (_, i) => {
        const reply = await engine.api("POST", `/containers/${id}/${operations[(i * 5) % operations.length]}`);
        await reply.text();
        return reply.status;
      }),
    );
    expect(statuses.filter((status) => status >= 500)).toEqual([]);
    expect((await engine.api("DELETE", `/containers/${id}?force=1`)).status).toBe(204);
  });
});
