import { describe, expect, test } from "bun:test";
import { existsSync, lstatSync, mkdirSync, readFileSync, symlinkSync, writeFileSync } from "node:fs";
import { join } from "node:path";
import { command, engineForTests, hasBusybox, isRoot } from "../harness.ts";

const DOCKER = "/usr/bin/docker";
const skip = !isRoot ? "needs root" : hasBusybox ? undefined : "needs /bin/busybox";

/** The shape of a tree, one line a file. */
const LIST = `find . | sort | while read -r p; do
  if [ -L "$p" ]; then echo "$p -> $(readlink "$p")"; elif [ -d "$p" ]; then echo "$p/ $(stat -c %a "$p")";
  else echo "$p $(stat -c '%a %h %s' "$p")"; fi; done`;

describe.skipIf(skip !== undefined)(`cp${skip ? ` (skipped: ${skip})` : ""}`, () => {
  const engine = engineForTests();
  const clients: [string, string[]][] = [["inro", command]];
  if (existsSync(DOCKER)) clients.push(["docker", [DOCKER, "-H", engine.host]]);
  const alone = clients.length === 1 ? " (docker is not installed: inro alone)" : "";

  /** Runs the same copies with each client in a directory of its own; they must leave the same. */
  async function same(
    prepare: (here: string, container: string) => Promise<void>,
    copies: string[][],
    wanted: (string | undefined)[],
  ): Promise<{ here: string; there: string }> {
    const run = async ([name, client]: [string, string[]]) => {
      const here = join(engine.dir, `${name}${copies.length}`);
      mkdirSync(here);
      const container = `${name}${copies.length}`;
      await engine.ok("run", "-d", "--name", container, "busybox", "sleep", "1000");
      await prepare(here, container);
      const errors: (string | undefined)[] = [];
      for (const args of copies) {
        const child = Bun.spawn([...client, "cp", ...args.map((arg) => arg.replace(/^C:/, `${container}:`))], {
          cwd: here,
          env: { ...process.env, INRO_HOST: engine.host },
          stdio: ["ignore", "ignore", "pipe"],
        });
        const [text, code] = [await new Response(child.stderr).text(), await child.exited];
        errors.push(code === 0 ? undefined : text.trim().replaceAll(here, "HERE").replaceAll(container, "C"));
      }
      const local = Bun.spawnSync(["/bin/busybox", "sh", "-c", LIST], { cwd: here }).stdout.toString();
      const there = await engine.ok("exec", "-w", "/t", container, "sh", "-c", LIST);
      await engine.ok("rm", "-f", container);
      return { here: local, there, errors };
    };
    const [ours, theirs] = await Promise.all(clients.map(run));
    for (const [i, words] of wanted.entries()) {
      if (words === undefined) expect([copies[i], ours!.errors[i]]).toEqual([copies[i], undefined]);
      else expect(ours!.errors[i]).toContain(words);
      // Its words change from version to version.
      if (theirs) expect([copies[i], theirs.errors[i] === undefined]).toEqual([copies[i], words === undefined]);
    }
    if (theirs) expect({ here: ours!.here, there: ours!.there }).toEqual({ here: theirs.here, there: theirs.there });
    return ours!;
  }

  test(`out of a container, as docker's client does it${alone}`, async () => {
    const make =
      "mkdir -p /t/d/e && cd /t && echo one >d/f && chmod 640 d/f && ln -s /t/d l && ln -s f d/lf && ln d/f d/h";
    const { here } = await same(
      async (here, container) => {
        await engine.ok("exec", container, "sh", "-c", make);
        mkdirSync(join(here, "there"));
        mkdirSync(join(here, "there2"));
        writeFileSync(join(here, "old"), "old content");
        symlinkSync("target", join(here, "dangling"));
      },
      [
        ["C:/t/d", "new"],
        ["C:/t/d", "there"],
        ["C:/t/d/.", "flat"],
        ["C:/t/d/.", "there2"],
        ["C:/t/d/f", "f"],
        ["C:/t/d/f", "old"],
        ["C:/t/d/f", "dangling"],
        ["C:t/d/f", "there2/g"],
        ["C:/t/l", "link"],
        ["C:/t/l/", "slash"],
        ["-L", "C:/t/l", "followed"],
        ["-L", "C:/t/l", "there"],
        ["-L", "C:/t/d/lf", "lf"],
        ["C:/t/d/../d/lf", "."],
        ["C:/t/d/f", "missing/"],
        ["C:/t/d", "f"],
        ["C:/nothing", "x"],
        ["C:/t/d/f", "a/b/c"],
        ["nobody:/t", "x"],
      ],
      [
        ...Array<undefined>(14).fill(undefined),
        "no such directory",
        "cannot copy directory",
        "Error response from daemon: Could not find the file /nothing in container C",
        'invalid output path: directory "HERE/a/b" does not exist',
        "Error response from daemon: No such container: nobody",
      ],
    );
    expect(here).toContain("./flat/f 640 2 4\n");
    expect(here).toContain("./link -> /t/d\n");
    expect(here).toContain("./target 640 1 4\n");
    expect(here).toContain("./there/l/e/ 755\n");
  });

  test(`into a container, as docker's client does it${alone}`, async () => {
    const { there } = await same(
      async (here, container) => {
        await engine.ok(
          "exec",
          container,
          "sh",
          "-c",
          "mkdir /t && cd /t && mkdir dir && echo x >file && ln -s dir link",
        );
        mkdirSync(join(here, "src/sub"), { recursive: true });
        writeFileSync(join(here, "src/s"), "source");
        symlinkSync("s", join(here, "src/ls"));
        symlinkSync("src", join(here, "lsrc"));
      },
      [
        ["src", "C:/t/new"],
        ["src", "C:/t"],
        ["src/.", "C:/t/contents"],
        ["src/.", "C:/t/dir"],
        ["src/s", "C:/t/file"],
        ["src/s", "C:/t/link"],
        ["src/s", "C:t/other"],
        ["lsrc", "C:/t/lsrc"],
        ["lsrc/", "C:/t/slash"],
        ["-L", "lsrc", "C:/t/followed"],
        ["-L", "lsrc", "C:/t/link/"],
        ["src/s", "C:/t/missing/"],
        ["src", "C:/t/file"],
        ["src/s", "C:/t/src/sub/../../src"],
        ["src/s", "C:/a/b/c"],
        ["C:/t", "C:/u"],
        ["src", "lsrc"],
        ["nothing", "C:/t"],
      ],
      [
        ...Array<undefined>(11).fill(undefined),
        "no such directory",
        "cannot copy directory",
        undefined,
        "Could not find the file /a/b in container C",
        "copying between containers is not supported",
        "must specify at least one container source",
        "no such file or directory",
      ],
    );
    expect(there).toContain("./dir/lsrc/sub/ 755\n");
    expect(there).toContain("./file 644 1 6\n");
    expect(there).toContain("./lsrc -> src\n");
  });

  test("a tar on stdin and stdout", async () => {
    await engine.ok("create", "--name", "tar", "busybox", "true");
    const dir = join(engine.dir, "tar-in");
    mkdirSync(dir);
    writeFileSync(join(dir, "f"), "by tar");
    const tar = Bun.spawnSync(["tar", "-C", dir, "-c", "f"]).stdout;
    expect((await engine.inro(["cp", "-", "tar:/tmp"], { stdin: tar })).code).toBe(0);
    expect((await engine.inro(["cp", "-", "tar:/tmp/f"], { stdin: tar })).stderr).toContain(
      'destination "tar:/tmp/f" must be a directory',
    );
    const child = engine.spawn(["cp", "tar:/tmp/f", "-"]);
    const listed = Bun.spawnSync(["tar", "-xO"], { stdin: await new Response(child.stdout as ReadableStream).bytes() });
    expect(listed.stdout.toString()).toBe("by tar");
    expect(await child.exited).toBe(0);
    // Only what is said is not for a pipe.
    expect((await engine.inro(["cp", "--quiet=false", "tar:/tmp/f", join(dir, "g")])).stderr).toMatch(
      /^Successfully copied 2\.05kB to /,
    );
    expect(readFileSync(join(dir, "g"), "utf8")).toBe("by tar");
  });

  test("owners: into a container as they are, or with -a its user's; out of it ours, or with -a those inside", async () => {
    await engine.ok("create", "--name", "owners", "--user", "user", "busybox", "true");
    const dir = join(engine.dir, "owners");
    mkdirSync(dir);
    writeFileSync(join(dir, "f"), "");
    Bun.spawnSync(["chown", "123:456", join(dir, "f")]);
    await engine.ok("cp", join(dir, "f"), "owners:/tmp/plain");
    await engine.ok("cp", "-a", join(dir, "f"), "owners:/tmp/theirs");
    const list = async () => {
      const tar = await (await engine.api("GET", "/containers/owners/archive?path=/tmp")).bytes();
      return Bun.spawnSync(["tar", "-tv", "--numeric-owner"], { stdin: tar }).stdout.toString();
    };
    expect(await list()).toMatch(/ 123\/456 .* tmp\/plain\n(.|\n)* 1000\/1000 .* tmp\/theirs\n/);
    await engine.ok("cp", "owners:/tmp/plain", join(dir, "ours"));
    await engine.ok("cp", "-a", "owners:/tmp/plain", join(dir, "kept"));
    expect(lstatSync(join(dir, "ours"))).toMatchObject({ uid: 0, gid: 0 });
    expect(lstatSync(join(dir, "kept"))).toMatchObject({ uid: 123, gid: 456 });
  });
});
