import { afterAll, beforeAll, describe, expect, test } from "bun:test";
import { chmodSync, existsSync, mkdirSync, readFileSync, rmSync, statSync, writeFileSync } from "node:fs";
import { join } from "node:path";
import { hasBusybox, isRoot, type Result, TestEngine, temporary } from "../harness.ts";
import { authority, certificate, OPENSSL } from "./certificates.ts";
import { until } from "./until.ts";

const DOCKER = Bun.which("docker");
const why = !isRoot ? "needs root" : !hasBusybox ? "no busybox-static" : !OPENSSL ? "no openssl" : "";

describe.skipIf(why !== "")(`contexts${why && ` (${why})`}`, () => {
  const dir = temporary();
  const config = join(dir, "config");
  let engine: TestEngine;
  let port = 0;
  const certificates = `ca=${join(dir, "ca.pem")},cert=${join(dir, "client.pem")},key=${join(dir, "client-key.pem")}`;

  beforeAll(async () => {
    mkdirSync(config);
    authority(dir);
    certificate(dir, "engine");
    certificate(dir, "client");
    const tls = [
      "--tlscacert",
      join(dir, "ca.pem"),
      "--tlscert",
      join(dir, "engine.pem"),
      "--tlskey",
      join(dir, "engine-key.pem"),
    ];
    engine = await new TestEngine(["--host", "tcp://127.0.0.1:0", ...tls]).start();
    // It is ready before it has said where it listens.
    const said = /tcp:\/\/127\.0\.0\.1:(\d+)/;
    port = Number(said.exec(await until(join(engine.dir, "log"), (text) => said.test(text)))![1]);
    await engine.busybox();
    // What ssh(1) does, less the network: it runs what comes after the host in a shell.
    mkdirSync(join(dir, "bin"));
    const inro = `#!/bin/sh\nexec ${Bun.which("env")} INRO_HOST=${engine.host} ${process.execPath} ${join(import.meta.dir, "../../src/main.ts")} "$@"\n`;
    writeFileSync(join(dir, "bin/inro"), inro);
    const ssh = [
      "#!/bin/sh",
      `printf '%s\\n' "$@" >>${join(dir, "ssh.log")}`,
      'while [ "$1" != -- ]; do shift; done; host=$2; shift 2',
      'if [ "$host" = refused ]; then echo "ssh: connect to host refused port 22: Connection refused" >&2; exit 255; fi',
      'exec sh -c "$*"\n',
    ];
    writeFileSync(join(dir, "bin/ssh"), ssh.join("\n"));
    for (const name of ["inro", "ssh"]) chmodSync(join(dir, "bin", name), 0o755);
  });
  afterAll(async () => {
    await engine?.stop();
    rmSync(dir, { recursive: true });
  });

  const path = `${join(dir, "bin")}:${process.env.PATH}`;
  const env = { DOCKER_CONFIG: config, INRO_HOST: "", DOCKER_HOST: "", INRO_AUTOSTART: "0", PATH: path };
  const inro = (args: string[], more: Record<string, string> = {}, stdin?: string | Uint8Array): Promise<Result> =>
    engine.inro(args, { env: { ...env, ...more }, ...(stdin === undefined ? {} : { stdin }) });
  const docker = async (...args: string[]) => {
    const child = Bun.spawn([DOCKER!, ...args], { env: { ...env, HOME: dir }, stdio: ["ignore", "pipe", "pipe"] });
    const [stdout, stderr] = await Promise.all([new Response(child.stdout).text(), new Response(child.stderr).text()]);
    return { code: await child.exited, stdout, stderr };
  };

  test("TCP with certificates: a run with input, half-closed; the wrong ones say what is wrong", async () => {
    const made = await inro([
      "context",
      "create",
      "secure",
      "--description",
      "by TLS",
      "--docker",
      `host=tcp://127.0.0.1:${port},${certificates}`,
    ]);
    expect(made).toEqual({ code: 0, stdout: "secure\n", stderr: 'Successfully created context "secure"\n' });
    const input = Buffer.alloc(300_000, "x");
    const ran = await inro(["-c", "secure", "run", "--rm", "-i", "busybox", "wc", "-c"], {}, input);
    expect(ran).toEqual({ code: 0, stdout: "300000\n", stderr: "" });
    const flags = [
      "--tlscacert",
      join(dir, "ca.pem"),
      "--tlscert",
      join(dir, "client.pem"),
      "--tlskey",
      join(dir, "client-key.pem"),
    ];
    const host = ["-H", `tcp://127.0.0.1:${port}`, "--tlsverify"];
    expect((await inro([...host, ...flags, "ps", "-q"])).code).toBe(0);
    // No certificate of ours, an authority that did not sign the engine's, a name that is not in it.
    expect((await inro([...host, "--tlscacert", join(dir, "ca.pem"), "ps"])).code).toBe(1);
    const other = join(dir, "other");
    mkdirSync(other);
    authority(other);
    const distrusted = await inro([...host, ...flags, "--tlscacert", join(other, "ca.pem"), "ps"]);
    expect([distrusted.code, distrusted.stderr]).toEqual([1, expect.stringContaining("--tlscacert")]);
    const named = await inro(["-H", `tcp://localhost.localdomain:${port}`, "--tlsverify", ...flags, "ps"]);
    expect(named.code).toBe(1);
  });

  test("the environment: DOCKER_HOST, DOCKER_TLS_VERIFY, DOCKER_CERT_PATH", async () => {
    const certs = join(dir, "certs");
    mkdirSync(certs);
    for (const [from, to] of [
      ["ca", "ca"],
      ["client", "cert"],
      ["client-key", "key"],
    ]) {
      writeFileSync(join(certs, `${to}.pem`), readFileSync(join(dir, `${from}.pem`)));
    }
    const host = { DOCKER_HOST: `tcp://127.0.0.1:${port}`, DOCKER_CERT_PATH: certs };
    expect((await inro(["version", "-f", "{{.Server.Version}}"], { ...host, DOCKER_TLS_VERIFY: "1" })).code).toBe(0);
    const versioned = await inro(["version", "-f", "{{.Client.ApiVersion}}"], {
      ...host,
      DOCKER_TLS_VERIFY: "1",
      DOCKER_API_VERSION: "1.44",
    });
    expect(versioned.code).toBe(0);
    expect((await inro(["ps"], host)).code).toBe(1);
  });

  test("ssh: the engine's side is a command there; what ssh says is said", async () => {
    await inro(["context", "create", "far", "--docker", "host=ssh://me@machine.example:2222"]);
    const ran = await inro(
      ["--context", "far", "run", "--rm", "-i", "busybox", "sh", "-c", "cat; echo end >&2; exit 3"],
      {},
      "input\n",
    );
    expect(ran).toEqual({ code: 3, stdout: "input\n", stderr: "end\n" });
    const words = readFileSync(join(dir, "ssh.log"), "utf8").split("\n");
    expect(words.slice(0, 9)).toEqual([
      "-o",
      "ConnectTimeout=30",
      "-T",
      "-l",
      "me",
      "-p",
      "2222",
      "--",
      "machine.example",
    ]);
    const refused = await inro(["-H", "ssh://refused", "ps"]);
    expect([refused.code, refused.stderr]).toEqual([
      1,
      expect.stringContaining("ssh://refused: ssh: connect to host refused"),
    ]);
    for (const host of [
      "ssh://-oProxyCommand=x",
      "ssh://-lroot@h",
      "ssh://h/a;b",
      "ssh://h/$(id)",
      "ssh://u:p@h",
      "ssh://h'x",
    ]) {
      expect((await inro(["-H", host, "ps"])).stderr).toContain("invalid host");
    }
  });

  test.skipIf(!DOCKER)(
    "the docker command by way of inro's dial-stdio, and each reads the other's contexts",
    async () => {
      // It runs `docker system dial-stdio` there.
      writeFileSync(join(dir, "bin/docker"), readFileSync(join(dir, "bin/inro")), { mode: 0o755 });
      const remote = await docker(
        "-H",
        "ssh://me@machine.example",
        "run",
        "--rm",
        "--network",
        "none",
        "busybox",
        "echo",
        "far",
      );
      expect(remote).toEqual({ code: 0, stdout: "far\n", stderr: "" });
      rmSync(join(dir, "bin/docker"));

      const theirs = await docker(
        "context",
        "create",
        "theirs",
        "--description",
        "made by docker",
        "--docker",
        `host=tcp://127.0.0.1:${port},${certificates}`,
      );
      expect(theirs.code).toBe(0);
      expect((await inro(["-c", "theirs", "ps"])).code).toBe(0);
      expect((await docker("-c", "secure", "ps")).code).toBe(0);
      const list = ["context", "ls", "--format", "{{.Name}} {{.Description}} {{.DockerEndpoint}} {{.Current}}"];
      const ours = (await inro(list)).stdout.split("\n").filter((line) => !line.startsWith("default"));
      expect(ours).toEqual((await docker(...list)).stdout.split("\n").filter((line) => !line.startsWith("default")));
      expect(JSON.parse((await inro(["context", "inspect", "secure", "theirs"])).stdout)).toEqual(
        JSON.parse((await docker("context", "inspect", "secure", "theirs")).stdout),
      );
      // Exported by one and imported by the other, in both directions.
      const tar = join(dir, "x.dockercontext");
      expect((await inro(["context", "export", "secure", tar])).stderr).toBe(`Written file "${tar}"\n`);
      expect(statSync(tar).mode & 0o777).toBe(0o600);
      expect(await docker("context", "import", "copied", tar)).toMatchObject({ code: 0, stdout: "copied\n" });
      expect((await docker("-c", "copied", "ps")).code).toBe(0);
      rmSync(tar);
      await docker("context", "export", "theirs", tar);
      expect(await inro(["context", "import", "back", tar])).toEqual({
        code: 0,
        stdout: "back\n",
        stderr: 'Successfully imported context "back"\n',
      });
      expect((await inro(["-c", "back", "ps"])).code).toBe(0);
    },
  );

  test("which context: the flag, a host, DOCKER_CONTEXT, the current one", async () => {
    writeFileSync(join(config, "config.json"), '{"psFormat":"x{{.ID}}","mine":{"a":[1]}}');
    expect((await inro(["context", "use", "secure"])).stdout).toBe("secure\n");
    const file = join(config, "config.json");
    expect(JSON.parse(readFileSync(file, "utf8"))).toEqual({
      psFormat: "x{{.ID}}",
      mine: { a: [1] },
      currentContext: "secure",
    });
    expect(statSync(file).mode & 0o777).toBe(0o600);
    const show = async (more: Record<string, string>, ...flags: string[]) =>
      (await inro([...flags, "context", "show"], more)).stdout.trim();
    expect(await show({})).toBe("secure");
    expect(await show({ DOCKER_CONTEXT: "far" })).toBe("far");
    expect(await show({ DOCKER_CONTEXT: "far", DOCKER_HOST: "unix:///x" })).toBe("default");
    expect(await show({ DOCKER_HOST: "unix:///x" }, "-c", "far")).toBe("far");
    expect(await show({}, "-H", "unix:///x")).toBe("default");
    expect(await inro(["-c", "far", "-H", "unix:///x", "ps"])).toMatchObject({
      code: 1,
      stderr: "conflicting options: cannot specify both --host and --context\n",
    });
    expect((await inro(["ps", "-q"])).code).toBe(0);
    expect((await inro(["version", "-f", "{{.Client.Context}}"])).stdout).toBe("secure\n");
    expect((await inro(["info", "-f", "{{.ClientInfo.Context}}"])).stdout).toBe("secure\n");
    const warned = await inro(["context", "use", "secure"], { DOCKER_HOST: "unix:///x" });
    expect(warned.stderr).toContain("Warning: DOCKER_HOST environment variable overrides the active context");
    // One that is gone does not keep anybody from choosing another.
    expect((await inro(["ps"], { DOCKER_CONTEXT: "gone" })).stderr).toContain('context "gone": context not found');
    expect((await inro(["context", "use", "default"], { DOCKER_CONTEXT: "gone" })).code).toBe(0);
    expect(await show({})).toBe("default");
  });

  test("create, update and rm say what docker says", async () => {
    for (const [args, stderr] of [
      [["create", "secure"], 'context "secure" already exists\n'],
      [["create", "default"], '"default" is a reserved context name\n'],
      [
        ["create", "a b"],
        'context name "a b" is invalid, names are validated against regexp "^[a-zA-Z0-9][a-zA-Z0-9_.+-]+$"\n',
      ],
      [
        ["create", "new", "--docker", "hsot=x"],
        "unable to create docker endpoint config: unrecognized config key: hsot (did you mean host?)\n",
      ],
      [
        ["create", "new", "--docker", "host=tcp://x:1", "--from", "secure"],
        "cannot use --docker flag when --from is set\n",
      ],
      [
        ["create", "new", "--docker", "host=tcp://x:1,ca=/nope"],
        "unable to create docker endpoint config: open /nope: no such file or directory\n",
      ],
      [["rm", "nope"], 'context "nope" does not exist\n'],
      [["rm", "default"], 'context "default" cannot be removed\n'],
      [["import", "new", "/etc/hostname"], expect.any(String)],
    ] as [string[], string][]) {
      const answer = await inro(["context", ...args]);
      expect([args, answer.code, answer.stdout, answer.stderr]).toEqual([args, 1, "", stderr]);
    }
    await inro(["context", "create", "copy", "--from", "secure"]);
    await inro(["context", "update", "copy", "--description", "changed"]);
    expect(
      (await inro(["context", "inspect", "copy", "-f", "{{.Metadata.Description}} {{.TLSMaterial.docker}}"])).stdout,
    ).toBe("changed [ca.pem cert.pem key.pem]\n");
    await inro(["context", "use", "copy"]);
    expect(await inro(["context", "rm", "copy"])).toMatchObject({
      code: 1,
      stderr: 'context "copy" is in use, set -f flag to force remove\n',
    });
    expect(await inro(["context", "rm", "-f", "copy", "nope"])).toMatchObject({ code: 0, stdout: "copy\nnope\n" });
    expect((await inro(["context", "show"])).stdout).toBe("default\n");
    expect(existsSync(join(config, "contexts/tls"))).toBe(true);
    for (const name of ["secure", "far", "theirs", "copied", "back"]) await inro(["context", "rm", "-f", name]);
    expect((await inro(["context", "ls", "-q"])).stdout).toBe("default\n");
  });
});
