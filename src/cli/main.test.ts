import { afterEach, beforeEach, describe, expect, test } from "bun:test";
import type { ServerResponse } from "node:http";
import { commands, groups } from "./commands.ts";
import { commandHelp } from "./help.ts";
import { FakeEngine, inro, type Seen, sendJson } from "./testing.ts";

let engine: FakeEngine;
beforeEach(async () => {
  engine = await FakeEngine.start();
});
afterEach(() => engine.stop());
const run = (line: string, stdin?: Blob) => inro(line.split(" "), engine.url, stdin ? { stdin } : {});

describe("the words themselves", () => {
  test.each([
    [
      "runn",
      1,
      "inro: unknown command: inro runn\n\nDid you mean 'inro run'?\n\nRun 'inro --help' for more information\n",
    ],
    [
      "container lss",
      1,
      "inro: unknown command: inro container lss\n\nDid you mean 'inro container ls'?\n\nUsage:  inro container\n\nRun 'inro container --help' for more information\n",
    ],
    [
      "run --nmae x",
      125,
      "unknown flag: --nmae\n\nDid you mean --name?\n\nUsage:  inro run [OPTIONS] IMAGE [COMMAND] [ARG...]\n\nRun 'inro run --help' for more information\n",
    ],
    [
      "run -itZ x",
      125,
      "unknown shorthand flag: 'Z' in -Z\n\nUsage:  inro run [OPTIONS] IMAGE [COMMAND] [ARG...]\n\nRun 'inro run --help' for more information\n",
    ],
    [
      "--foo",
      125,
      "unknown flag: --foo\n\nUsage:  inro [OPTIONS] COMMAND [ARG...]\n\nRun 'inro --help' for more information\n",
    ],
    [
      "stop",
      1,
      "inro: 'inro stop' requires at least 1 argument\n\nUsage:  inro stop [OPTIONS] CONTAINER [CONTAINER...]\n\nSee 'inro stop --help' for more information\n",
    ],
    [
      "ps x",
      1,
      "inro: 'inro ps' accepts no arguments\n\nUsage:  inro ps [OPTIONS]\n\nRun 'inro ps --help' for more information\n",
    ],
    [
      "tag a",
      1,
      "inro: 'inro tag' requires 2 arguments\n\nUsage:  inro tag SOURCE_IMAGE[:TAG] TARGET_IMAGE[:TAG]\n\nRun 'inro tag --help' for more information\n",
    ],
    ["run -p x host", 125, "inro: invalid containerPort: x\n\nRun 'inro run --help' for more information\n"],
    ["-H ftp://x ps", 1, 'invalid host "ftp://x": use unix://PATH, tcp://HOST:PORT or ssh://USER@HOST\n'],
  ])("%s", async (line, status, stderr) => {
    expect(await run(line)).toEqual({ status, stderr, stdout: "" });
  });

  test("--version and --help", async () => {
    expect((await run("--version")).stdout).toMatch(/^inro version \d/);
    expect((await run("--help")).stdout).toContain("Management Commands:");
    expect((await run("container --help")).stdout).toContain("Manage containers");
    expect((await run("container ls --help")).stdout).toStartWith("Usage:  inro container ls [OPTIONS]\n");
    expect((await run("help exec")).stdout).toContain("Usage:  inro exec");
  });

  test("every command's help has a purpose and an example, and its flags do not clash", async () => {
    const all = [...commands.values(), ...[...groups.values()].flatMap(({ entries }) => [...entries.values()])];
    for (const entry of all.filter(({ hidden }) => !hidden)) {
      const { command } = await entry.load();
      const text = commandHelp(`inro ${entry.name}`, entry, command);
      expect(text).toContain(entry.summary);
      expect(text).toContain("Examples:");
      const names = command.flags.flatMap(({ name, aliases = [] }) => [name, ...aliases]);
      expect(new Set(names).size).toBe(names.length);
      const shorts = command.flags.flatMap(({ short }) => short ?? []);
      expect(new Set(shorts).size).toBe(shorts.length);
    }
  });

  test.skipIf(!Bun.which("bash"))("bash completes by the script", () => {
    const main = new URL("../main.ts", import.meta.url).pathname;
    const script = `
      inro() { "${process.execPath}" "${main}" "$@"; }
      compopt() { :; }
      source <(inro completion bash)
      complete -p inro
      for line in "inro run --pull a" "inro run --pull = a" "inro con" "inro ps --filter sta"; do
        COMP_WORDS=($line); COMP_CWORD=$((\${#COMP_WORDS[@]} - 1)); _inro; echo "\${COMPREPLY[@]}"
      done`;
    const { stdout, stderr } = Bun.spawnSync(["bash", "-c", script], {
      env: { ...process.env, INRO_HOST: engine.url },
    });
    expect(stdout.toString() + stderr).toBe("complete -F _inro inro\nalways\nalways\ncontainer context\nstatus=\n");
  });

  test("completion comes from the same tables", async () => {
    engine.on("GET /containers/json", [
      { Id: "1", Names: ["/web"] },
      { Id: "2", Names: ["/db"] },
    ]);
    expect((await run("__complete -- exe")).stdout).toBe("exec\n");
    expect((await run("__complete -- container l")).stdout).toBe("list\nlogs\nls\n");
    expect((await run("__complete -- run --net")).stdout).toBe("--network\n--network-alias\n");
    expect((await run("__complete -- run --pull a")).stdout).toBe("always\n");
    expect((await run("__complete -- run --pull=a")).stdout).toBe("--pull=always\n");
    // As bash cuts it.
    expect((await run("__complete -- run --pull = a")).stdout).toBe("always\n");
    expect((await run("__complete -- run --pull = always --cgroupns p")).stdout).toBe("private\n");
    expect((await run("__complete -- -H x container kill --sig")).stdout).toBe("--signal\n");
    expect((await run("__complete -- kill -s SIGT")).stdout).toBe("SIGTERM\n");
    expect((await run("__complete -- inspect --type vol")).stdout).toBe("volume\n");
    expect((await run("__complete -- ps -a --filter st")).stdout).toBe("status=\n");
    expect((await run("__complete -- exec -it w")).stdout).toBe("web\n");
    expect((await run("__complete -- exec -it web w")).stdout).toBe("");
    expect((await run("__complete -- rename web w")).stdout).toBe("web\n");
    expect((await run("__complete -- pause --no")).stdout).toBe("");
    engine.on("GET /networks", [{ Name: "front" }, { Name: "back" }]);
    expect((await run("__complete -- run -d --network f")).stdout).toBe("front\n");
    expect((await run("__complete -- run -it image f")).stdout).toBe("");
    expect((await run("__complete -- stop w")).stdout).toBe("web\n");
  });
});

