import { afterAll, beforeAll, describe, expect, setDefaultTimeout, test } from "bun:test";
import { mkdirSync, mkdtempSync, readdirSync, readFileSync, rmSync, utimesSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { dirname, join, relative } from "node:path";
import { command, hasBusybox, isRoot, type Result, TestEngine } from "../harness.ts";

setDefaultTimeout(60_000);

/** Builds through an engine, by the command line. */
describe.skipIf(!isRoot || !hasBusybox)("inro build (needs root and busybox-static)", () => {
  const engine = new TestEngine();
  const top = mkdtempSync(join(tmpdir(), "inro-build-"));
  let count = 0;
  beforeAll(async () => {
    await engine.start();
    await engine.busybox();
  });
  afterAll(async () => {
    await engine.stop();
    rmSync(top, { recursive: true, force: true });
  });

  /** A new context directory. */
  function context(files: Record<string, string>): string {
    const directory = join(top, `context-${count++}`);
    write(directory, files);
    return directory;
  }

  function write(directory: string, files: Record<string, string>): void {
    for (const [name, text] of Object.entries(files)) {
      mkdirSync(dirname(join(directory, name)), { recursive: true });
      writeFileSync(join(directory, name), text);
    }
  }

  const build = (directory: string, ...flags: string[]): Promise<Result> =>
    engine.inro(["build", "--progress", "plain", ...flags, directory]);

  const steps = ({ stderr }: Result) => ({
    cached: (stderr.match(/CACHED/g) ?? []).length,
    ran: (stderr.match(/^#\d+ (\[.*\] RUN.*)$/gm) ?? []).length,
  });

  test("RUN and the config: an image that runs, and comes out of the cache", async () => {
    const directory = context({
      Dockerfile:
        'FROM busybox\nRUN echo made > /made && echo seen\nENV WHO=me\nCMD ["sh", "-c", "cat /made; echo $WHO"]\n',
    });
    const first = await build(directory, "-t", "one");
    expect(first).toMatchObject({ code: 0, stdout: "" });
    expect(first.stderr).toMatch(/\d seen$/m);
    expect(await engine.ok("run", "--rm", "one")).toBe("made\nme");
    const again = await build(directory, "-t", "one");
    expect(again.code).toBe(0);
    expect(steps(again).cached).toBe(2);
    expect(again.stderr).not.toMatch(/ \d seen$/m);
  });

  test("a step that fails: its output, its lines, the status", async () => {
    const directory = context({ Dockerfile: "FROM busybox\nRUN echo before; exit 3\nRUN never\n" });
    const { code, stderr } = await build(directory);
    expect(code).toBe(1);
    expect(stderr).toContain(" > [2/3] RUN echo before; exit 3:\n");
    expect(stderr).toMatch(/Dockerfile:2\n-{20}\n {3}1 \| {5}FROM busybox\n {3}2 \| >>> RUN echo before; exit 3\n/);
    expect(stderr).toContain(
      'ERROR: failed to solve: process "/bin/sh -c echo before; exit 3" did not complete successfully: exit code: 3',
    );
  });

  test("a Dockerfile with a mistake: where, and the nearest word", async () => {
    const { code, stderr } = await build(context({ Dockerfile: "FROM busybox\nRUNN x\n" }));
    expect(code).toBe(1);
    expect(stderr).toContain(
      "dockerfile parse error on line 2, column 1: unknown instruction: RUNN (did you mean RUN?)",
    );
  });

  test("COPY: .dockerignore, the cache by content, one file changed", async () => {
    const directory = context({
      Dockerfile: "FROM busybox\nCOPY . /app/\nRUN find /app -type f | sort > /list\n",
      ".dockerignore": "*.log\n!keep.log\nDockerfile\n",
      "a.txt": "a",
      "sub/b.txt": "b",
      "x.log": "no",
      "keep.log": "yes",
    });
    const list = () => engine.ok("run", "--rm", "copied", "cat", "/list");
    expect(await build(directory, "-t", "copied")).toMatchObject({ code: 0 });
    expect(await list()).toBe("/app/.dockerignore\n/app/a.txt\n/app/keep.log\n/app/sub/b.txt");
    // Times are no content.
    utimesSync(join(directory, "a.txt"), new Date(1e12), new Date(1e12));
    expect(steps(await build(directory, "-t", "copied")).cached).toBe(3);
    write(directory, { "a.txt": "A" });
    rmSync(join(directory, "sub"), { recursive: true });
    expect(steps(await build(directory, "-t", "copied")).cached).toBe(1);
    expect(await engine.ok("run", "--rm", "copied", "cat", "/app/a.txt")).toBe("A");
    expect(await list()).toBe("/app/.dockerignore\n/app/a.txt\n/app/keep.log");
    // What is ignored changes nothing.
    write(directory, { "x.log": "other" });
    expect(steps(await build(directory, "-t", "copied")).cached).toBe(3);
  });

  test("stages, targets, arguments, heredocs, --chown and --chmod", async () => {
    const directory = context({
      Dockerfile: `FROM busybox AS base
ARG WORD=default
RUN echo $WORD > /word
FROM base AS unused
RUN exit 1
FROM busybox AS last
WORKDIR /w
COPY --from=base --chown=7:8 --chmod=640 /word here
COPY <<EOT there
from a heredoc
EOT
RUN <<EOT
cat here there > both
EOT
`,
    });
    expect(await build(directory, "-t", "stages", "--build-arg", "WORD=given")).toMatchObject({ code: 0 });
    expect(await engine.ok("run", "--rm", "stages", "cat", "both")).toBe("given\nfrom a heredoc");
    expect(await engine.ok("run", "--rm", "stages", "stat", "-c", "%u:%g %a", "here")).toBe("7:8 640");
    expect(await build(directory, "-t", "stage", "--target", "base")).toMatchObject({ code: 0 });
    expect(await engine.ok("run", "--rm", "stage", "cat", "/word")).toBe("default");
    const { code, stderr } = await build(directory, "--target", "unused");
    expect([code, stderr]).toEqual([1, expect.stringContaining("exit code: 1")]);
  });

  test("a file that is not there is named", async () => {
    const { code, stderr } = await build(context({ Dockerfile: "FROM scratch\nCOPY nothing /\n" }));
    expect(code).toBe(1);
    expect(stderr).toContain("nothing");
    expect(stderr).toContain(">>> COPY nothing /");
  });

  test("an image that is not to be had stands where it is asked for, and what stands nowhere is said alone", async () => {
    const nowhere = "127.0.0.1:1/none";
    const dockerfile = `FROM scratch AS one\nLABEL a=b\nFROM one\nLABEL c=d\nCOPY --from=${nowhere} /a /b\n`;
    expect((await build(context({ Dockerfile: dockerfile }))).stderr).toContain(`   5 | >>> COPY --from=${nowhere}`);
    const base = await build(context({ Dockerfile: `# 1\n# 2\nFROM ${nowhere}\nRUN true\nRUN true\n` }));
    expect(base.stderr).toContain(`   3 | >>> FROM ${nowhere}`);
    const target = await build(context({ Dockerfile: dockerfile }), "--target", "oen");
    expect(target.stderr).toContain(
      'ERROR: failed to solve: target stage "oen" could not be found (did you mean one?)',
    );
    expect(target.stderr).not.toContain(">>>");
  });

  test("outputs: a directory, a tar, an OCI archive, a docker archive", async () => {
    const directory = context({ Dockerfile: "FROM scratch\nCOPY f /d/f\n", f: "content" });
    const out = join(top, "out");
    expect(await build(directory, "-o", out)).toMatchObject({ code: 0 });
    expect(readFileSync(join(out, "d/f"), "utf8")).toBe("content");
    const near = relative(process.cwd(), join(top, "near"));
    expect(await build(directory, "-o", near)).toMatchObject({ code: 0 });
    expect(readFileSync(join(top, "near/d/f"), "utf8")).toBe("content");
    expect(await build(directory, "-o", `type=tar,dest=${out}.tar`)).toMatchObject({ code: 0 });
    expect(Bun.spawnSync(["tar", "xOf", `${out}.tar`, "d/f"]).stdout.toString()).toBe("content");
    for (const type of ["oci", "docker"]) {
      expect(await build(directory, "-t", `${type}-image`, "-o", `type=${type},dest=${out}.${type}`)).toMatchObject({
        code: 0,
      });
      expect(await engine.ok("load", "-i", `${out}.${type}`)).toBe(`Loaded image: ${type}-image:latest`);
    }
  });

  test("a secret is where it is asked for, and nowhere else", async () => {
    const secret = `very-secret-${Math.random()}`;
    const directory = context({
      Dockerfile:
        'FROM busybox\nRUN --mount=type=secret,id=key cat /run/secrets/key | sha256sum > /sum\nRUN --mount=type=secret,id=key,env=KEY test -n "$KEY"\nRUN test ! -e /run/secrets/key\n',
    });
    const flags = ["-t", "secret", "--secret", "id=key,env=THE_KEY", "--progress", "plain"];
    const result = await engine.inro(["build", ...flags, directory], { env: { THE_KEY: secret } });
    expect(result).toMatchObject({ code: 0 });
    const sum = new Bun.CryptoHasher("sha256").update(secret).digest("hex");
    expect(await engine.ok("run", "--rm", "secret", "cat", "/sum")).toBe(`${sum}  -`);
    const found = Bun.spawnSync(["grep", "-rlaF", secret, engine.dir]);
    expect([found.stdout.toString(), result.stderr.includes(secret)]).toEqual(["", false]);
    const missing = await build(
      context({ Dockerfile: "FROM busybox\nRUN --mount=type=secret,id=none,required cat /run/secrets/none\n" }),
    );
    expect(missing.code).toBe(1);
  });

  test("an ssh agent is there where it is asked for; entitlements are given", async () => {
    const socket = join(top, "agent");
    const agent = Bun.listen({ unix: socket, socket: { data: (peer, data) => void peer.write(data) } });
    const mounted =
      'FROM busybox\nRUN --mount=type=ssh,required test -S $SSH_AUTH_SOCK\nRUN test -z "$SSH_AUTH_SOCK"\n';
    try {
      const directory = context({ Dockerfile: mounted });
      expect((await build(directory)).code).toBe(1);
      expect(await build(directory, "--ssh", `default=${socket}`)).toMatchObject({ code: 0 });
    } finally {
      agent.stop(true);
    }
    const insecure = context({ Dockerfile: "FROM busybox\nRUN --security=insecure true\n" });
    const refused = await build(insecure);
    expect([refused.code, refused.stderr]).toEqual([1, expect.stringContaining("security.insecure is not allowed")]);
    expect(await build(insecure, "--allow", "security.insecure")).toMatchObject({ code: 0 });
    const cache = await build(insecure, "--cache-to", "type=gha");
    expect([cache.code, cache.stderr]).toEqual([1, expect.stringContaining("type=gha is not supported")]);
  });

  test("stdin: a Dockerfile alone, and a tar as the context", async () => {
    const alone = await engine.inro(["build", "-q", "-t", "alone", "-"], { stdin: "FROM busybox\nENV A=1\n" });
    expect(alone).toMatchObject({ code: 0, stdout: expect.stringMatching(/^sha256:[0-9a-f]{64}\n$/) });
    const directory = context({ Dockerfile: "FROM busybox\nCOPY f /f\n", f: "in a tar" });
    const { stdout: tar } = Bun.spawnSync(["tar", "cz", "-C", directory, "."]);
    const piped = Bun.spawn([...command, "build", "-t", "piped", "-"], {
      env: { ...process.env, INRO_HOST: engine.host },
      stdin: tar,
      stdout: "ignore",
      stderr: "ignore",
    });
    expect(await piped.exited).toBe(0);
    expect(await engine.ok("run", "--rm", "piped", "cat", "/f")).toBe("in a tar");
  });

  test("build checks", async () => {
    const checked = await engine.inro(["build", "--check", context({ Dockerfile: "FROM busybox\nCMD echo $NONE\n" })]);
    expect(checked.code).toBe(1);
    expect(checked.stdout).toStartWith("Check complete, 1 warning has been found!\n\nWARNING: JSONArgsRecommended - ");
    const clean = await engine.inro(["build", "--check", context({ Dockerfile: "FROM busybox\nRUN true\n" })]);
    expect(clean).toMatchObject({ code: 0, stdout: "Check complete, no warnings found.\n" });
  });

  test("the same files are the same image, whatever their times, with and without the cache", async () => {
    const files = {
      Dockerfile: "FROM busybox\nWORKDIR /w\nCOPY f g\nRUN date > /when && rm /when && touch /t\n",
      f: "1",
    };
    const [one, two] = [context(files), context(files)];
    utimesSync(join(two, "f"), new Date(), new Date());
    const id = async (directory: string, ...flags: string[]) => {
      const { code, stdout } = await engine.inro(["build", "-q", ...flags, directory]);
      expect(code).toBe(0);
      return stdout;
    };
    const first = await id(one);
    expect(await id(two, "--no-cache")).toBe(first);
    expect(await id(two)).toBe(first);
  });

  test("a build killed in the middle leaves a cache that can be used, and nothing else", async () => {
    const directory = context({ Dockerfile: "FROM busybox\nRUN echo kept > /kept\nRUN echo begun; sleep 600\n" });
    const child = engine.spawn(["build", "--progress", "plain", directory]);
    const reader = (child.stderr as ReadableStream<Uint8Array>).getReader();
    let seen = "";
    while (!/\d begun/.test(seen)) seen += new TextDecoder().decode((await reader.read()).value);
    await engine.kill("SIGKILL");
    await child.exited;
    await engine.start();
    write(directory, { Dockerfile: "FROM busybox\nRUN echo kept > /kept\nRUN true\n" });
    const after = await build(directory);
    expect(after.code).toBe(0);
    expect(after.stderr).toMatch(/\[2\/3\] RUN echo kept > \/kept\n#\d+ CACHED/);
    expect(readdirSync(join(engine.dataRoot, "build/steps"))).toEqual([]);
    expect(Bun.spawnSync(["pgrep", "-f", "^sleep 600"]).stdout.toString()).toBe("");
  });

  test("stages that need nothing of each other run at the same time", async () => {
    const stage = (name: string) => `FROM busybox AS ${name}\nRUN echo ${name} > /${name}; sleep 1\n`;
    const last = "FROM busybox\nRUN --mount=from=a,target=/x --mount=from=b,target=/y cat /x/a /y/b > /ab\n";
    const { code, stderr } = await build(context({ Dockerfile: stage("a") + stage("b") + last }), "-t", "two");
    expect(code).toBe(0);
    // The second has begun before the first has ended.
    const [first, second] = ["a", "b"].map((name) => stderr.indexOf(`[${name} 2/2] RUN`));
    const ends = [...stderr.matchAll(/^#(\d+) DONE 1\.\d+s$/gm)].map(({ index }) => index);
    expect(Math.max(first!, second!)).toBeLessThan(Math.min(...ends));
    expect(await engine.ok("run", "--rm", "two", "cat", "/ab")).toBe("a\nb");
  });
});
