import { describe, expect, test } from "bun:test";
import { existsSync, mkdirSync, readdirSync, readFileSync, readlinkSync, statSync, writeFileSync } from "node:fs";
import { connect } from "node:net";
import { join } from "node:path";
import { gunzipSync, gzipSync, inflateRawSync, zstdCompressSync } from "node:zlib";
import { jsonStream } from "../../src/client/json-stream.ts";
import type { EventMessage, PathStat } from "../../src/spec/docker-api.ts";
import { engineForTests, hasBusybox, isRoot, type TestEngine } from "../harness.ts";
import { type Member, rawTar } from "../images/hostile-tar.ts";

const why = !isRoot ? "needs root" : !hasBusybox ? "no busybox-static" : "";

describe.skipIf(why !== "")(`files of containers${why && ` (${why})`}`, () => {
  const engine = engineForTests();
  const at = (name: string, path: string, query = "") =>
    `/containers/${name}/archive?path=${encodeURIComponent(path)}${query}`;
  const put = (name: string, path: string, tar: Uint8Array, query = "") =>
    engine.api("PUT", at(name, path, query), tar, { "Content-Type": "application/x-tar" });
  const list = async (name: string, path: string) => {
    const answer = await engine.api("GET", at(name, path));
    if (answer.status !== 200) return `${answer.status} ${((await answer.json()) as { message: string }).message}`;
    const { stdout } = Bun.spawnSync(["tar", "-tv", "--numeric-owner"], { stdin: await answer.bytes() });
    return stdout
      .toString()
      .split("\n")
      .map((line) => line.split(/\s+/))
      .map(([mode, owner, size, , , ...name]) => [mode, owner, size, ...name].join(" ").trim())
      .filter(Boolean)
      .join("\n");
  };
  const message = async (answer: Response) => [answer.status, ((await answer.json()) as { message: string }).message];
  const file = (name: string, body = "x"): Member => ({ name, body });

  test("what is at a path, in the header that clients read", async () => {
    await engine.ok("run", "-d", "--name", "stat", "busybox", "sleep", "1000");
    const head = await engine.api("HEAD", at("stat", "/etc/passwd"));
    expect(head.status).toBe(200);
    const stat = (answer: Response): PathStat =>
      JSON.parse(Buffer.from(answer.headers.get("x-docker-container-path-stat")!, "base64").toString());
    const size = (await engine.ok("exec", "stat", "stat", "-c", "%s", "/etc/passwd")).trim();
    expect(stat(head)).toMatchObject({ name: "passwd", size: Number(size), mode: 0o644, linkTarget: "" });
    const link = await engine.api("GET", at("stat", "/bin/sh"));
    expect(link.headers.get("content-type")).toBe("application/x-tar");
    expect(stat(link)).toMatchObject({ name: "sh", mode: 2 ** 27 + 0o777, linkTarget: "/bin/busybox" });
    await link.bytes();
    expect((await engine.api("HEAD", at("stat", "/nothing"))).status).toBe(404);
    expect((await engine.api("HEAD", "/containers/stat/archive")).status).toBe(400);
    expect((await engine.api("HEAD", at("nobody", "/"))).status).toBe(404);
  });

  test("errors have docker's statuses", async () => {
    await engine.ok("create", "--name", "errors", "busybox", "true");
    const tar = rawTar([file("f")]);
    expect(await message(await engine.api("GET", at("errors", "/nothing")))).toEqual([
      404,
      "Could not find the file /nothing in container errors",
    ]);
    expect(await message(await engine.api("GET", at("nobody", "/")))).toEqual([404, "No such container: nobody"]);
    expect((await message(await engine.api("GET", at("errors", "/etc/passwd/x"))))[0]).toBe(404);
    expect((await message(await engine.api("GET", at("errors", "a\0b"))))[0]).toBe(400);
    expect((await message(await engine.api("GET", at("errors", "/x".repeat(4000)))))[0]).toBe(400);
    expect(await message(await put("errors", "/etc/passwd", tar))).toEqual([
      400,
      "extraction point is not a directory",
    ]);
    expect((await message(await put("errors", "/none", tar)))[0]).toBe(404);
    expect((await message(await engine.api("PUT", "/containers/errors/archive", tar)))[0]).toBe(400);
    for (const body of [
      Buffer.from("this is no archive".repeat(100)),
      tar.subarray(0, 700),
      gzipSync(tar).subarray(9),
    ]) {
      expect((await message(await put("errors", "/tmp", body)))[0]).toBe(400);
    }
  });

  test("uploads may be compressed, and downloads are where the client wants them", async () => {
    await engine.ok("create", "--name", "coding", "busybox", "true");
    const pipe = (program: string, data: Uint8Array) => Bun.spawnSync([program, "-c"], { stdin: data }).stdout;
    const coders: [string, (data: Uint8Array) => Uint8Array][] = [
      ["plain", (data) => data],
      ["gzip", (data) => gzipSync(data)],
      ["zstd", (data) => zstdCompressSync(data)],
    ];
    for (const program of ["bzip2", "xz"])
      if (Bun.which(program)) coders.push([program, (data) => pipe(program, data)]);
    for (const [name, code] of coders) {
      expect((await put("coding", "/tmp", code(rawTar([file(name)])))).status).toBe(200);
      expect(await list("coding", `/tmp/${name}`)).toContain(` ${name}`);
    }
    const raw = (accept: string) =>
      fetch(`http://inro${at("coding", "/tmp")}`, {
        unix: engine.socket,
        headers: { "Accept-Encoding": accept },
        decompress: false,
      });
    const plain = await (await raw("identity")).bytes();
    const gzip = await raw("gzip;q=1, identity");
    expect(gzip.headers.get("content-encoding")).toBe("gzip");
    expect(gunzipSync(await gzip.bytes()).equals(plain)).toBe(true);
    expect(inflateRawSync(await (await raw("deflate")).bytes()).equals(plain)).toBe(true);
    expect((await raw("gzip;q=0")).headers.get("content-encoding")).toBeNull();
  });

  test("into and out of volumes and binds, running or not; a tmpfs only while it is there", async () => {
    const bind = join(engine.dir, "bind");
    mkdirSync(join(bind, "below"), { recursive: true });
    const flags = ["-v", "copied:/vol", "-v", `${bind}:/bind`, "--tmpfs", "/tmpfs"];
    await engine.ok("create", "--name", "mounts", ...flags, "busybox", "sleep", "1000");
    expect((await put("mounts", "/vol", rawTar([file("stopped")]))).status).toBe(200);
    expect((await put("mounts", "/", rawTar([file("bind/below/stopped")]))).status).toBe(200);
    expect((await message(await put("mounts", "/tmpfs", rawTar([file("x")]))))[0]).toBe(403);
    expect(readFileSync(join(bind, "below/stopped"), "utf8")).toBe("x");
    expect(await list("mounts", "/vol/.")).toContain("./stopped");
    await engine.ok("start", "mounts");
    expect((await put("mounts", "/vol/../tmpfs", rawTar([file("running")]))).status).toBe(200);
    expect((await put("mounts", "/vol", rawTar([file("running")]))).status).toBe(200);
    expect(await engine.ok("exec", "mounts", "ls", "/vol", "/tmpfs", "/bind/below")).toBe(
      "/bind/below:\nstopped\n\n/tmpfs:\nrunning\n\n/vol:\nrunning\nstopped",
    );
    // Of a paused one too.
    await engine.ok("pause", "mounts");
    expect(await list("mounts", "/tmpfs")).toContain("tmpfs/running");
    await engine.ok("unpause", "mounts");
    // All of it has its volumes, and nothing of the kernel's.
    const all = (await list("mounts", "/")).split("\n").map((line) => line.split(" ")[3]!);
    expect(all).toContain("/vol/running");
    expect(all.filter((name) => /^\/(proc|sys|dev)\/./.test(name))).toEqual([]);
  });

  test("a volume of a container that was never started has what the image has there", async () => {
    await engine.ok("create", "--name", "filled", "-v", "filled:/etc", "busybox", "cat", "/etc/passwd");
    expect(await list("filled", "/etc/passwd")).toContain(" passwd");
    expect((await put("filled", "/etc", rawTar([file("passwd", "mine")]))).status).toBe(200);
    expect((await engine.inro(["start", "-a", "filled"])).stdout).toBe("mine");
  });

  test("what is read-only stays so: 403", async () => {
    await engine.ok(
      "run",
      "-d",
      "--name",
      "ro",
      "--read-only",
      "-v",
      "rw:/rw",
      "-v",
      "ro:/ro:ro",
      "busybox",
      "sleep",
      "99",
    );
    for (const state of ["running", "stopped"]) {
      expect([state, (await message(await put("ro", "/etc", rawTar([file("x")]))))[0]]).toEqual([state, 403]);
      expect([state, (await message(await put("ro", "/ro", rawTar([file("x")]))))[0]]).toEqual([state, 403]);
      expect([state, (await message(await put("ro", "/", rawTar([file("ro/x")]))))[0]]).toEqual([state, 403]);
      expect((await put("ro", "/rw", rawTar([file("x")]))).status).toBe(200);
      expect(await list("ro", "/etc/hostname")).toContain(" hostname");
      if (state === "running") await engine.ok("kill", "ro");
    }
  });

  test("noOverwriteDirNonDir and copyUIDGID", async () => {
    await engine.ok("create", "--name", "flags", "--user", "1000:29", "busybox", "true");
    const query = "&noOverwriteDirNonDir=true";
    expect((await put("flags", "/tmp", rawTar([file("f")]))).status).toBe(200);
    const over = rawTar([{ name: "f/", type: "5", mode: 0o755 }]);
    expect((await message(await put("flags", "/tmp", over, query)))[1]).toContain("cannot overwrite non-directory");
    expect((await put("flags", "/tmp", over)).status).toBe(200);
    expect((await put("flags", "/tmp", rawTar([file("mine")]), "&copyUIDGID=1")).status).toBe(200);
    expect((await list("flags", "/tmp/.")).split("\n").slice(1)).toEqual([
      "drwxr-xr-x 0/0 0 ./f/",
      "-rw-r--r-- 1000/29 1 ./mine",
    ]);
  });

  test("owners of a user namespace are those inside, also on what is mounted there", async () => {
    await engine.ok("create", "--name", "userns", "--userns", "auto", "-v", "mapped:/vol", "busybox", "sleep", "1000");
    const owned = (name: string) => {
      const dir = join(engine.dir, name);
      mkdirSync(dir);
      writeFileSync(join(dir, name), "");
      const own = ["--owner=1000", "--group=44", "--numeric-owner"];
      return Bun.spawnSync(["tar", "-C", dir, ...own, "-c", name]).stdout;
    };
    for (const state of ["stopped", "running"]) {
      for (const path of ["/home", "/vol"]) {
        expect((await put("userns", path, owned(`${state}${path.slice(1)}`))).status).toBe(200);
        expect(await list("userns", `${path}/${state}${path.slice(1)}`)).toStartWith("-rw-r--r-- 1000/44 ");
      }
      expect(await list("userns", "/etc/passwd")).toContain(" 0/0 ");
      if (state === "stopped") await engine.ok("start", "userns");
    }
    const shown = await engine.ok("exec", "userns", "stat", "-c", "%u %g", "/home/stoppedhome", "/vol/runningvol");
    expect(shown).toBe("1000 44\n1000 44");
    expect(statSync(join(engine.dataRoot, "volumes/mapped/_data/runningvol")).uid).toBe(1000);
    const far = Bun.spawnSync(["tar", "--owner=200000", "-C", "/bin", "-c", "busybox"]).stdout;
    expect((await message(await put("userns", "/home", far)))[1]).toContain("outside of the user namespace");
  });

  test("a first process that has changed its root changes nothing about the container's files", async () => {
    const script =
      "mkdir -p /sub/bin && cp /bin/busybox /sub/bin && echo x >/top && exec chroot /sub /bin/busybox sleep 1000";
    await engine.ok("run", "-d", "--name", "chroot", "busybox", "sh", "-c", script);
    const pid = await engine.ok("inspect", "-f", "{{.State.Pid}}", "chroot");
    while (!readlinkSync(`/proc/${pid}/root`).endsWith("/sub")) await Bun.sleep(5);
    expect(await list("chroot", "/top")).toContain(" top");
    expect((await put("chroot", "/tmp", rawTar([file("in")]))).status).toBe(200);
    expect(await list("chroot", "/tmp/.")).toContain(" ./in");
  });

  test("an archive that is refused early is answered, however much of it is still to come", async () => {
    await engine.ok("create", "--name", "early", "busybox", "true");
    const big = Buffer.concat([rawTar([file("../x")], { end: false }), Buffer.alloc(32 << 20, 1)]);
    expect(await message(await put("early", "/tmp", big))).toEqual([400, expect.stringContaining("leads out")]);
    const { code, stderr } = await engine.inro(["cp", "-", "early:/tmp"], { stdin: big });
    expect({ code, stderr }).toEqual({ code: 1, stderr: expect.stringContaining("leads out") });
  });

  test("many at once", async () => {
    await engine.ok("run", "-d", "--name", "many", "busybox", "sleep", "1000");
    const heads = Array.from({ length: 40 }, () => engine.api("HEAD", at("many", "/etc/passwd")));
    expect((await Promise.all(heads)).filter(({ status }) => status === 200)).toHaveLength(40);
  });

  test("events: archive-path and extract-to-dir", async () => {
    await engine.ok("create", "--name", "events", "busybox", "true");
    const since = String(Date.now() / 1000);
    await (await engine.api("GET", at("events", "/etc/passwd"))).bytes();
    await put("events", "/tmp", rawTar([file("f")]));
    const answer = await engine.api("GET", `/events?since=${since}&until=${Date.now() / 1000 + 0.05}`);
    const seen: string[] = [];
    for await (const { Action, Actor } of jsonStream<EventMessage>(answer.body!)) {
      if (Actor.Attributes.name === "events" && Action !== "create") seen.push(Action);
    }
    expect(seen).toEqual(["archive-path", "extract-to-dir"]);
  });

  test("a hostile tar writes nothing outside of the container, and gets a 400", async () => {
    await engine.ok("run", "-d", "--name", "hostile", "busybox", "sleep", "1000");
    const outside = join(engine.dir, "outside");
    mkdirSync(outside);
    writeFileSync(join(outside, "precious"), "precious");
    const up = "../".repeat(12);
    const cases: [string, Member[]][] = [
      ["..", [file("../../x")]],
      ["a symlink that leads out", [{ name: "l", type: "2", link: `${up}${outside.slice(1)}` }, file("l/x")]],
      ["an absolute symlink", [{ name: "m", type: "2", link: outside }, file("m/x")]],
      ["the kernel's links", [{ name: "p", type: "2", link: "/proc/self/root" }, file(`p${outside}/x`)]],
      ["process 1's root", [{ name: "q", type: "2", link: "/proc/1/root/proc/1/cwd" }, file("q/x")]],
      ["a hard link out", [{ name: "h", type: "1", link: `${up}${outside}/precious`.slice(0, 99) }]],
      ["a hard link through a symlink", [{ name: "h", type: "1", link: "m/precious" }]],
      ["a pax size that is none", [{ name: "x", type: "x", body: "20 size=nothing\n" }, file("f")]],
      ["a size of more than there is", [{ name: "f", size: 0o7777777 }]],
      ["a wrong checksum", [{ name: "f", badChecksum: true }]],
      ["a device out of range and a NUL", [{ name: "n", type: "9" }]],
    ];
    for (const [what, members] of cases) {
      const answer = await put("hostile", "/tmp", rawTar(members));
      expect([what, answer.status]).toEqual([what, 400]);
      await answer.text();
      expect(readdirSync(outside)).toEqual(["precious"]);
    }
    // What led out led to the container's own root.
    expect(existsSync(outside)).toBe(true);
    expect(readFileSync(join(outside, "precious"), "utf8")).toBe("precious");
  });
});