const CONTAINER = {
  Id: "0123456789abcdef".repeat(4),
  Names: ["/web"],
  Image: "alpine",
  Command: "sh -c 'a long command line'",
  Created: Math.floor(Date.now() / 1000) - 7200,
  State: "running",
  Status: "Up 2 hours",
  Ports: [{ IP: "0.0.0.0", PrivatePort: 80, PublicPort: 8080, Type: "tcp" }],
  Labels: { k: "v" },
  Mounts: [],
};

describe("lists", () => {
  test("ps", async () => {
    engine.on("GET /containers/json", [CONTAINER]);
    expect((await run("ps -a -f status=running -f status=paused -f label=k")).stdout).toBe(
      [
        "CONTAINER ID   IMAGE     COMMAND                  CREATED       STATUS       PORTS                  NAMES",
        `0123456789ab   alpine    "sh -c 'a long comma…"   2 hours ago   Up 2 hours   0.0.0.0:8080->80/tcp   web`,
        "",
      ].join("\n"),
    );
    const { query } = engine.seen[0]!;
    expect(query.get("all")).toBe("1");
    expect(JSON.parse(query.get("filters")!)).toEqual({ status: ["running", "paused"], label: ["k"] });
    expect((await run("ps -q")).stdout).toBe("0123456789ab\n");
    expect((await run("container ls -q --no-trunc")).stdout).toBe(`${CONTAINER.Id}\n`);
    expect((await inro(["ps", "--format", '{{.Names}} {{.Label "k"}}'], engine.url)).stdout).toBe("web v\n");
    engine.on("GET /containers/json", [{ ...CONTAINER, Status: "Up 2 hours (health: starting)" }]);
    expect((await inro(["ps", "--format", "{{.HealthStatus}}"], engine.url)).stdout).toBe("starting\n");
  });

  test("images", async () => {
    engine.on("GET /images/json", [
      {
        Id: `sha256:${"a".repeat(64)}`,
        RepoTags: ["alpine:latest", "registry:5000/x:1"],
        RepoDigests: [`alpine@sha256:${"d".repeat(64)}`],
        Created: Math.floor(Date.now() / 1000) - 86400 * 3,
        Size: 7_834_000,
      },
      { Id: `sha256:${"b".repeat(64)}`, RepoTags: [], RepoDigests: [], Created: 0, Size: 0 },
    ]);
    const lines = (await run("images")).stdout.split("\n");
    expect(lines[0]).toBe("REPOSITORY        TAG       IMAGE ID       CREATED        SIZE");
    expect(lines[1]).toBe("alpine            latest    aaaaaaaaaaaa   3 days ago     7.83MB");
    expect(lines[2]).toBe("registry:5000/x   1         aaaaaaaaaaaa   3 days ago     7.83MB");
    expect(lines[3]).toStartWith("<none>            <none>    bbbbbbbbbbbb");
    expect((await run("images alpine -q")).stdout).toContain("aaaaaaaaaaaa\n");
  });
});

