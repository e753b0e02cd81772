import { afterAll, beforeAll, describe, expect, test } from "bun:test";
import { readFileSync } from "node:fs";
import { gunzipSync } from "node:zlib";
import { sha256 } from "../../src/base/digest.ts";
import { DOCKER_REGISTRY, type RunningRegistry, startRegistry } from "../../src/registry/testing/docker-registry.ts";
import { TestPusher } from "../../src/registry/testing/push.ts";
import { MEDIA } from "../../src/spec/oci-image.ts";
import { isRoot, TestEngine } from "../harness.ts";
import { debianUserland } from "./debian.ts";

const userland = !isRoot
  ? "needs root"
  : !DOCKER_REGISTRY
    ? "no docker-registry"
    : process.arch !== "x64"
      ? "made for amd64"
      : debianUserland();
const why = typeof userland === "string" ? userland : "";

describe.skipIf(why !== "")(`a Debian userland from docker-registry${why && ` (${why})`}`, () => {
  let engine: TestEngine;
  let registry: RunningRegistry;
  let image: string;

  beforeAll(async () => {
    [engine, registry] = await Promise.all([new TestEngine().start(), startRegistry()]);
    const data = readFileSync((userland as { path: string }).path);
    const config = {
      architecture: "amd64",
      os: "linux",
      config: { Cmd: ["bash"], Env: ["PATH=/usr/sbin:/usr/bin:/sbin:/bin"] },
      rootfs: { type: "layers", diff_ids: [sha256(gunzipSync(data))] },
    };
    await new TestPusher(registry.host, "debian").image(config, [{ data, mediaType: MEDIA.ociLayerGzip }], "12");
    image = `${registry.host}/debian:12`;
    await engine.ok("pull", "-q", image);
  });
  afterAll(async () => {
    await registry?.stop();
    await engine?.stop();
  });
  const bash = (script: string, ...flags: string[]) => engine.ok("run", "--rm", ...flags, image, "bash", "-c", script);

  test("perl, apt-get, python3, dpkg run", async () => {
    expect(await bash("perl -v")).toContain("This is perl 5");
    expect(await bash("perl -e 'print join(\",\", map { $_ ** 2 } 1..4), qq(\\n)'")).toBe("1,4,9,16");
    expect(await bash("apt-get --version")).toMatch(/^apt 2\.\d/);
    expect(await bash("python3 -c 'import sys, os; print(sys.version_info[0], os.getpid(), os.getuid())'")).toBe(
      "3 1 0",
    );
    expect(await bash("dpkg --print-architecture")).toBe("amd64");
    expect(await bash("cat /etc/debian_version; cd /bin && pwd -P")).toMatch(/^1\d\.\d+\n\/usr\/bin$/);
  });

  test("setuid bits, owners and file capabilities are as the packages have them", async () => {
    const [passwd, chage, tmp, capable] = (
      await bash("stat -c '%a %u:%g' /usr/bin/passwd /usr/bin/chage /tmp; getcap /usr/bin/capable")
    ).split("\n");
    expect({ passwd, chage, tmp, capable }).toEqual({
      passwd: "4755 0:0",
      chage: "2755 0:42",
      tmp: "1777 0:0",
      capable: "/usr/bin/capable cap_chown,cap_net_raw=ep",
    });
  });

  test("a file's capabilities and setuid take effect for a user, and not with no-new-privileges", async () => {
    const caps = "capable /proc/self/status | grep -E '^(CapEff|CapPrm)'";
    expect(await bash(caps, "--user", "nobody")).toMatch(/CapPrm:\t0000000000002001\nCapEff:\t0000000000002001/);
    expect(await bash(caps, "--user", "nobody", "--security-opt", "no-new-privileges")).toMatch(
      /CapEff:\t0000000000000000/,
    );
    // A setuid copy of id: the mount must not be nosuid.
    const setuid =
      "cp /usr/bin/id /tmp/id && chmod 4755 /tmp/id && perl -e '$) = $( = 65534; $< = $> = 65534; exec qw(/tmp/id -u)'";
    expect(await bash(setuid)).toBe("0");
  });
});
