import { describe, expect, test } from "bun:test";
import { createRequire } from "node:module";
import { engineForTests, hasBusybox, isRoot } from "../harness.ts";
import { rawTar } from "../images/hostile-tar.ts";

// It has no types of its own.
const Docker = createRequire(import.meta.url)("dockerode");
const why = !isRoot ? "needs root" : !hasBusybox ? "no busybox-static" : "";
const hasDockerPy = Bun.spawnSync(["/usr/bin/python3", "-c", "import docker"]).exitCode === 0;

describe.skipIf(why !== "")(`files by other clients${why && ` (${why})`}`, () => {
  const engine = engineForTests();

  test("dockerode: put, stat, get, export, commit", async () => {
    const docker = new Docker({ socketPath: engine.socket });
    const container = await docker.createContainer({ Image: "busybox", Cmd: ["cat", "/tmp/f"], name: "dockerode" });
    await container.putArchive(rawTar([{ name: "f", body: "by dockerode" }]), { path: "/tmp" });
    const info = (await container.infoArchive({ path: "/tmp/f" })) as unknown as { headers: Record<string, string> };
    const stat = Buffer.from(info.headers["x-docker-container-path-stat"]!, "base64").toString();
    expect(JSON.parse(stat)).toMatchObject({ name: "f", size: 12, mode: 0o644 });
    const read = async (stream: NodeJS.ReadableStream) => {
      const chunks: Buffer[] = [];
      for await (const chunk of stream) chunks.push(chunk as Buffer);
      return Buffer.concat(chunks).toString("latin1");
    };
    expect(await read(await container.getArchive({ path: "/tmp/f" }))).toContain("by dockerode");
    expect(await read(await container.export())).toContain("by dockerode");
    const { Id } = (await container.commit({
      repo: "dockerode",
      tag: "1",
      comment: "c",
      changes: "CMD cat /tmp/f",
    })) as {
      Id: string;
    };
    expect(await engine.ok("run", "--rm", Id, "cat", "/tmp/f")).toBe("by dockerode");
    expect(
      await container
        .putArchive(Buffer.from("no tar"), { path: "/tmp" })
        .catch((e: { statusCode: number }) => e.statusCode),
    ).toBe(400);
  });

  const reason = hasDockerPy ? "" : " (skipped: no python3-docker)";
  test.skipIf(!hasDockerPy)(`docker-py: put_archive, get_archive, export, commit, diff${reason}`, async () => {
    const script = `
import docker, io, tarfile
client = docker.DockerClient(base_url="${engine.host}", version="1.43")
c = client.containers.create("busybox", ["cat", "/tmp/f"], name="py")
out = io.BytesIO()
with tarfile.open(fileobj=out, mode="w") as tar:
    info = tarfile.TarInfo("f"); info.size = 5
    tar.addfile(info, io.BytesIO(b"by py"))
assert c.put_archive("/tmp", out.getvalue())
bits, stat = c.get_archive("/tmp/f")
with tarfile.open(fileobj=io.BytesIO(b"".join(bits))) as tar:
    print(stat["name"], stat["size"], tar.extractfile("f").read().decode())
names = tarfile.open(fileobj=io.BytesIO(b"".join(c.export()))).getnames()
print("tmp/f" in names, c.diff())
image = c.commit("py", "1", message="m", author="a", changes="CMD cat /tmp/f", conf={"Labels": {"x": "y"}})
print(image.labels, client.containers.run("py:1", remove=True).decode())
try: c.get_archive("/nothing")
except docker.errors.NotFound as error: print(error.explanation.replace(c.id, "py"))
`;
    const { stdout, stderr } = Bun.spawnSync(["/usr/bin/python3", "-c", script]);
    expect([stdout.toString(), stderr.toString()]).toEqual([
      [
        "f 5 by py",
        "True [{'Path': '/tmp', 'Kind': 0}, {'Path': '/tmp/f', 'Kind': 1}]",
        "{'x': 'y'} by py",
        "Could not find the file /nothing in container py\n",
      ].join("\n"),
      "",
    ]);
  });
});
