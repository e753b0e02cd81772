import { afterAll, beforeAll, describe, expect, test } from "bun:test";
import {
  existsSync,
  mkdirSync,
  mkdtempSync,
  readdirSync,
  readFileSync,
  rmSync,
  statSync,
  writeFileSync,
} from "node:fs";
import { join } from "node:path";
import type { Volume } from "../../src/spec/docker-api.ts";
import { engineForTests, TestEngine } from "../harness.ts";
import { Box, missing, shell, until } from "../isolation/container.ts";

const volumesOf = (engine: TestEngine) => join(engine.dataRoot, "volumes");
const dataOf = (engine: TestEngine, volume: string) => join(volumesOf(engine), volume, "_data");

describe.skipIf(missing !== "")(`snapshots, clones and names of volumes${missing}`, () => {
  const engine = missing ? undefined! : engineForTests();
  let count = 0;
  const fresh = () => `copy${count++}`;
  const data = (volume: string) => dataOf(engine, volume);
  const fail = async (...args: string[]) => {
    const { code, stderr } = await engine.inro(args);
    expect(code).toBe(1);
    return stderr;
  };
  /** A volume with some files of every kind. */
  async function filled(): Promise<string> {
    const volume = await engine.ok("volume", "create", "--label", "tier=data", fresh());
    const script =
      "cd /v; mkdir -p a/b; echo one > a/one; ln a/one a/b/two; ln -s a/one link; mkfifo fifo; chown 5:6 a/one; chmod 4711 a/one; chmod 1777 .; truncate -s 1G sparse; mknod dev c 0 0";
    await shell(engine, script, "-v", `${volume}:/v`);
    return volume;
  }
  /** What stat and cat say of all that is in a volume. */
  const look = (volume: string) =>
    shell(
      engine,
      "cd /v; stat -c '%n %F %a %u:%g %s %h %Y' $(find . | sort); readlink link; cat a/b/two",
      "-v",
      `${volume}:/v:ro`,
    );

  test("a clone is the same, and another volume", async () => {
    const volume = await filled();
    const clone = fresh();
    expect(await engine.ok("volume", "clone", "--label", "x=y", volume, clone)).toBe(clone);
    expect(await look(clone)).toBe(await look(volume));
    expect(statSync(join(data(clone), "sparse")).blocks).toBe(0);
    expect(await engine.ok("volume", "inspect", "-f", "{{.Labels.tier}} {{.Labels.x}}", clone)).toBe("data y");
    await shell(engine, "echo changed > /v/a/one", "-v", `${clone}:/v`);
    expect(readFileSync(join(data(volume), "a/one"), "utf8")).toBe("one\n");
    expect(await fail("volume", "clone", volume, clone)).toContain(`a volume named ${clone} exists already`);
    expect(await fail("volume", "clone", "none", fresh())).toContain("get none: no such volume");
    expect(await fail("volume", "clone", volume, "a/b")).toContain("invalid characters");
    expect(readdirSync(volumesOf(engine)).filter((name) => name.startsWith("."))).toEqual([]);
  });

  test("a snapshot stays as it was, and gives it back", async () => {
    const volume = await filled();
    const named = fresh();
    expect(await engine.ok("volume", "snapshot", volume, named)).toBe(named);
    expect(await engine.ok("volume", "snapshot", volume)).toMatch(new RegExp(`^${volume}-\\d{8}T\\d{6}Z$`));
    const list = await engine.ok("volume", "ls", "-qf", `label=inro.snapshot-of=${volume}`);
    expect(list.split("\n")).toContain(named);
    const { Status } = (await (await engine.api("GET", `/volumes/${named}`)).json()) as Volume;
    expect(Status).toEqual({ SnapshotOf: volume });
    const write = await engine.inro(["run", "--rm", "-v", `${named}:/v`, "busybox", "touch", "/v/x"]);
    expect(write.stderr).toContain("Read-only file system");
    const before = await look(volume);
    await shell(engine, "rm -r /v/a; echo new > /v/new", "-v", `${volume}:/v`);
    expect(await engine.ok("volume", "restore", volume, named)).toBe(volume);
    expect(await look(volume)).toBe(before);
    expect(existsSync(join(data(volume), "new"))).toBe(false);
    // A clone of it is a volume as any other.
    const clone = await engine.ok("volume", "clone", named, fresh());
    await shell(engine, "touch /v/x", "-v", `${clone}:/v`);
    expect(await engine.ok("volume", "inspect", "-f", "{{json .Labels}}", clone)).toBe('{"tier":"data"}');
    expect(await fail("volume", "restore", named, volume)).toContain("a snapshot does not change");
    expect(await fail("volume", "restore", volume, volume)).toContain("from itself");
  });

  test("what runs and writes is asked for", async () => {
    const volume = await filled();
    await using box = await Box.run(engine, ["-v", `${volume}:/v`]);
    expect(await fail("volume", "snapshot", volume)).toContain(`running container ${box.id} may be writing to it`);
    expect(await fail("volume", "restore", volume, `${volume}x`)).toContain("no such volume");
    await engine.ok("volume", "snapshot", "--live", volume, fresh());
    await engine.ok("pause", box.id);
    const snapshot = await engine.ok("volume", "snapshot", volume);
    expect(await fail("volume", "restore", volume, snapshot)).toContain(`in use by running container ${box.id}`);
    await engine.ok("unpause", box.id);
    // Whoever only reads is no reason.
    const quiet = await filled();
    await using reader = await Box.run(engine, ["-v", `${quiet}:/v:ro`]);
    await engine.ok("volume", "snapshot", quiet);
    expect(await reader.sh("ls /v/a")).toBe("b\none");
  });

  test("a new name, also for those who run with it", async () => {
    const volume = await filled();
    const name = fresh();
    await using box = await Box.run(engine, ["-v", `${volume}:/v`, "--mount", `src=${volume},dst=/w`]);
    await engine.ok("volume", "rename", volume, name);
    expect(await fail("volume", "inspect", volume)).toContain("no such volume");
    expect(await box.sh("echo still > /v/still; cat /w/a/one")).toBe("one");
    expect(readFileSync(join(data(name), "still"), "utf8")).toBe("still\n");
    expect(
      await engine.ok(
        "inspect",
        "-f",
        "{{(index .Mounts 0).Name}} {{index .HostConfig.Binds 0}} {{(index .HostConfig.Mounts 0).Source}}",
        box.id,
      ),
    ).toBe(`${name} ${name}:/v ${name}`);
    expect(await fail("volume", "rm", name)).toContain("volume is in use");
    await engine.ok("restart", "-t", "0", box.id);
    expect(await box.sh("cat /v/still")).toBe("still");
    // The old one is free again.
    await engine.ok("volume", "create", volume);
    expect(readdirSync(data(volume))).toEqual([]);
    expect(await fail("volume", "rename", name, volume)).toContain("exists already");
    expect(await fail("volume", "rename", "none", fresh())).toContain("no such volume");
  });

  test("what gets a name is not anonymous any more", async () => {
    const id = await engine.ok("create", "-v", "/v", "busybox", "true");
    const anonymous = await engine.ok("inspect", "-f", "{{(index .Mounts 0).Name}}", id);
    const [clone, name] = [await engine.ok("volume", "clone", anonymous, fresh()), fresh()];
    await engine.ok("volume", "rename", anonymous, name);
    await engine.ok("rm", "-v", id);
    await engine.ok("volume", "prune", "-f");
    for (const one of [clone, name])
      expect(await engine.ok("volume", "inspect", "-f", "{{json .Labels}}", one)).toBe("null");
  });

  test("only directories are copied, and a bad body is no crash", async () => {
    const memory = await engine.ok("volume", "create", "-o", "type=tmpfs", "-o", "device=tmpfs", fresh());
    expect(await fail("volume", "snapshot", memory)).toContain("is no directory of the engine's (tmpfs)");
    for (const body of [{}, { Name: 5 }, { Name: "" }, [], { Name: "ok", Labels: "x" }]) {
      const answer = await engine.api("POST", `/inro/volumes/${memory}/clone`, body);
      expect([answer.status, await answer.json()]).toEqual([400, { message: expect.any(String) }]);
    }
  });

  test("a client that goes leaves nothing", async () => {
    const volume = await engine.ok("volume", "create", fresh());
    for (let i = 0; i < 600; i++) writeFileSync(join(data(volume), `file${i}`), "x".repeat(1000));
    const gone = new AbortController();
    const asked = fetch(`http://inro/v1.51/inro/volumes/${volume}/clone`, {
      unix: engine.socket,
      method: "POST",
      headers: { "Content-Type": "application/json" },
      body: '{"Name":"never"}',
      signal: gone.signal,
    }).catch(() => "gone");
    const temporary = () => readdirSync(volumesOf(engine)).filter((name) => name.startsWith(".new-"));
    await until("the copy begins", () => temporary().length > 0);
    gone.abort();
    await asked;
    await until("the copy is gone", () => temporary().length === 0);
    const whole = await engine.inro(["volume", "inspect", "never"]);
    // It may have been faster than the client.
    if (whole.code === 0) expect(readdirSync(data("never"))).toHaveLength(600);
    expect(readdirSync(data(volume))).toHaveLength(600);
  });

  test("an engine killed at any moment has the old or the new", async () => {
    const volume = await engine.ok("volume", "create", fresh());
    for (let i = 0; i < 300; i++) writeFileSync(join(data(volume), `file${i}`), `${i}`);
    const snapshot = await engine.ok("volume", "snapshot", volume);
    const post = (path: string, body: object) =>
      engine.api("POST", `/inro/volumes/${path}`, body).then(
        (answer) => answer.status,
        () => 0,
      );
    let name = volume;
    let whole = 0;
    for (let round = 0; round < 6; round++) {
      writeFileSync(join(data(name), "mark"), `${round}`);
      const [clone, next] = [`clone${round}`, `name${round}`];
      const all = Promise.all([
        post(`${name}/restore`, { Snapshot: snapshot }).then(() => post(`${name}/rename`, { Name: next })),
        post(`${snapshot}/clone`, { Name: clone }),
      ]);
      await Bun.sleep(round * 25);
      await engine.kill();
      await all;
      await engine.start();
      const list = (await engine.ok("volume", "ls", "-q")).split("\n");
      expect(list.filter((one) => one === name || one === next)).toHaveLength(1);
      name = list.includes(next) ? next : name;
      const files = readdirSync(data(name));
      expect(files.filter((file) => file !== "mark")).toHaveLength(300);
      if (list.includes(clone)) {
        expect(readdirSync(data(clone))).toHaveLength(300);
        whole++;
      }
      const names = readdirSync(volumesOf(engine));
      expect(names.filter((one) => one.startsWith("."))).toEqual([]);
      expect(names.toSorted()).toEqual(list.toSorted());
    }
    expect(whole).toBeLessThan(6);
  });
});

