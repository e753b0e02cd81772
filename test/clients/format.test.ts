import { afterAll, beforeAll, describe, expect, test } from "bun:test";
import type { ServerResponse } from "node:http";
import { FakeEngine, inro, type Seen } from "../../src/cli/testing.ts";
import { docker, dockerVersion } from "./docker.ts";

/** Lists and objects are printed as docker prints them: the same engine's answers, the same stdout and status. */
const why = !docker ? "no docker command" : dockerVersion < 28 ? "docker is older than 28" : "";

const now = Math.floor(Date.now() / 1000);
const HOUR = 3600;
const id = (digit: string) => digit.repeat(64);
const sha = (digit: string) => `sha256:${id(digit)}`;
const port = (PrivatePort: number, PublicPort?: number, IP?: string, Type = "tcp") => ({
  IP,
  PrivatePort,
  PublicPort,
  Type,
});

const container = (name: string, more: object = {}) => ({
  Id: id(name.at(-1)!),
  Names: [`/${name}`],
  Image: "busybox",
  ImageID: sha("a"),
  Command: "sh -c 'a long command line'",
  Created: now - 2 * HOUR,
  State: "running",
  Status: "Up 2 hours",
  Ports: [],
  Labels: { k: "v", "a.b": "c" },
  Mounts: [],
  NetworkSettings: { Networks: { bridge: {} } },
  HostConfig: { NetworkMode: "default" },
  ...more,
});

const CONTAINERS = [
  container("c1", {
    Ports: [port(80, 8080, "0.0.0.0"), port(80, 8080, "::"), port(443)],
    SizeRw: 1234,
    SizeRootFs: 4_567_890,
  }),
  container("c2", {
    Names: ["/c2", "/other/alias"],
    Image: sha("a"),
    State: "exited",
    Status: "Exited (0) 5 minutes ago",
    Mounts: [
      { Type: "volume", Name: id("f"), Source: "", Destination: "/d", Driver: "local", RW: true },
      { Type: "bind", Source: "/a/very/long/path/of/the/host", Destination: "/e", RW: true },
    ],
    SizeRootFs: 1_000_000,
  }),
  container("c3", {
    Image: `busybox:1@${sha("d")}`,
    Ports: [
      ...[8000, 8001, 8002].flatMap((one) => [port(one, one, "0.0.0.0"), port(one, one, "::")]),
      ...[port(90, undefined, undefined, "udp"), port(91, undefined, undefined, "udp"), port(70, 7000, "127.0.0.1")],
    ],
    Labels: {},
  }),
  container("c4", { Image: "", Command: 'été "quoted" \\ <x>&y and more', Labels: null, Mounts: null, Ports: null }),
];

const IMAGES = [
  {
    Id: sha("a"),
    RepoTags: ["alpine:latest", "alpine:3"],
    RepoDigests: [`alpine@${sha("d")}`],
    Created: now - 72 * HOUR,
    Size: 7_834_000,
  },
  { Id: sha("b"), RepoTags: [], RepoDigests: [], Created: 0, Size: 0 },
  {
    Id: sha("c"),
    RepoTags: null,
    RepoDigests: [`only@${sha("e")}`],
    Created: now - 100,
    Size: 123_456_789,
    SharedSize: 100,
    Containers: 2,
  },
  {
    Id: sha("d"),
    RepoTags: ["<none>:<none>"],
    RepoDigests: ["<none>@<none>"],
    Created: now - 24 * 400 * HOUR,
    Size: 99_999_999_999,
  },
].map((image) => ({ SharedSize: -1, Containers: -1, Labels: null, ParentId: "", ...image }));

