import { afterAll, beforeAll, describe, expect, test } from "bun:test";
import { existsSync, readFileSync, writeFileSync } from "node:fs";
import { join } from "node:path";
import { apparmorEnabled, selinuxEnabled } from "../../src/runtime/labels.ts";
import type { Process, Spec } from "../../src/spec/oci-runtime.ts";
import { cannotRun, Runtime } from "./bundle.ts";

type Full = Spec & { process: Process; linux: NonNullable<Spec["linux"]> };

const PROFILE = "inro-test-profile";
const parser = Bun.which("apparmor_parser");
const noApparmor =
  cannotRun ?? (!apparmorEnabled() ? "AppArmor is off" : parser ? undefined : "there is no apparmor_parser");
const noSelinux = cannotRun ?? (selinuxEnabled() ? undefined : "SELinux is off");
const skipped = (reason: string | undefined) => (reason ? ` (skipped: ${reason})` : "");

function load(flag: "-r" | "-R"): void {
  const text = `profile ${PROFILE} flags=(attach_disconnected) {
    file, capability, signal, network, unix, ptrace (read),
    deny /forbidden r,
  }
  profile ${PROFILE}-other flags=(attach_disconnected) { file, signal, }
  `;
  const { exitCode, stderr } = Bun.spawnSync([parser!, "-K", flag], { stdin: Buffer.from(text) });
  if (exitCode !== 0) throw new Error(stderr.toString());
}

describe.skipIf(noApparmor !== undefined)(`process.apparmorProfile${skipped(noApparmor)}`, () => {
  const runtime = new Runtime();
  beforeAll(() => load("-r"));
  afterAll(async () => {
    await runtime.close();
    load("-R");
  });
  const confined = (profile: string) => (s: unknown) => {
    (s as Full).process.apparmorProfile = profile;
  };
  const current = "cat /proc/self/attr/current";

  test("the container is under it, and an exec, with another by --apparmor", async () => {
    const bundle = runtime.bundle("sleep 1000", confined(PROFILE));
    writeFileSync(join(bundle, "rootfs/forbidden"), "secret");
    await runtime.ok("create", "-b", bundle, "aa");
    const { pid } = await runtime.status("aa");
    await runtime.ok("start", "aa");
    expect(readFileSync(`/proc/${pid}/attr/current`, "utf8")).toBe(`${PROFILE} (enforce)\n`);
    expect(await runtime.ok("exec", "aa", "sh", "-c", current)).toBe(`${PROFILE} (enforce)\n`);
    expect((await runtime.run(["exec", "aa", "cat", "/forbidden"])).err).toContain("Permission denied");
    const other = ["exec", "--apparmor", `${PROFILE}-other`, "aa"];
    expect(await runtime.ok(...other, "sh", "-c", current)).toBe(`${PROFILE}-other (enforce)\n`);
    expect(await runtime.ok(...other, "cat", "/forbidden")).toBe("secret");
    await runtime.ok("delete", "-f", "aa");
  });

  test("an exec beside processes that may trace it (unseen.ts) is under it too", async () => {
    const bundle = runtime.bundle("sleep 1000", (s) => {
      confined(PROFILE)(s);
      (s as unknown as Full).process.capabilities = { bounding: ["CAP_SYS_PTRACE"] };
    });
    await runtime.ok("run", "-d", "-b", bundle, "traced");
    expect(await runtime.ok("exec", "traced", "sh", "-c", current)).toBe(`${PROFILE} (enforce)\n`);
    await runtime.ok("delete", "-f", "traced");
  });

  test("unconfined", async () => {
    const bundle = runtime.bundle(current, confined("unconfined"));
    expect((await runtime.run(["run", "-b", bundle, "aa"])).out).toBe("unconfined\n");
  });

  test("one that is not loaded is an error, and nothing is left", async () => {
    const { code, err } = await runtime.run(["create", "-b", runtime.bundle("true", confined("inro-nobody")), "aa"]);
    expect(code).toBe(1);
    expect(err).toContain("apparmor failed to apply profile: it is not loaded");
    expect(existsSync(join(runtime.root, "aa"))).toBe(false);
  });

  test("a /proc of the container's own making does not take it away (CVE-2019-16884, CVE-2025-52881)", async () => {
    const bundle = runtime.bundle("cat /real/self/attr/current", (s) => {
      confined(PROFILE)(s);
      const spec = s as unknown as Full;
      spec.mounts = spec.mounts?.map((m) => (m.destination === "/proc" ? { ...m, destination: "/real" } : m)) ?? [];
      spec.mounts.push({ destination: "/proc", type: "tmpfs", source: "tmpfs", options: [] });
      spec.linux.maskedPaths = [];
      spec.linux.readonlyPaths = [];
    });
    const { out, err } = await runtime.run(["run", "-b", bundle, "aa"]);
    // Either the mount is refused, or the profile holds.
    if (out === "") expect(err).toContain("/proc");
    else expect(out).toBe(`${PROFILE} (enforce)\n`);
  });
});