/** A PUT whose body does not end. */
function stalledUpload(engine: TestEngine, container: string, sent: Uint8Array) {
  const socket = connect(engine.socket);
  let text = "";
  const answered = new Promise<string>((resolve) => {
    socket.on("data", (chunk) => {
      text += chunk;
      if (text.includes("\r\n\r\n")) resolve(text);
    });
    socket.on("close", () => resolve(text));
    socket.on("error", () => resolve(text));
  });
  socket.write(
    `PUT /containers/${container}/archive?path=/tmp HTTP/1.1\r\nHost: x\r\nTransfer-Encoding: chunked\r\n\r\n`,
  );
  socket.write(`${sent.length.toString(16)}\r\n`);
  socket.write(sent);
  socket.write("\r\n");
  return { answered, end: () => socket.destroy() };
}

/** Processes that work on files for this engine. */
function workers(engine: TestEngine): number[] {
  return readdirSync("/proc")
    .filter((name) => /^\d+$/.test(name))
    .filter((pid) => {
      try {
        const parent = /^PPid:\t(\d+)$/m.exec(readFileSync(`/proc/${pid}/status`, "latin1"))?.[1];
        return Number(parent) === engine.pid && readFileSync(`/proc/${pid}/cmdline`, "latin1").includes('"kind":"');
      } catch {
        return false;
      }
    })
    .map(Number);
}