const WEB = {
  Id: id("1"),
  Created: "2026-11-26T04:28:42.948288606Z",
  Path: "sh",
  Args: ["-c", "echo hi"],
  State: { Status: "created", Running: false, Pid: 0, ExitCode: 0, StartedAt: "0001-01-01T00:00:00Z" },
  Image: sha("a"),
  Name: "/web",
  Mounts: [{ Type: "bind", Source: "/tmp", Destination: "/t", Mode: "ro", RW: false, Propagation: "rslave" }],
  HostConfig: {
    Binds: ["/tmp:/t:ro"],
    Memory: 1 << 26,
    ShmSize: 67108864,
    CapAdd: null,
    PidsLimit: null,
    Tmpfs: { "/x": "size=1m" },
    PortBindings: { "80/tcp": [{ HostIp: "", HostPort: "8080" }] },
    LogConfig: { Type: "json-file", Config: {} },
  },
  Config: {
    Env: ["A=b", "C=<d>&"],
    Cmd: ["sh", "-c", "echo hi"],
    Entrypoint: null,
    Labels: { k: "v", "x.y": "z" },
  },
  NetworkSettings: {
    Bridge: "",
    Ports: {
      "80/tcp": [
        { HostIp: "0.0.0.0", HostPort: "8080" },
        { HostIp: "::", HostPort: "8080" },
      ],
      "443/tcp": null,
      "9/udp": [{ HostIp: "127.0.0.1", HostPort: "9000" }],
    },
    // Until API 1.52 the engine has them; from then on the command line.
    ...{ EndpointID: "", Gateway: "", GlobalIPv6Address: "", GlobalIPv6PrefixLen: 0, IPAddress: "", IPPrefixLen: 0 },
    ...{ IPv6Gateway: "", MacAddress: "" },
    Networks: {},
  },
  GraphDriver: { Name: "overlay2", Data: { MergedDir: "/m" } },
};

const IMG = {
  Id: sha("b"),
  RepoTags: ["img:latest"],
  Created: "2026-01-02T03:04:05Z",
  Size: 5,
  Config: { Env: ["A=b"] },
};
const SEARCH = [
  {
    name: "busybox",
    description: "Busybox base image. A description that goes on and on and on",
    star_count: 5,
    is_official: true,
  },
  { name: "x/busybox", description: "short\nline", star_count: 0, is_official: false },
];
const VERSION = {
  Platform: { Name: "P" },
  Version: "1",
  ApiVersion: "1.50",
  MinAPIVersion: "1.24",
  Os: "linux",
  Arch: "amd64",
};

