import { describe, expect, test } from "bun:test";
import { existsSync, mkdirSync, statSync } from "node:fs";
import { join } from "node:path";
import { jsonStream } from "../../src/client/json-stream.ts";
import type { EventMessage, ImageInspect } from "../../src/spec/docker-api.ts";
import { engineForTests, hasBusybox, isRoot } from "../harness.ts";

const DOCKER = "/usr/bin/docker";
const why = !isRoot ? "needs root" : !hasBusybox ? "no busybox-static" : "";

describe.skipIf(why !== "")(`commit and export${why && ` (${why})`}`, () => {
  const engine = engineForTests();
  const inspect = async (image: string) =>
    (await (await engine.api("GET", `/images/${image}/json`)).json()) as ImageInspect;
  const commit = (query: string, body?: unknown) => engine.api("POST", `/commit?${query}`, body);
  const message = async (answer: Response) => [answer.status, ((await answer.json()) as { message: string }).message];
  const actions = async (since: string) => {
    const answer = await engine.api("GET", `/events?since=${since}&until=${Date.now() / 1000 + 0.05}`);
    const events: EventMessage[] = [];
    for await (const event of jsonStream<EventMessage>(answer.body!)) events.push(event);
    return events;
  };

  test("the image is the container's with its changes, and runs", async () => {
    const script =
      "echo new >/new; echo changed >>/etc/passwd; rm /etc/group; rm -r /home; mkdir /home; ln /new /hard; ln -s new /soft; echo v >/vol/x";
    const flags = ["--name", "made", "-e", "A=1", "-v", "/vol", "-w", "/tmp", "--user", "0:0", "--label", "l=1"];
    await engine.ok("run", ...flags, "busybox", "sh", "-c", script);
    const id = await engine.ok("commit", "-m", "what it is for", "-a", "me", "made", "committed:1");
    expect(id).toMatch(/^sha256:[0-9a-f]{64}$/);
    const check =
      "cat /new /hard; tail -1 /etc/passwd; ls -A /home /vol; readlink /soft; test -e /etc/group || echo gone; stat -c %h /new; echo $A; pwd";
    expect(await engine.ok("run", "--rm", "committed:1", "sh", "-c", check)).toBe(
      "new\nnew\nchanged\n/home:\n\n/vol:\nnew\ngone\n2\n1\n/tmp",
    );
    const image = await inspect("committed:1");
    expect(image).toMatchObject({ Id: id, Comment: "what it is for", Author: "me" });
    expect(image.Config).toMatchObject({
      User: "0:0",
      WorkingDir: "/tmp",
      Labels: { l: "1" },
      Volumes: { "/vol": {} },
    });
    expect(image.Config.Env).toContain("A=1");
    const base = await inspect("busybox");
    expect(image.RootFS.Layers.slice(0, -1)).toEqual(base.RootFS.Layers);
    const history = (await (await engine.api("GET", "/images/committed:1/history")).json()) as object[];
    expect(history[0]).toMatchObject({
      Id: id,
      CreatedBy: `sh -c ${script}`,
      Comment: "what it is for",
      Tags: ["committed:1"],
    });
    // What the engine made for its mounts is not the container's.
    const names = await layerNames("committed:1");
    expect(names.filter((name) => /^(dev|proc|sys|vol)|etc\/(hosts|hostname|resolv)/.test(name))).toEqual([]);
    expect(names).toEqual([...names].sort());
    expect(names).toContain("etc/.wh.group");
  });

  /** Names in an image's topmost layer. */
  async function layerNames(image: string): Promise<string[]> {
    const dir = join(engine.dir, "saved");
    mkdirSync(dir, { recursive: true });
    await engine.ok("save", "-o", join(dir, "image.tar"), image);
    const read = (...args: string[]) => Bun.spawnSync(["tar", "-C", dir, ...args]).stdout.toString();
    const [{ Layers }] = JSON.parse(read("-xOf", join(dir, "image.tar"), "manifest.json"));
    Bun.spawnSync(["tar", "-C", dir, "-xf", join(dir, "image.tar"), Layers.at(-1)]);
    const names = read("-tf", join(dir, Layers.at(-1)))
      .split("\n")
      .filter(Boolean);
    return names.map((name) => name.replace(/\/$/, ""));
  }

  test("equal containers give equal layers, and one that changed nothing none", async () => {
    const layers: string[][] = [];
    for (const name of ["same1", "same2"]) {
      const touch = "touch -d '2020-01-01 00:00:00'";
      await engine.ok("run", "--name", name, "busybox", "sh", "-c", `mkdir /z /a; echo x >/z/f; ${touch} /z/f /z /a /`);
      const id = await engine.ok("commit", name);
      layers.push((await inspect(id)).RootFS.Layers);
    }
    expect(layers[0]).toEqual(layers[1]!);
    await engine.ok("create", "--name", "unchanged", "busybox", "true");
    const id = await engine.ok("commit", "unchanged");
    expect((await inspect(id)).RootFS.Layers).toEqual((await inspect("busybox")).RootFS.Layers);
  });

  test("changes and a body set what the image has", async () => {
    await engine.ok("create", "--name", "config", "-e", "A=1", "--entrypoint", "old", "busybox", "arg");
    const changes = ["CMD x", "ENV B=2 C='3 4'", "EXPOSE 80", "LABEL a=b", "USER user", "VOLUME /v", "WORKDIR /w"];
    changes.push("HEALTHCHECK CMD true", "STOPSIGNAL SIGINT", "ONBUILD RUN y", 'ENTRYPOINT ["new"]', 'SHELL ["sh"]');
    const id = await engine.ok("commit", ...changes.flatMap((change) => ["-c", change]), "config");
    expect((await inspect(id)).Config).toMatchObject({
      Cmd: ["/bin/sh", "-c", "x"],
      Entrypoint: ["new"],
      ExposedPorts: { "80/tcp": {} },
      Healthcheck: { Test: ["CMD-SHELL", "true"] },
      Labels: { a: "b" },
      OnBuild: ["RUN y"],
      Shell: ["sh"],
      StopSignal: "SIGINT",
      User: "user",
      Volumes: { "/v": {} },
      WorkingDir: "/w",
    });
    expect((await inspect(id)).Config.Env).toEqual(expect.arrayContaining(["A=1", "B=2", "C=3 4"]));
    const made = await commit("container=config&repo=by/api&tag=2", { Env: ["A=9"], Labels: { z: "1" } });
    expect(made.status).toBe(201);
    const { Config } = await inspect("by/api:2");
    expect(Config).toMatchObject({ Entrypoint: ["old"], Cmd: ["arg"], Labels: { z: "1" } });
    expect(Config.Env).toContain("A=9");
  });

  test("errors", async () => {
    await engine.ok("create", "--name", "errors", "busybox", "true");
    expect(await message(await commit("container=nobody"))).toEqual([404, "No such container: nobody"]);
    expect((await message(await commit("")))[0]).toBe(400);
    expect((await message(await commit("container=errors&repo=UPPER")))[0]).toBe(400);
    expect((await message(await commit("container=errors&changes=RUN%20x")))[1]).toContain("RUN is not a valid change");
    expect((await message(await commit("container=errors", { Env: "no list" })))[0]).toBe(400);
    await engine.ok("create", "--name", "machine", "host", "true");
    expect((await message(await commit("container=machine")))[1]).toContain("the machine's own");
    expect((await message(await engine.api("GET", "/containers/nobody/export")))[0]).toBe(404);
    const left = (await (await engine.api("GET", "/images/json?all=1")).json()) as { RepoTags: string[] }[];
    expect(left.flatMap(({ RepoTags }) => RepoTags)).not.toContain("UPPER:latest");
  });

  test("a running container is frozen meanwhile, and goes on", async () => {
    const since = String(Date.now() / 1000);
    await engine.ok("run", "-d", "--name", "live", "busybox", "sh", "-c", "echo x >/f; sleep 1000");
    await engine.ok("commit", "live", "live:1");
    expect(await engine.ok("inspect", "-f", "{{.State.Status}}", "live")).toBe("running");
    const seen = (await actions(since)).filter(({ Actor }) => Actor.Attributes.name?.startsWith("live"));
    expect(seen.map(({ Type, Action }) => `${Type} ${Action}`)).toEqual([
      "container create",
      "container start",
      "container pause",
      "container unpause",
      "image tag",
      "container commit",
    ]);
    expect(seen.at(-1)!.Actor.Attributes).toMatchObject({ imageRef: "docker.io/library/live:1" });
    expect((await engine.inro(["exec", "live", "true"])).code).toBe(0);
    const again = String(Date.now() / 1000);
    await engine.ok("commit", "--no-pause", "live");
    expect((await actions(again)).map(({ Action }) => Action)).toEqual(["commit"]);
    await engine.ok("pause", "live");
    await engine.ok("commit", "live");
    expect(await engine.ok("inspect", "-f", "{{.State.Status}}", "live")).toBe("paused");
  });

  test("owners of a user namespace are those inside, and an image of it runs anywhere", async () => {
    const script = "touch /mine && chown 1000:44 /mine && touch /home/user/x && chmod 700 /etc/group";
    await engine.ok("run", "--userns", "auto", "--name", "mapped", "busybox", "sh", "-c", script);
    expect((await engine.ok("diff", "mapped")).split("\n")).toEqual([
      "C /etc",
      "C /etc/group",
      "C /home",
      "C /home/user",
      "A /home/user/x",
      "A /mine",
    ]);
    await engine.ok("commit", "mapped", "mapped:1");
    const stat = ["stat", "-c", "%u %g", "/mine", "/home/user/x", "/etc/group"];
    for (const flags of [[], ["--userns", "auto"]]) {
      expect(await engine.ok("run", "--rm", ...flags, "mapped:1", ...stat)).toBe("1000 44\n0 0\n0 0");
    }
  });

  test("export: all of it but what is mounted, and import makes an image of that", async () => {
    const flags = ["--name", "out", "-v", "/vol", "--tmpfs", "/tmpfs"];
    await engine.ok(
      "run",
      "-d",
      ...flags,
      "busybox",
      "sh",
      "-c",
      "echo x >/new; rm /etc/group; echo v >/vol/v; sleep 1000",
    );
    while ((await engine.inro(["exec", "out", "test", "-e", "/vol/v"])).code !== 0);
    const file = join(engine.dir, "out.tar");
    const since = String(Date.now() / 1000);
    await engine.ok("export", "-o", file, "out");
    expect((await actions(since)).map(({ Action }) => Action)).toEqual(["export"]);
    const names = Bun.spawnSync(["tar", "-tf", file]).stdout.toString().split("\n");
    expect(names).toContain("new");
    expect(names).toContain("bin/busybox");
    expect(names).toContain("vol/");
    for (const name of ["vol/v", "etc/group", "proc/1/"]) expect(names).not.toContain(name);
    await engine.ok("import", file, "imported");
    expect(await engine.ok("run", "--rm", "imported", "cat", "/new")).toBe("x");
    await engine.ok("create", "--name", "fresh", "busybox", "true");
    const fresh = await (await engine.api("GET", "/containers/fresh/export")).bytes();
    expect(Bun.spawnSync(["tar", "-t"], { stdin: fresh }).stdout.toString()).toContain("bin/busybox\n");
  });

  test.skipIf(!existsSync(DOCKER))("docker's client (skipped without it)", async () => {
    await engine.ok("run", "--name", "client", "busybox", "sh", "-c", "echo x >/f");
    const docker = (...args: string[]) => {
      const { exitCode, stdout, stderr } = Bun.spawnSync([DOCKER, "-H", engine.host, ...args]);
      if (exitCode !== 0) throw new Error(`docker ${args[0]}: ${stderr}`);
      return stdout.toString();
    };
    expect(docker("commit", "-a", "me", "-c", "CMD cat /f", "client", "docker:1")).toMatch(/^sha256:/);
    expect(docker("run", "--rm", "docker:1")).toBe("x\n");
    docker("export", "-o", join(engine.dir, "docker.tar"), "client");
    expect(statSync(join(engine.dir, "docker.tar")).size).toBeGreaterThan(1_000_000);
    expect(docker("diff", "client")).toBe("A /f\n");
  });

  test("an engine that is killed while it commits: the container goes on, and nothing is left", async () => {
    await engine.ok("run", "-d", "--name", "killed", "busybox", "sh", "-c", "truncate -s 4G /big && sleep 1000");
    while ((await engine.inro(["exec", "killed", "test", "-e", "/big"])).code !== 0);
    const committing = commit("container=killed").catch(() => undefined);
    const paused = async () => (await engine.ok("inspect", "-f", "{{.State.Status}}", "killed")) === "paused";
    while (!(await paused()));
    await engine.kill();
    await committing;
    await engine.start();
    expect(await paused()).toBe(false);
    expect((await engine.inro(["exec", "killed", "true"])).code).toBe(0);
  });
});
