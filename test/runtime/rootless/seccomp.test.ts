import { afterAll, beforeAll, describe, expect, test } from "bun:test";
import { Agent, NEARLY_EVERYTHING } from "../agent.ts";
import { cannotRun, PlainRuntime } from "./user.ts";

describe.skipIf(cannotRun !== undefined)(`rootless seccomp${cannotRun ? ` (skipped: ${cannotRun})` : ""}`, () => {
  let runtime: PlainRuntime;
  beforeAll(() => {
    runtime = new PlainRuntime();
  });
  afterAll(() => runtime.close());

  test.each([
    ["with no_new_privs", true],
    ["without no_new_privs", false],
  ])("SCMP_ACT_NOTIFY for nearly every call: create, start, exec %s", async (_name, noNewPrivileges) => {
    await using agent = new Agent(runtime, { mkdir: 28 });
    expect(await agent.next()).toBe("listening");
    const bundle = runtime.bundle("exec sleep 1000", (s) => {
      s.process.noNewPrivileges = noNewPrivileges;
      s.linux.seccomp = {
        defaultAction: "SCMP_ACT_ALLOW",
        listenerPath: agent.path,
        syscalls: [{ names: NEARLY_EVERYTHING, action: "SCMP_ACT_NOTIFY" }],
      };
    });
    await runtime.ok("create", "-b", bundle, "notify");
    const { pid } = await runtime.status("notify");
    expect(await agent.state()).toMatchObject({ pid, state: { id: "notify", status: "creating" } });
    await runtime.ok("start", "notify");
    const { code, out, err } = await runtime.run(["exec", "notify", "sh", "-c", "mkdir /dev/shm/x; echo done"]);
    expect({ code, out, err }).toEqual({
      code: 0,
      out: "done\n",
      err: expect.stringContaining("No space left on device"),
    });
    expect(await agent.state()).toMatchObject({ state: { pid, status: "running" } });
    await runtime.ok("delete", "-f", "notify");
  });
});