const LINES = `
ps
ps -a
ps -q
ps -aq --no-trunc
ps --no-trunc
ps -s
ps -s --no-trunc
ps -n 2 --format '{{.Names}}'
ps -l -q
ps --format json
ps --format '{{json .}}'
ps --format table
ps --format ''
ps --format ' '
ps --format x
ps --format tablex
ps --format 'table {{.ID}}\\t{{.Names}}'
ps --format 'table {{.ID}} {{.Names}}'
ps --format '{{.ID}}\\t{{.Names}}'
ps --format '{{.Labels}} {{.Label "k"}} {{.Label "nope"}}'
ps --format 'table {{.Label "k"}}\\t{{.Label "a.b"}}\\t{{.Names}}'
ps --format '{{.Ports}}'
ps --format '{{.Mounts}}|{{.LocalVolumes}}|{{.Networks}}|{{.State}}|{{.Size}}'
ps --no-trunc --format '{{.Mounts}}|{{.Image}}|{{.Names}}|{{.Command}}'
ps --format 'table {{.Mounts}}\\t{{.LocalVolumes}}\\t{{.Networks}}\\t{{.State}}\\t{{.Size}}\\t{{.RunningFor}}\\t{{.Labels}}'
ps --format '{{.CreatedAt}}'
ps --format '{{.Foo}}'
ps --format '{{'
ps --format '{{.ID'
ps --format '{{.ID}'
ps --format '{{nope .ID}}'
ps --format '{{upper .Names}} {{lower .Image}} {{title .State}} {{pad .Names 2 3}} {{truncate .ID 4}} {{len .Names}}'
ps --format '{{printf "%-5s|%5s|%q|%v|%x" .Names .State .Image .ID .Names}}'
ps --format '{{join (split .Status " ") "-"}} {{index (split .Command " ") 0}}'
ps --format '{{if eq .State "running"}}up{{else if eq .Names "c2"}}two{{else}}down{{end}}'
ps --format '{{with .Names}}{{.}}{{end}} {{- " trimmed " -}} x'
ps --format '{{println .Names .ID}}'
ps --format '{{$x := .Names}}{{range $i, $c := split $x ""}}{{$i}}{{$c}}{{end}}'
ps --format '{{and .Names .Image}} {{or .Image "none"}} {{not .Image}}'
ps --format '{{json .Names}} {{json .Labels}}'
ps --format '{{html .Command}} {{js .Command}} {{urlquery .Command}}'
ps --format '{{lt 1 2}} {{gt 2.5 1.0}} {{le "a" "b"}} {{ge 1 1}} {{ne .ID "x"}} {{eq .State "running" "exited"}}'
ps --format '{{/* comment */}}{{.ID}}'
ps --format '{{range split .Status " "}}{{if eq . "hours"}}{{break}}{{end}}{{.}}{{end}}'
ps --format '{{range split .Status " "}}{{if eq . "hours"}}{{continue}}{{end}}{{.}}{{end}}'
ps --format '{{define "x"}}[{{.}}]{{end}}{{template "x" .Names}}{{block "y" .ID}}<{{.}}>{{end}}'
ps --format '{{break}}'
ps --format '{{.ID}}{{"\\n"}}'
images
images -a
images -q
images -q --no-trunc
images --no-trunc
images --digests
images --digests --no-trunc
images --digests -q
images --format json
images --format '{{json .}}'
images --format '{{.Repository}}:{{.Tag}} {{.ID}} {{.CreatedSince}} {{.Size}} {{.Containers}} {{.SharedSize}} {{.UniqueSize}}'
images --format '{{.Repository}} {{.Digest}} {{.VirtualSize}} {{.CreatedAt}}'
images --format 'table {{.Repository}}\\t{{.Tag}}\\t{{.Digest}}\\t{{.CreatedAt}}\\t{{.Containers}}\\t{{.SharedSize}}'
images --format 'table {{.Repository}}'
inspect img
inspect nope
inspect nope web
inspect img nope
inspect nope nada
inspect --type image web
inspect --type container img
inspect --type foo web
inspect -f '{{.Name}}' web
inspect -f '{{.Id}}' web img
inspect -f '{{.Name}}' web img
inspect -f '{{.Name}}' nope web
inspect -f '{{json .Config.Env}} {{json .Mounts}} {{json .HostConfig.CapAdd}}' web
inspect -f '{{.Config.Env}} {{.HostConfig.Binds}} {{.Config.Labels}} {{.HostConfig.Tmpfs}}' web
inspect -f '{{.Config.Entrypoint}} {{.Config.Cmd}} {{.Config.Volumes}} {{.Config.ExposedPorts}} {{.HostConfig.CapAdd}}' web
inspect -f '{{.HostConfig.PidsLimit}} {{.HostConfig.Memory}} {{.HostConfig.ShmSize}} {{.State.Health}}' web
inspect -f '{{if .State.Health}}{{.State.Health.Status}}{{else}}none{{end}}' web
inspect -f '{{range .Config.Env}}{{println .}}{{end}}' web
inspect -f '{{range $k, $v := .Config.Labels}}{{$k}}={{$v}};{{end}}' web
inspect -f '{{range $p, $b := .NetworkSettings.Ports}}{{$p}} {{(index $b 0).HostPort}};{{end}}' web
inspect -f '{{(index (index .NetworkSettings.Ports "80/tcp") 0).HostPort}}' web
inspect -f '{{index .Config.Labels "x.y"}} {{index .Config.Labels "nope"}}' web
inspect -f '{{index .Config.Env 1}}' web
inspect -f '{{index .Config.Env 7}}' web
inspect -f '{{(index .Mounts 0).Source}}' web
inspect -f '{{.Config.Labels.k}} {{.Config.Labels.nope}} {{.GraphDriver.Data.MergedDir}} {{.GraphDriver.Data.Nope}}' web
inspect -f '{{.Foo}}' web
inspect -f '{{.State.Foo}}' web
inspect -f '{{.State.Status}} {{.State.ExitCode}} {{.State.Running}} {{.State.Pid}} {{.State.StartedAt}}' web
inspect -f '{{with .State}}{{.Status}}{{end}}{{if .State.Running}}r{{else}}s{{end}}' web
inspect -f '{{len .Config.Env}} {{len .Name}} {{len .Mounts}} {{len .Config.Entrypoint}}' web
inspect -f '{{printf "%v %d %s %t %q" .State.ExitCode .State.Pid .Name .State.Running .Path}}' web
inspect -f '{{.Created}} {{.Path}} {{.Args}} {{.Image}} {{.SizeRw}}' web
inspect -f '{{' web
image inspect nope
image inspect -f '{{.Id}} {{.RepoTags}} {{.Size}} {{.Config.Env}}' img
container inspect -f '{{.Name}}' web
container inspect nope
container ls -q
container list -q
container ps -q
image ls -q
image list -q
version -f '{{.Server.Version}} {{.Server.APIVersion}} {{.Server.Os}}/{{.Server.Arch}} {{.Server.Platform.Name}}'
version -f '{{.Nope}}'
version -f '{{'
info -f '{{.ServerVersion}} {{.NCPU}} {{.SecurityOptions}} {{json .Plugins}}'
search busybox
search --no-trunc busybox
search --format '{{.Name}} {{.Description}} {{.StarCount}} {{.IsOfficial}}' busybox
search --format json busybox
search --format 'table {{.Name}}\\t{{.IsOfficial}}' busybox
port web
port web 80
port web 80/tcp
port web 80/udp
port web 443
port web 9/udp
port web x
port nope
ps x
ps -n x
ps -f foo
ps --nope
ps --all=maybe
ps ---x
images a b
tag a
tag a b c
start
exec a
nope
container nope
rename a
--nope
`
  .split("\n")
  .filter(Boolean);

