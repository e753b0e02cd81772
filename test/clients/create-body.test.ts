import { afterAll, beforeAll, describe, expect, test } from "bun:test";
import { mkdtempSync, rmSync, writeFileSync } from "node:fs";
import type { ServerResponse } from "node:http";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { createBody } from "../../src/cli/create/body.ts";
import { createFlags } from "../../src/cli/create/flags.ts";
import { parseFlags } from "../../src/cli/flags.ts";
import { FakeEngine, type Seen, sendJson } from "../../src/cli/testing.ts";
import { docker, dockerVersion } from "./docker.ts";

/** `create` with these options asks the engine for the same as docker's, or is refused with the same words. */
const why = !docker ? "no docker command" : dockerVersion < 28 ? "docker is older than 28" : "";

const LINES = [
  "",
  "-i",
  "-it",
  "-a stdin -i",
  "-a STDOUT -a stderr",
  "--name a",
  "-p 80",
  "-p 80/udp",
  "-p 8080:80",
  "-p 127.0.0.1:8080:80",
  "-p 127.0.0.1::80",
  "-p [::1]:80:80",
  "-p ::1:80:80",
  "-p 8000-8002:80",
  "-p 8000-8002:90-92/udp",
  "-p 80 -p 81:80 -p 81",
  "-p published=8080,target=80,protocol=udp",
  "-p target=80",
  "-P --expose 90 --expose 91-92/udp --expose 93/sctp",
  "-p 70000",
  "-p abc",
  "-p 80/foo",
  "-p 1.2.3:80:80",
  "-p 80-70:80",
  "-p 80-82:90-91",
  "-p a:b",
  "-p published=1,target=x",
  "--expose foo",
  "--expose 80-70",
  "--expose 80:90",
  "--dns 1.1.1.1 --dns fe80::1 --dns-option ndots:2 --dns-opt rotate --dns-search a.b --dns-search .",
  "--dns x",
  "--dns-search a..b",
  "--add-host a:1.2.3.4 --add-host b=1.2.3.4 --add-host c:host-gateway --add-host d:::1 --add-host e=[::1]",
  "--add-host foo",
  "--add-host a:b",
  "--link a:b:c",
  "--link a --link b:c",
  "--network none",
  "--net host",
  "--network bridge --link a:b",
  "--network container:a",
  "--network net",
  "--network net --network-alias a --net-alias b --link c:d",
  "--network net --ip 1.2.3.4 --ip6 fe80::1 --link-local-ip 169.254.1.1 --mac-address 02:42:ac:11:00:02",
  "--network name=net,alias=a,alias=B,ip=1.2.3.4,ip6=fe80::1,driver-opt=k=v,mac-address=02:42:ac:11:00:02",
  "--network name=net,gw-priority=-3,link-local-ip=169.254.1.1 --network other",
  "--network name=a,foo=1",
  "--network a --network a",
  "--network a --network host",
  "--network host --network-alias b",
  "--network name=a,alias=b --network-alias c",
  "--network name=a,ip=1.2.3.4 --ip 1.2.3.4",
  "--network name=a,driver-opt=x",
  "--network name=a,gw-priority=x",
  "--mac-address foo",
  "--mac-address 02:42:ac:11:00:02",
  "--ip 1.2.3.4",
  "--gpus all",
  "--gpus 2",
  '--gpus "device=0,1"',
  "--gpus driver=d,count=1,capabilities=compute,options=a=b",
  "--gpus foo",
  "--gpus device=0,foo=1",
  "--blkio-weight 300 --blkio-weight-device /dev/sda:100",
  "--blkio-weight-device foo",
  "--blkio-weight-device /dev/x:5",
  "--blkio-weight-device x:100",
  "--blkio-weight 99999",
  "--device-cgroup-rule 'c 42:* rw'",
  "--device-cgroup-rule x",
  "--device /dev/null:/dev/x:r --device /dev/zero",
  "--device vendor.com/class=all",
  "--device foo:bar:baz",
  "--device /dev/null:rwx",
  "--device-read-bps /dev/sda:1mb --device-write-bps /dev/sda:2kb",
  "--device-read-iops /dev/sda:10 --device-write-iops /dev/sda:20",
  "--restart always",
  "--restart on-failure",
  "--restart on-failure:3",
  "--restart unless-stopped",
  "--restart sometimes",
  "--restart on-failure:x",
  "--restart on-failure:-1",
  "--restart a:b:c",
  "--rm --restart always",
  "--rm --restart no",
  "--memory-swappiness 10",
  "--memory-swappiness 101",
  "-m 64m --memory-swap -1 --memory-reservation 1.5g --shm-size 64kb",
  "-m 1x",
  "-m -1",
  "--memory-swap -2",
  "--cpus 1.5 -c 3 --cpu-period 4 --cpu-quota 5 --cpu-rt-period 6 --cpu-rt-runtime 7",
  "--cpus x",
  "--cpus 1.0000000001",
  "--cpuset-cpus 0,1 --cpuset-mems 0",
  "--pids-limit 5 --oom-score-adj -5 --oom-kill-disable",
  "--pids-limit x",
  "--ulimit nofile=1:2 --ulimit core=-1",
  "--ulimit foo=1",
  "--ulimit nofile",
  "--ulimit nofile=2:1",
  "--ulimit nofile=a",
  "--ulimit nofile=1:2:3",
  "-e A=b -e C= -e INRO_TEST_GIVEN -e INRO_TEST_NONE",
  "--env-file env -e A=3",
  "--env-file none",
  "--env-file spaces",
  "--env-file latin",
  "--env-file nameless",
  "--env-file mark",
  "-e =x",
  "-l a=b -l c --label-file labels",
  "-l '' ",
  "-l =x",
  "--label-file spaces",
  "--security-opt no-new-privileges --security-opt label=disable --security-opt apparmor:x",
  "--security-opt seccomp=seccomp.json",
  "--security-opt seccomp=unconfined",
  "--security-opt systempaths=unconfined",
  "--security-opt foo",
  "--security-opt seccomp=none",
  "--log-driver json-file --log-opt max-size=1m",
  "--log-driver none --log-opt a=b",
  "--storage-opt size=1g",
  "--storage-opt a",
  "--sysctl net.ipv4.ip_forward=1",
  "--sysctl a=b",
  "--annotation a=b",
  "-v /a:/b:ro -v name:/c -v /d -v ./e:/f",
  "-v /a:",
  "--mount type=bind,src=/a,dst=/b,ro,bind-propagation=rshared,bind-recursive=disabled",
  "--mount type=volume,source=v,target=/b,volume-nocopy,volume-label=a=b,volume-driver=d,volume-opt=k=v",
  "--mount src=v,dst=/b,volume-subpath=x",
  "--mount type=tmpfs,dst=/b,tmpfs-size=1m,tmpfs-mode=1777",
  "--mount type=image,src=i,dst=/b,image-subpath=x",
  "--mount type=cluster,src=i,dst=/b",
  "--mount type=foo,dst=/x",
  "--mount type=bind",
  "--mount foo",
  "--mount type=bind,src",
  "--mount type=volume,dst=/x,bind-propagation=shared",
  "--mount type=bind,dst=/a,ro=maybe",
  "--tmpfs /a --tmpfs /b:size=1m",
  "--pid host --ipc host --uts host --userns host --cgroupns host",
  "--pid container:a --ipc container:b",
  "--pid foo",
  "--uts foo",
  "--userns foo",
  "--cgroupns foo",
  "--cap-add net_admin --cap-drop ALL --cap-add CAP_KILL --group-add 5",
  "--privileged --read-only --init --rm --runtime r --cgroup-parent p",
  "-h name --domainname d -u 1:2 -w /x --stop-signal 9 --stop-timeout 3",
  "--entrypoint /x",
  "--entrypoint=",
  "--no-healthcheck",
  "--isolation default",
  "--stop-timeout x",
  "--cpu-count 1",
  "--io-maxbandwidth 1",
  "--nope",
  "-Z",
  "--name",
  "-m",
  "--rm=maybe",
];

