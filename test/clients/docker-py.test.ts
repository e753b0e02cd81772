import { afterAll, describe, expect, test } from "bun:test";
import { chmodSync, existsSync, mkdtempSync, rmSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { engineForTests, hasBusybox, isRoot } from "../harness.ts";

const PYTHON = "/usr/bin/python3";
const MODULE = "/usr/lib/python3/dist-packages/docker/__init__.py";
const why = !isRoot ? "needs root" : !hasBusybox ? "no busybox-static" : existsSync(MODULE) ? "" : "no python3-docker";
const engine = why ? undefined : engineForTests();

/** A whole life by Debian's docker-py; the script tells what it saw. */
describe.skipIf(why !== "")(`docker-py${why && ` (${why})`}`, () => {
  const directory = mkdtempSync(join(tmpdir(), "inro-py-"));
  chmodSync(directory, 0o755);
  writeFileSync(join(directory, "x"), "bound\n");
  afterAll(() => rmSync(directory, { recursive: true }));

  test("containers, exec, files, images, volumes, events, errors", async () => {
    const script = join(import.meta.dir, "docker_py.py");
    const child = Bun.spawn([PYTHON, script, engine!.host, directory], { stdio: ["ignore", "pipe", "pipe"] });
    const [out, err] = await Promise.all([new Response(child.stdout).text(), new Response(child.stderr).text()]);
    expect({ code: await child.exited, err }).toEqual({ code: 0, err: "" });
    expect(JSON.parse(out)).toEqual({
      ping: true,
      version: "linux",
      api: expect.stringMatching(/^1\.\d\d$/),
      driver: expect.stringMatching(/^(overlay2|erofs)$/),
      run: "hi\n",
      "run stderr": "e\n",
      "run status": ["ContainerError", 3],
      "run options": "b\n/tmp\n12\ninside\n1\n64\nbound\nlo\n",
      "no image": ["ImageNotFound", 404],
      "no command": ["APIError", 400],
      "first line": "up\n",
      status: ["running", "py", { a: "b" }, ["busybox:latest"]],
      exec: [7, ["o\n", "e\n"]],
      "exec options": "/tmp\n",
      "exec stream": "1\n2\n",
      "exec tty": "/dev/pts/0\r\n",
      "exec nope": [127, true],
      "exec socket": "typed\n",
      top: [true, "UID"],
      stats: ["/py", true, true],
      "stats stream": ["/py", "/py"],
      put: true,
      get: ["copied", 6, "copied"],
      "get nothing": ["NotFound", 404],
      diff: true,
      paused: "paused",
      list: [["py"], []],
      renamed: 64 << 20,
      wait: { StatusCode: 5 },
      logs: "up\n",
      since: "",
      killed: 137,
      events: "rename",
      gone: ["NotFound", 404],
      attach: "through\n",
      tag: true,
      images: ["busy:py", "busybox:latest"],
      history: 1,
      loaded: [["busy:py", "busybox:latest"]],
      "no such image": ["ImageNotFound", 404],
      volume: "kept\n",
      volumes: ["kept"],
      "no volume": ["NotFound", 404],
      // The one that could not be started.
      prune: [expect.stringMatching(/^[0-9a-f]{64}$/)],
    });
  });
});