/** What is printed differently on purpose. */
const DIFFERENT: Record<string, string> = {
  "ps --format '{{.ID}}{{\"\\n\"}}'":
    "docker replaces \\n before it reads the template, where a string then breaks off",
};

describe.skipIf(why !== "")(`the words of docker${why && ` (${why})`}`, () => {
  let engine: FakeEngine;
  beforeAll(async () => {
    engine = await FakeEngine.start();
    const answers: Record<string, unknown> = {
      "/containers/json": CONTAINERS,
      "/containers/web/json": WEB,
      "/images/json": IMAGES,
      "/images/img/json": IMG,
      "/images/search": SEARCH,
      "/version": VERSION,
      "/info": {
        ServerVersion: "1",
        NCPU: 2,
        SecurityOptions: ["name=seccomp,profile=builtin"],
        Plugins: { Volume: ["local"], Network: ["bridge"], Authorization: null, Log: ["json-file"] },
      },
    };
    for (const [path, answer] of Object.entries(answers)) {
      engine.on(`GET ${path}`, answer);
      engine.on(`GET /v1.50${path}`, answer);
    }
    engine.on("HEAD /_ping", (_: Seen, response: ServerResponse) => {
      response.writeHead(200, { Ostype: "linux", "Api-Version": "1.50" }).end();
    });
  });
  afterAll(() => engine.stop());

  const words = (line: string) => (line.match(/'[^']*'|\S+/g) ?? []).map((word) => word.replaceAll("'", ""));
  const dockers = async (line: string) => {
    const child = Bun.spawn([docker!, ...words(line)], {
      env: { DOCKER_HOST: engine.url, DOCKER_CONFIG: engine.directory, DOCKER_API_VERSION: "1.50" },
      stdio: ["ignore", "pipe", "pipe"],
    });
    const [stdout, status] = await Promise.all([new Response(child.stdout).text(), child.exited]);
    return { status, stdout };
  };

  for (const line of LINES) {
    test(`${line}${DIFFERENT[line] ? `: ${DIFFERENT[line]}` : ""}`, async () => {
      const [ours, theirs] = await Promise.all([
        inro(words(line), engine.url, { env: { DOCKER_CONFIG: engine.directory } }),
        dockers(line),
      ]);
      const shown = { status: ours.status, stdout: ours.stdout };
      if (DIFFERENT[line]) expect(shown).not.toEqual(theirs);
      else expect(shown).toEqual(theirs);
    });
  }
});