const KINDS: Record<string, "empty"> = {};
/** Without what means nothing: null, zeros and what is empty. */
function meaningful(value: unknown): unknown {
  if (Array.isArray(value)) return value.length > 0 ? value.map((one) => meaningful(one) ?? one) : undefined;
  if (typeof value !== "object" || value === null) return value || undefined;
  const entries = Object.entries(value).flatMap(([key, one]) => {
    // The port alone is the statement.
    if (/^(\d+\/\w+|\/.*)$/.test(key) && typeof one === "object") return [[key, meaningful(one) ?? KINDS]];
    if (key === "Tmpfs" || key === "Labels" || key === "MaskedPaths" || key === "ReadonlyPaths")
      return one ? [[key, one]] : [];
    const kept = meaningful(one);
    return kept === undefined ? [] : [[key, kept]];
  });
  return entries.length > 0 ? Object.fromEntries(entries) : undefined;
}

interface Body {
  Env?: string[];
  HostConfig?: Record<string, unknown>;
  [key: string]: unknown;
}

function comparable(body: Body): unknown {
  const { HostConfig: host = {} } = body;
  // Values that are the engine's defaults.
  if (host.MemorySwappiness === -1) delete host.MemorySwappiness;
  if (host.NetworkMode === "default") delete host.NetworkMode;
  const restart = host.RestartPolicy as { Name?: string } | undefined;
  if (restart?.Name === "no") delete host.RestartPolicy;
  // Only a terminal has one.
  delete host.ConsoleSize;
  // The engine takes the last of a name; ours says only that one.
  const env = new Map(body.Env?.map((one) => [one.split("=")[0], one]));
  body.Env = [...env.values()].toSorted();
  (host.Ulimits as { Name: string }[] | undefined)?.sort((a, b) => (a.Name < b.Name ? -1 : 1));
  for (const set of ["Binds", "CapAdd", "CapDrop"]) (host[set] as string[] | undefined)?.sort();
  return meaningful(body);
}