describe("objects", () => {
  test("inspect looks for containers, then images; what is missing is an error at the end", async () => {
    engine.on("GET /containers/web/json", { Id: "1", State: { Status: "exited" } });
    engine.on("GET /images/alpine/json", { Id: "2" });
    const both = await run("inspect web alpine none");
    expect(JSON.parse(both.stdout)).toEqual([{ Id: "1", State: { Status: "exited" } }, { Id: "2" }]);
    expect(both.stdout).toStartWith('[\n    {\n        "Id": "1"');
    expect(both.stderr).toBe("Error: No such object: none\n");
    expect(both.status).toBe(1);
    expect((await run("inspect -f {{.State.Status}} web")).stdout).toBe("exited\n");
    expect((await run("inspect none")).stdout).toBe("[]\n");
    expect((await run("image inspect web")).stderr).toContain("Error response from daemon: ");
  });

  test("wait, diff, stop, kill, tag, rmi", async () => {
    engine.on("POST /containers/web/wait", { StatusCode: 3 });
    expect((await run("wait web")).stdout).toBe("3\n");
    engine.on("GET /containers/web/changes", [
      { Path: "/a", Kind: 0 },
      { Path: "/b", Kind: 1 },
      { Path: "/c", Kind: 2 },
    ]);
    expect((await run("diff web")).stdout).toBe("C /a\nA /b\nD /c\n");
    engine.on("POST /containers/web/stop", (_: Seen, response: ServerResponse) => void response.writeHead(304).end());
    expect((await run("stop -t 3 -s INT web")).stdout).toBe("web\n");
    expect(engine.seen.at(-1)!.query.toString()).toBe("t=3&signal=INT");
    engine.on("POST /containers/web/kill", (_: Seen, response: ServerResponse) =>
      sendJson(response, 409, { message: "container web is not running" }),
    );
    const kill = await run("kill web");
    expect([kill.status, kill.stderr]).toEqual([1, "Error response from daemon: container web is not running\n"]);
    engine.on("POST /images/a/b/tag", (_: Seen, response: ServerResponse) => void response.writeHead(201).end());
    expect((await run("tag a/b h:5000/c:2")).status).toBe(0);
    expect(engine.seen.at(-1)!.query.toString()).toBe("repo=h%3A5000%2Fc&tag=2");
    engine.on("DELETE /images/a:1", [{ Untagged: "a:1" }, { Deleted: "sha256:1" }]);
    expect((await run("rmi a:1")).stdout).toBe("Untagged: a:1\nDeleted: sha256:1\n");
  });

  test("pull, load, save, import", async () => {
    engine.on("POST /images/create", (_: Seen, response: ServerResponse) => {
      response.end('{"status":"Pulling from library/alpine","id":"latest"}\r\n{"status":"Digest: sha256:1"}\r\n');
    });
    expect((await run("pull alpine")).stdout).toBe(
      "Using default tag: latest\nlatest: Pulling from library/alpine\nDigest: sha256:1\ndocker.io/library/alpine:latest\n",
    );
    expect((await run("pull -q alpine:3")).stdout).toBe("docker.io/library/alpine:3\n");
    engine.on("POST /images/load", ({ body }: Seen, response: ServerResponse) => {
      response.end(JSON.stringify({ stream: `Loaded image: ${body}\n` }));
    });
    expect((await run("load", new Blob(["a:1"]))).stdout).toBe("Loaded image: a:1\n");
    const tar = Buffer.alloc(3 << 20, "t");
    engine.on("GET /images/get", (_: Seen, response: ServerResponse) => void response.end(tar));
    const file = `${engine.directory}/out.tar`;
    expect((await run(`save -o ${file} a b`)).status).toBe(0);
    expect(engine.seen.at(-1)!.query.getAll("names")).toEqual(["a", "b"]);
    expect(Buffer.compare(Buffer.from(await Bun.file(file).arrayBuffer()), tar)).toBe(0);
    engine.on("POST /images/create", ({ body }: Seen, response: ServerResponse) => {
      response.end(JSON.stringify({ status: `sha256:${body}` }));
    });
    expect((await run("import -c CMD=x - base:1", new Blob(["tar"]))).stdout).toBe("sha256:tar\n");
    expect(engine.seen.at(-1)!.query.toString()).toBe("fromSrc=-&repo=base&tag=1&changes=CMD%3Dx");
  });

  test("explain prints the steps; --diff compares two launches", async () => {
    const step = (text: string, n: number) => ({
      step: n,
      total: 2,
      call: "x",
      text,
      why: "because",
      args: [],
      labels: [],
    });
    engine.on("POST /inro/explain", ({ body }: Seen, response: ServerResponse) => {
      const { HostConfig } = JSON.parse(body);
      const steps = [step("first()", 1), step(HostConfig.Privileged ? "open()" : "closed()", 2)];
      sendJson(response, 200, { steps });
    });
    expect((await run("explain host true")).stdout).toBe(
      "1  first()                   because\n2  closed()                  because\n",
    );
    expect((await run("explain --diff host true -- --privileged host true")).stdout).toBe(
      "  first()  # because\n- closed()  # because\n+ open()  # because\n",
    );
    expect((await run("explain --diff host")).status).toBe(1);
  });

  test("system check says what is wrong, and 0 only when all is well", async () => {
    engine.on("GET /inro/check", ({ query }: Seen, response: ServerResponse) => {
      const repaired = query.get("repair") === "1";
      sendJson(response, 200, [{ kind: "mount", object: "/x", problem: "left over", repaired }]);
    });
    expect(await run("system check")).toMatchObject({ status: 1, stdout: "mount /x: left over\n" });
    expect(await run("system check --repair")).toMatchObject({ status: 0, stdout: "mount /x: left over (repaired)\n" });
  });

  test("version without an engine still shows the client's", async () => {
    const result = await inro(["version"], `unix://${engine.directory}/none.sock`);
    expect(result.status).toBe(1);
    expect(result.stdout).toContain("Client: inro\n Version:");
    expect(result.stderr).toContain("cannot connect to the inro engine");
  });
});