const tools = ["/usr/sbin/mkfs.xfs", "/usr/sbin/losetup"].filter(
  (path) => !existsSync(path) && !existsSync(path.replace("/usr", "")),
);
const noXfs = missing || (tools.length > 0 ? ` (needs ${tools.join(", ")})` : "");

describe.skipIf(noXfs !== "")(`on a file system that shares blocks${noXfs}`, () => {
  let dir = "";
  beforeAll(() => {
    dir = mkdtempSync("/var/tmp/inro-xfs-");
  });
  const run = (...command: string[]) => {
    const { exitCode, stdout, stderr } = Bun.spawnSync(command);
    if (exitCode !== 0) throw new Error(`${command.join(" ")}: ${stderr}`);
    return stdout.toString().trim();
  };
  afterAll(() => {
    Bun.spawnSync(["umount", join(dir, "fs")]);
    rmSync(dir, { recursive: true, force: true });
  });

  test("a clone takes no space of its own", async () => {
    const fs = join(dir, "fs");
    mkdirSync(fs);
    run("truncate", "-s", "400M", join(dir, "image"));
    run("mkfs.xfs", "-q", "-m", "reflink=1", join(dir, "image"));
    run("mount", "-o", "loop", join(dir, "image"), fs);
    const before = process.env.INRO_TEST_DIR;
    process.env.INRO_TEST_DIR = fs;
    const engine = new TestEngine();
    if (before === undefined) delete process.env.INRO_TEST_DIR;
    else process.env.INRO_TEST_DIR = before;
    await engine.start();
    try {
      await engine.ok("volume", "create", "big");
      // Three of them would not fit.
      run("dd", "if=/dev/urandom", `of=${dataOf(engine, "big")}/file`, "bs=1M", "count=100");
      for (const name of ["one", "two", "three"]) await engine.ok("volume", "clone", "big", name);
      const [big, three] = ["big", "three"].map((name) => readFileSync(join(dataOf(engine, name), "file")));
      expect(three!.equals(big!)).toBe(true);
    } finally {
      await engine.stop();
    }
  });
});