describe.skipIf(why !== "")(`create asks as docker does${why && ` (${why})`}`, () => {
  const directory = mkdtempSync(join(tmpdir(), "inro-body-"));
  const given = { INRO_TEST_GIVEN: "given" };
  const before = process.cwd();
  let engine: FakeEngine;
  beforeAll(async () => {
    const files = {
      env: '# comment\n\nA=1\nINRO_TEST_NONE\nINRO_TEST_GIVEN\nB= x y \n  L=2\nQ="q"\r\n',
      spaces: "a b=1\n",
      latin: "A=1\n\xff=1\n",
      nameless: "=x\n",
      mark: "\xef\xbb\xbfA=1\n",
      labels: "# comment\nx=1\n",
      "seccomp.json": '{\n "defaultAction": "SCMP_ACT_ALLOW"\n}',
    };
    for (const [name, text] of Object.entries(files)) writeFileSync(join(directory, name), Buffer.from(text, "latin1"));
    Object.assign(process.env, given);
    process.chdir(directory);
    engine = await FakeEngine.start();
    engine.on("HEAD /_ping", (_: Seen, response: ServerResponse) => {
      response.writeHead(200, { Ostype: "linux", "Api-Version": "1.50" }).end();
    });
  });
  afterAll(() => {
    engine.stop();
    process.chdir(before);
    for (const name of Object.keys(given)) delete process.env[name];
    rmSync(directory, { recursive: true });
  });

  const words = (line: string) => (line.match(/'[^']*'|\S+/g) ?? []).map((word) => word.replaceAll("'", ""));
  const ours = (line: string): unknown => {
    try {
      const { options, args } = parseFlags(createFlags, [...words(line), "image", "-x", "y"], false);
      return comparable(createBody(options, args[0]!, args.slice(1)) as Body);
    } catch (error) {
      return (error as Error).message;
    }
  };
  const dockers = async (line: string): Promise<unknown> => {
    let body: unknown;
    engine.on("POST /v1.50/containers/create", (seen: Seen, response: ServerResponse) => {
      body = comparable(JSON.parse(seen.body));
      sendJson(response, 201, { Id: "x", Warnings: [] });
    });
    const child = Bun.spawn([docker!, "create", ...words(line), "image", "-x", "y"], {
      cwd: directory,
      env: { ...process.env, DOCKER_HOST: engine.url, DOCKER_CONFIG: directory, DOCKER_API_VERSION: "1.50" },
      stdio: ["ignore", "pipe", "pipe"],
    });
    const [stderr] = await Promise.all([new Response(child.stderr).text(), child.exited]);
    return body ?? stderr.split("\n")[0]!.replace(/^docker: /, "");
  };

  for (const line of LINES) {
    test(line || "no option", async () => {
      expect(ours(line)).toEqual(await dockers(line));
    });
  }
});