describe.skipIf(noSelinux !== undefined)(`process.selinuxLabel${skipped(noSelinux)}`, () => {
  const runtime = new Runtime();
  afterAll(() => runtime.close());
  const current = "cat /proc/self/attr/current";
  // Types of any reference policy.
  const LABEL = "system_u:system_r:initrc_t:s0";
  const OTHER = "system_u:system_r:init_t:s0";
  const labelled = (label: string) => (s: unknown) => {
    (s as Full).process.selinuxLabel = label;
  };
  const text = (value: string) => value.replace(/\0|\n/g, "");

  test("the container is under it, and an exec, with another by --process-label", async () => {
    await runtime.ok("run", "-d", "-b", runtime.bundle("sleep 1000", labelled(LABEL)), "se");
    const { pid } = await runtime.status("se");
    expect(text(readFileSync(`/proc/${pid}/attr/current`, "utf8"))).toBe(LABEL);
    expect(text(await runtime.ok("exec", "se", "sh", "-c", current))).toBe(LABEL);
    expect(text(await runtime.ok("exec", "--process-label", OTHER, "se", "sh", "-c", current))).toBe(OTHER);
    await runtime.ok("delete", "-f", "se");
  });

  test("an exec beside processes that may trace it (unseen.ts) is under it too", async () => {
    const bundle = runtime.bundle("sleep 1000", (s) => {
      labelled(LABEL)(s);
      (s as unknown as Full).process.capabilities = { bounding: ["CAP_SYS_PTRACE"] };
    });
    await runtime.ok("run", "-d", "-b", bundle, "traced");
    expect(text(await runtime.ok("exec", "traced", "sh", "-c", current))).toBe(LABEL);
    await runtime.ok("delete", "-f", "traced");
  });

  test("one that the policy does not know is an error", async () => {
    const bundle = runtime.bundle("true", labelled("no_u:no_r:no_t:s0"));
    const { code, err } = await runtime.run(["create", "-b", bundle, "se"]);
    expect({ code, err }).toEqual({ code: 1, err: expect.stringContaining("process.selinuxLabel") });
    expect(existsSync(join(runtime.root, "se"))).toBe(false);
  });
});

describe.skipIf(cannotRun !== undefined)(`labels where there is no such module${skipped(cannotRun)}`, () => {
  const runtime = new Runtime();
  afterAll(() => runtime.close());
  // biome-ignore format: a table
  const cases: [flag: string, field: keyof Process, label: string, on: boolean, message: string][] = [
    ["--apparmor", "apparmorProfile", "docker-default", apparmorEnabled(), "apparmor: config provided but apparmor not supported"],
    ["--process-label", "selinuxLabel", "a_u:a_r:a_t:s0", selinuxEnabled(), "selinux is disabled or not supported"],
  ];
  for (const [flag, field, label, on, message] of cases) {
    test.skipIf(on)(`${field}, ${flag}${skipped(on ? "it is on here" : undefined)}`, async () => {
      const bundle = runtime.bundle("sleep 1000");
      await runtime.ok("run", "-d", "-b", bundle, "off");
      const exec = await runtime.run(["exec", flag, label, "off", "true"]);
      expect(exec).toMatchObject({ code: 255, err: expect.stringContaining(message) });
      await runtime.ok("delete", "-f", "off");
      const bad = runtime.bundle("true", (s) => Object.assign(s.process, { [field]: label }));
      const create = await runtime.run(["create", "-b", bad, "off"]);
      expect(create).toMatchObject({ code: 1, err: expect.stringContaining(message) });
      expect(existsSync(join(runtime.root, "off"))).toBe(false);
    });
  }

  test.skipIf(apparmorEnabled())("unconfined is what it is without AppArmor", async () => {
    const bundle = runtime.bundle("echo ran", (s) => Object.assign(s.process, { apparmorProfile: "unconfined" }));
    expect((await runtime.run(["run", "-b", bundle, "un"])).out).toBe("ran\n");
  });
});
