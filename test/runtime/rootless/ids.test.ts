import { afterAll, beforeAll, describe, expect, test } from "bun:test";
import { existsSync, readFileSync, statSync } from "node:fs";
import { join } from "node:path";
import { forbiddenUserNamespaces } from "../../../src/runtime/userns-switches.ts";
import type { IdMapping } from "../../../src/spec/oci-runtime.ts";
import { eventually } from "../bundle.ts";
import { asRoot, type Change, cannotRun, GID, PlainRuntime, SUBID_FILES, SUBIDS, UID } from "./user.ts";

/** Root is the user, the others are his subordinate ids (subuid(5)). */
const ranges = (own: number): IdMapping[] => [
  { containerID: 0, hostID: own, size: 1 },
  { containerID: 1, hostID: SUBIDS.first, size: SUBIDS.count },
];
const mapped: Change = (s) => {
  s.linux.uidMappings = ranges(UID);
  s.linux.gidMappings = ranges(GID);
};

const why =
  cannotRun ?? (!asRoot ? "not root, who gives subordinate ids" : Bun.which("newuidmap") ? undefined : "no newuidmap");

describe.skipIf(why !== undefined)(`rootless: many ids${why ? ` (skipped: ${why})` : ""}`, () => {
  let runtime: PlainRuntime;
  beforeAll(() => {
    runtime = new PlainRuntime({ files: SUBID_FILES });
  });
  afterAll(() => runtime.close());
  const withFiles = async <T>(files: Record<string, string>, body: () => Promise<T>): Promise<T> => {
    runtime.options = { files: { ...SUBID_FILES, ...files } };
    try {
      return await body();
    } finally {
      runtime.options = { files: SUBID_FILES };
    }
  };

  test("root is the user, another is one of his subordinate ids", async () => {
    const bundle = runtime.bundle("cat /proc/self/setgroups; id; touch /made; exec sleep 1000", (s) => {
      mapped(s);
      s.root!.readonly = false;
      s.process.user = { uid: 1000, gid: 1001, additionalGids: [5, 6] };
      s.process.capabilities = {};
    });
    await runtime.output(["/bin/chmod", "777", join(bundle, "rootfs")]);
    const pidFile = join(runtime.runDir, "pid");
    await runtime.ok("create", "-b", bundle, "--pid-file", pidFile, "many");
    const pid = Number(readFileSync(pidFile, "utf8"));
    expect(statSync(`/proc/${pid}`).uid).toBe(SUBIDS.first + 999);
    expect(readFileSync(`/proc/${pid}/setgroups`, "utf8")).toBe("allow\n");
    // Before it has started too, though it is another user's process by now.
    expect((await runtime.run(["exec", "many", "id"])).out).toBe("uid=1000 gid=1001 groups=5,6\n");
    await runtime.ok("start", "many");
    const made = join(bundle, "rootfs/made");
    await eventually("the file is made", () => existsSync(made));
    expect(statSync(made)).toMatchObject({ uid: SUBIDS.first + 999, gid: SUBIDS.first + 1000 });
    expect(await runtime.run(["exec", "-u", "7:8", "-g", "9", "many", "id"])).toEqual({
      code: 0,
      out: "uid=7 gid=8 groups=5,6,9\n",
      err: "",
    });
    expect((await runtime.run(["exec", "-u", "70000", "many", "id"])).err).toContain(
      "not mapped in the user namespace",
    );
    await runtime.ok("kill", "many", "KILL");
    await eventually("it stops", async () => (await runtime.status("many")).status === "stopped");
    await runtime.ok("delete", "many");
  });

  test("a root that is not the user: hooks and exec find it before it starts", async () => {
    const bundle = runtime.bundle("exec sleep 1000", (s) => {
      s.linux.uidMappings = [{ containerID: 0, hostID: SUBIDS.first, size: 1000 }];
      s.linux.gidMappings = [{ containerID: 0, hostID: SUBIDS.first, size: 1000 }];
      s.hooks = {
        createContainer: [{ path: "/bin/sh", args: ["sh", "-c", `test "$(hostname)" = inro`], env: ["PATH=/bin"] }],
        startContainer: [{ path: "/bin/sh", args: ["sh", "-c", `test "$(id -u)" = 0`] }],
      };
    });
    // The way to it is the user's alone, but the mount points are made by the container's root.
    await runtime.output(["/bin/chmod", "777", join(bundle, "rootfs")]);
    await runtime.ok("create", "-b", bundle, "other");
    expect((await runtime.run(["exec", "other", "id", "-u"])).out).toBe("0\n");
    await runtime.ok("start", "other");
    const { pid } = await runtime.status("other");
    expect(statSync(`/proc/${pid}`).uid).toBe(SUBIDS.first);
    await runtime.ok("delete", "--force", "other");
  });

  const refused = async (message: string) => {
    const { code, err } = await runtime.run(["run", "-b", runtime.bundle("true", mapped), "refused"]);
    expect({ code, err }).toEqual({ code: 1, err: expect.stringContaining(message) });
    expect(existsSync(join(runtime.root, "refused"))).toBe(false);
  };

  test.each([
    ["/etc/subuid", "linux.uidMappings: newuidmap: "],
    ["/etc/subgid", "linux.gidMappings: newgidmap: "],
  ])("a range that %s does not give: the line that it needs", async (file, start) => {
    const line = `"plain:${SUBIDS.first}:${SUBIDS.count}"`;
    await withFiles({ [file]: "somebody:100000:65536\n" }, async () => {
      await refused(start);
      await refused(`; ${file} needs ${line}`);
    });
    // By number it is as good.
    await withFiles({ [file]: `${UID}:${SUBIDS.first}:${SUBIDS.count}\n` }, async () => {
      expect(await runtime.run(["run", "-b", runtime.bundle("true", mapped), "number"])).toMatchObject({ code: 0 });
    });
  });

  test.each(["newuidmap", "newgidmap"])("without %s: which package has it", async (helper) => {
    const path = Bun.which(helper)!;
    await withFiles({ [path]: "" }, () => refused(`${helper} is not installed`));
  });
});

