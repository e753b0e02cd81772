"""Drives an engine by docker-py, and prints what it saw: one JSON object. The engine's URL is the argument."""

import io
import json
import sys
import tarfile

import docker
from docker.errors import APIError, ContainerError, ImageNotFound, NotFound

client = docker.DockerClient(base_url=sys.argv[1], version="auto", timeout=60)
seen = {}


def error(call):
    try:
        call()
    except (APIError, ContainerError, NotFound) as e:
        return [type(e).__name__, getattr(e, "exit_status", None) or e.status_code]
    return None


def tar(name, data):
    out = io.BytesIO()
    with tarfile.open(fileobj=out, mode="w") as archive:
        info = tarfile.TarInfo(name)
        info.size = len(data)
        archive.addfile(info, io.BytesIO(data))
    return out.getvalue()


seen["ping"] = client.ping()
seen["version"] = client.version()["Os"]
seen["api"] = client.api._version
seen["driver"] = client.info()["Driver"]

# run, in the foreground
seen["run"] = client.containers.run("busybox", ["echo", "hi"], remove=True).decode()
seen["run stderr"] = client.containers.run(
    "busybox", ["sh", "-c", "echo o; echo e >&2"], remove=True, stdout=False, stderr=True
).decode()
seen["run status"] = error(lambda: client.containers.run("busybox", ["sh", "-c", "exit 3"], remove=True))
seen["run options"] = client.containers.run(
    "busybox",
    ["sh", "-c", "echo $A; pwd; id -u; hostname; cat /proc/sys/net/ipv4/ip_forward; ulimit -n; cat /v/x; ls /sys/class/net"],
    environment={"A": "b"},
    working_dir="/tmp",
    user="12",
    hostname="inside",
    sysctls={"net.ipv4.ip_forward": 1},
    ulimits=[docker.types.Ulimit(name="nofile", soft=64, hard=64)],
    volumes={sys.argv[2]: {"bind": "/v", "mode": "ro"}},
    network_mode="none",
    mem_limit="64m",
    cap_drop=["ALL"],
    read_only=True,
    tmpfs={"/t": "size=1m"},
    remove=True,
).decode()
seen["no image"] = error(lambda: client.containers.create("nothing:here"))
seen["no command"] = error(lambda: client.containers.run("busybox", ["nope"], remove=True))

# a container that stays
box = client.containers.run(
    "busybox",
    ["sh", "-c", 'trap "exit 5" TERM; echo up; while :; do usleep 20000; done'],
    detach=True,
    name="py",
    labels={"a": "b"},
)
for line in box.logs(stream=True, follow=True):
    seen["first line"] = line.decode()
    break
box.reload()
seen["status"] = [box.status, box.name, box.labels, box.image.tags]
seen["exec"] = list(box.exec_run(["sh", "-c", "echo o; echo e >&2; exit 7"], demux=True))
seen["exec"] = [seen["exec"][0], [part.decode() for part in seen["exec"][1]]]
seen["exec options"] = box.exec_run("pwd", workdir="/tmp", user="3", environment={"K": "v"}).output.decode()
seen["exec stream"] = b"".join(box.exec_run(["sh", "-c", "echo 1; echo 2"], stream=True).output).decode()
seen["exec tty"] = box.exec_run("tty", tty=True).output.decode()
missing = box.exec_run("nope")
seen["exec nope"] = [missing.exit_code, "not found" in missing.output.decode()]
_, sock = box.exec_run("cat", stdin=True, socket=True)
sock._sock.sendall(b"typed\n")
sock._sock.shutdown(1)
frames = b""
while True:
    chunk = sock._sock.recv(4096)
    if not chunk:
        break
    frames += chunk
seen["exec socket"] = frames[8:].decode()
seen["top"] = [len(box.top()["Processes"]) > 0, box.top()["Titles"][0]]
stats = box.stats(stream=False)
seen["stats"] = [stats["name"], stats["pids_stats"]["current"] > 0, stats["memory_stats"]["usage"] > 0]
seen["stats stream"] = [one["name"] for one, _ in zip(box.stats(stream=True, decode=True), range(2))]
seen["put"] = box.put_archive("/tmp", tar("copied", b"copied"))
stream, stat = box.get_archive("/tmp/copied")
with tarfile.open(fileobj=io.BytesIO(b"".join(stream))) as archive:
    seen["get"] = [stat["name"], stat["size"], archive.extractfile("copied").read().decode()]
seen["get nothing"] = error(lambda: box.get_archive("/nope"))
seen["diff"] = {"Path": "/tmp/copied", "Kind": 1} in box.diff()
box.update(mem_limit="64m", memswap_limit="128m")
box.pause()
box.reload()
seen["paused"] = box.status
box.unpause()
seen["list"] = [
    [one.name for one in client.containers.list(filters={"label": "a=b", "status": "running"})],
    [one.name for one in client.containers.list(filters={"name": "nope"}, all=True)],
]
box.rename("snake")
seen["renamed"] = client.containers.get("snake").attrs["HostConfig"]["Memory"]
box.restart(timeout=5)
while box.logs().count(b"up") < 2:
    pass
box.stop(timeout=5)
seen["wait"] = box.wait()
seen["logs"] = box.logs(tail=1, timestamps=False).decode()
seen["since"] = box.logs(since=2**31 - 1).decode()
box.start()
box.kill("KILL")
seen["killed"] = box.wait(condition="not-running")["StatusCode"]
events = client.events(since=0, until=2**31 - 1, decode=True, filters={"container": "snake", "event": "rename"})
seen["events"] = next(events)["Action"]
events.close()
box.remove()
seen["gone"] = error(lambda: client.containers.get("snake"))

# attach, with stdin
cat = client.containers.create("busybox", "cat", stdin_open=True, name="cat")
sock = cat.attach_socket(params={"stdin": 1, "stdout": 1, "stderr": 1, "stream": 1})
cat.start()
sock._sock.sendall(b"through\n")
sock._sock.shutdown(1)
frames = b""
while True:
    chunk = sock._sock.recv(4096)
    if not chunk:
        break
    frames += chunk
seen["attach"] = frames[8:].decode()
cat.remove(force=True)

# images
image = client.images.get("busybox")
seen["tag"] = image.tag("busy", "py")
seen["images"] = sorted(tag for one in client.images.list() for tag in one.tags)
seen["history"] = len(image.history())
saved = b"".join(client.images.get("busy:py").save(named="busy:py"))
client.images.remove("busy:py")
seen["loaded"] = [one.tags for one in client.images.load(saved)]
client.images.remove("busy:py")
seen["no such image"] = error(lambda: client.images.get("nope"))

# volumes
volume = client.volumes.create("kept", labels={"k": "v"})
client.containers.run("busybox", ["sh", "-c", "echo kept > /d/x"], volumes={"kept": {"bind": "/d"}}, remove=True)
seen["volume"] = client.containers.run("busybox", ["cat", "/d/x"], volumes={"kept": {"bind": "/d"}}, remove=True).decode()
seen["volumes"] = [one.name for one in client.volumes.list(filters={"label": "k=v"})]
volume.remove()
seen["no volume"] = error(lambda: client.volumes.get("kept"))
seen["prune"] = client.containers.prune()["ContainersDeleted"]

json.dump(seen, sys.stdout)