async function until(true_: () => boolean): Promise<void> {
  while (!true_()) await Bun.sleep(5);
}

describe.skipIf(why !== "")(`copies that last${why && ` (${why})`}`, () => {
  const engine = engineForTests();
  const begun = rawTar([{ name: "begun", body: "x" }], { end: false });

  test("no library and no code of the container is in the process that copies (CVE-2019-14271)", async () => {
    await engine.ok("run", "-d", "--name", "lib", "busybox", "sleep", "1000");
    const upload = stalledUpload(engine, "lib", begun);
    const upper = join(
      engine.dataRoot,
      "containers",
      (await engine.ok("inspect", "-f", "{{.Id}}", "lib")).trim(),
      "upper",
    );
    await until(() => existsSync(join(upper, "tmp/begun")));
    const [pid] = workers(engine);
    expect(readlinkSync(`/proc/${pid}/root`)).toBe("/");
    expect(readlinkSync(`/proc/${pid}/ns/mnt`)).toBe(readlinkSync("/proc/self/ns/mnt"));
    const device = readFileSync(`/proc/${await engine.ok("inspect", "-f", "{{.State.Pid}}", "lib")}/mountinfo`, "utf8")
      .split("\n")
      .find((line) => line.split(" ")[4] === "/")!
      .split(" ")[2]!;
    const mapped = readFileSync(`/proc/${pid}/maps`, "latin1");
    expect(mapped).not.toContain(
      ` ${device
        .split(":")
        .map((n) => Number(n).toString(16).padStart(2, "0"))
        .join(":")} `,
    );
    upload.end();
    await until(() => workers(engine).length === 0);
  });

  test("removing a container ends its copies, of a running and a stopped one", async () => {
    for (const verb of [["run", "-d"], ["create"]]) {
      const id = await engine.ok(...verb, "--name", "gone", "busybox", "sleep", "1000");
      const upload = stalledUpload(engine, "gone", begun);
      await until(() => existsSync(join(engine.dataRoot, "containers", id, "upper/tmp/begun")));
      await engine.ok("rm", "-f", "gone");
      expect(await upload.answered).toMatch(/^HTTP\/1.1 409 .*is being removed/s);
      upload.end();
    }
    expect(workers(engine)).toEqual([]);
  });

  test("a start waits for a copy of the stopped container, and a client that goes ends it", async () => {
    const id = await engine.ok("create", "--name", "waits", "busybox", "cat", "/tmp/begun");
    const upload = stalledUpload(engine, "waits", begun);
    await until(() => existsSync(join(engine.dataRoot, "containers", id, "upper/tmp/begun")));
    const started = engine.inro(["start", "-a", "waits"]);
    expect(await Promise.race([started, Bun.sleep(200).then(() => "waiting")])).toBe("waiting");
    upload.end();
    expect(await started).toMatchObject({ code: 0, stdout: "x" });
  });

  test("a big sparse file costs flat memory, both ways, and stays sparse", async () => {
    await engine.ok("run", "-d", "--name", "big", "busybox", "sh", "-c", "truncate -s 256M /big && sleep 1000");
    const id = (await engine.ok("inspect", "-f", "{{.Id}}", "big")).trim();
    const file = join(engine.dataRoot, "containers", id, "upper/big");
    await until(() => existsSync(file) && statSync(file).size === 1 << 28);
    const peak = () => Number(/^VmHWM:\s+(\d+) kB/m.exec(readFileSync(`/proc/${engine.pid}/status`, "utf8"))![1]);
    const before = peak();
    const answer = await engine.api("GET", "/containers/big/archive?path=/big");
    const back = await fetch("http://inro/containers/big/archive?path=/tmp", {
      unix: engine.socket,
      method: "PUT",
      body: answer.body,
    } as RequestInit);
    expect(back.status).toBe(200);
    const copy = statSync(join(engine.dataRoot, "containers", id, "upper/tmp/big"));
    expect(copy.size).toBe(1 << 28);
    expect(copy.blocks * 512).toBeLessThan(1 << 20);
    // Its garbage is collected when the engine sees fit.
    expect(peak() - before).toBeLessThan(150_000);
  });

  test("an engine that is killed in a copy leaves nothing", async () => {
    const id = await engine.ok("create", "--name", "killed", "busybox", "true");
    const upload = stalledUpload(engine, "killed", begun);
    await until(() => existsSync(join(engine.dataRoot, "containers", id, "upper/tmp/begun")));
    const [worker] = workers(engine);
    await engine.kill();
    await upload.answered;
    await until(() => !existsSync(`/proc/${worker}`));
    await engine.start();
    expect(await engine.ok("system", "check")).toBe("no leaks found");
    expect(readdirSync(join(engine.execRoot, "containers"))).not.toContainEqual(expect.stringMatching(/^files-/));
  });
});