describe.skipIf(cannotRun !== undefined || !Bun.which("unshare"))(
  "rootless: user namespaces that are forbidden",
  () => {
    let runtime: PlainRuntime;
    beforeAll(() => {
      runtime = new PlainRuntime();
    });
    afterAll(() => runtime.close());

    const nested = (script: string, id: string, bundle: string) =>
      runtime.output([
        Bun.which("unshare")!,
        "--user",
        "--map-root-user",
        "/bin/busybox",
        "sh",
        "-c",
        `${script}; exec "$@"`,
        "sh",
        ...runtime.argv,
        "--root",
        runtime.root,
        "run",
        "-b",
        bundle,
        id,
      ]);

    test("user.max_user_namespaces is named", async () => {
      const bundle = runtime.bundle("true", (s) => {
        s.linux.uidMappings = [{ containerID: 0, hostID: 0, size: 1 }];
        s.linux.gidMappings = [{ containerID: 0, hostID: 0, size: 1 }];
      });
      const { code, err } = await nested("echo 0 > /proc/sys/user/max_user_namespaces", "none", bundle);
      expect({ code, err }).toEqual({ code: 1, err: expect.stringContaining("ENOSPC: user.max_user_namespaces=0") });
    });

    test("in a user namespace that somebody made: with one of its own, and without", async () => {
      const own = runtime.bundle("id -u; cat /proc/self/uid_map; echo x > /dev/null", (s) => {
        s.linux.uidMappings = [{ containerID: 0, hostID: 0, size: 1 }];
        s.linux.gidMappings = [{ containerID: 0, hostID: 0, size: 1 }];
      });
      const result = await nested("true", "own", own);
      expect({ ...result, out: result.out.split(/\s+/) }).toEqual({ code: 0, err: "", out: ["0", "0", "0", "1", ""] });
      const shared = runtime.bundle("id -u; cat /proc/self/uid_map; echo x > /dev/null", (s) => {
        s.linux.uidMappings = [];
        s.linux.gidMappings = [];
        s.linux.namespaces = s.linux.namespaces!.filter(({ type }) => type !== "user");
      });
      const plain = await nested("true", "shared", shared);
      expect({ ...plain, out: plain.out.split(/\s+/) }).toEqual({
        code: 0,
        err: "",
        out: ["0", "0", String(UID), "1", ""],
      });
    });
  },
);

test.each([
  [{ "user.max_user_namespaces": "0" }, "sysctl -w user.max_user_namespaces="],
  [{ "kernel.unprivileged_userns_clone": "0" }, "sysctl -w kernel.unprivileged_userns_clone=1"],
  [{ "kernel.apparmor_restrict_unprivileged_userns": "1" }, "no AppArmor profile with `userns,`"],
  [{ "user.max_user_namespaces": "100", "kernel.unprivileged_userns_clone": "1" }, undefined],
])("switches %j", (values: Record<string, string>, wanted) => {
  const found = forbiddenUserNamespaces((name) => values[name]);
  if (wanted === undefined) expect(found).toBeUndefined();
  else expect(found).toContain(wanted);
});
