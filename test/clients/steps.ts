import type { Client, Said } from "./docker.ts";

/** `$D` in a word is the client's directory. */
export type Word = string;

export interface Step {
  name: string;
  words: Word[];
  /** The exit status that docker's command line gives. */
  code: number;
  /** What its stdout matches. */
  out?: RegExp;
  stdin?: string;
  /** Repeat until stdout matches this. */
  until?: RegExp;
  /** Why ours prints something else. */
  differs?: string;
  /** Why dockerd answers something else. */
  dockerd?: string;
}

const literal = (text: string) => text.replace(/[.*+?^${}()|[\]\\]/g, "\\$&");
const words = (line: string): Word[] => (line.match(/'[^']*'|\S+/g) ?? []).map((word) => word.replaceAll("'", ""));

/** A line as a shell would cut it, its status, and its whole stdout or what that matches. */
function step(line: string, code: number, out?: string | RegExp, more: Partial<Step> = {}): Step {
  const pattern = typeof out === "string" ? new RegExp(`^${literal(out)}$`) : out;
  return { name: line, words: words(line), code, ...(pattern ? { out: pattern } : {}), ...more };
}

const ID = /^[0-9a-f]{64}\n$/;
const IMAGE_ID = /^sha256:[0-9a-f]{64}\n$/;
/** Says that it is up, and ends with 5 at a TERM. */
const SERVER = `'trap "exit 5" TERM; echo up; while :; do usleep 20000; done'`;

/** One life of containers, images and volumes, as a table of commands. */
export const STEPS: Step[] = [
  // Running.
  step("run --rm busybox echo hi", 0, "hi\n"),
  step("run --rm busybox sh -c 'echo o; echo e >&2; exit 3'", 3, "o\n"),
  step("run --rm --init busybox sh -c 'kill -9 $$'", 137, ""),
  step("run --rm --init busybox sh -c 'kill -TERM $$'", 143, ""),
  step("run --rm busybox nope", 127, ""),
  step("run --rm busybox /etc", 126, ""),
  step("run --nope busybox", 125, ""),
  step("run --rm -m x busybox", 125, ""),
  step("run --rm -i busybox cat", 0, "through\n", { stdin: "through\n" }),
  step("run --rm -a stdout busybox sh -c 'echo o; echo e >&2'", 0, "o\n"),
  step(
    "run --rm -e A=b -e GIVEN -e INRO_TEST_NONE --env-file $D/env busybox sh -c 'echo $A $GIVEN $FROM_FILE'",
    0,
    "b given yes\n",
  ),
  step("run --rm -w /tmp -u 12:13 busybox sh -c 'pwd; id -u; id -g'", 0, "/tmp\n12\n13\n"),
  step("run --rm -h inside busybox hostname", 0, "inside\n"),
  step("run --rm --read-only busybox touch /x", 1, ""),
  step("run --rm --tmpfs /t:size=1m busybox sh -c 'df /t | tail -n 1 | cut -c1-5'", 0, "tmpfs\n"),
  step("run --rm -v $D:/d:ro busybox cat /d/data", 0, "data\n"),
  step("run --rm -v $D:/d:ro busybox touch /d/x", 1, ""),
  step("run --rm --mount type=bind,src=$D,dst=/d busybox cat /d/data", 0, "data\n"),
  step("run --rm --mount type=bind,src=$D/none,dst=/d busybox true", 125, ""),
  step("run --rm --entrypoint /bin/echo busybox a b", 0, "a b\n"),
  step("run --rm --cap-drop ALL busybox grep CapEff /proc/self/status", 0, "CapEff:\t0000000000000000\n"),
  step("run --rm --ulimit nofile=64 busybox sh -c 'ulimit -n'", 0, "64\n"),
  step("run --rm --network none busybox ls /sys/class/net", 0, "lo\n"),
  step("run --rm --init busybox sh -c 'echo $$'", 0, /^[2-9]\n$/, {
    dockerd: "its runtime starts more processes before",
  }),
  step("run --rm -t busybox tty", 0, "/dev/pts/0\r\n"),
  step("run --rm --pull never nothing:here true", 125, ""),
  step("run --rm --pull sometimes busybox true", 125, ""),
  step("run --rm --add-host name:1.2.3.4 busybox grep name /etc/hosts", 0, "1.2.3.4\tname\n"),
  step("run --rm --cidfile $D/cid busybox true", 0, ""),
  step("run --rm --cidfile $D/cid busybox true", 125, ""),
  step("run --rm --restart always busybox true", 125, ""),
  step("ps -aq", 0, ""),

  // Created, started, attached.
  step("create --name made -l a=b busybox sh -c 'echo made; exit 4'", 0, ID),
  step("create --name made busybox", 1, ""),
  step("create --name a/b busybox", 1, ""),
  step("create -p x busybox", 125, ""),
  step("ps -a --format '{{.Names}} {{.State}} {{.Image}} {{.Labels}}'", 0, "made created busybox a=b\n"),
  step("ps -q", 0, ""),
  step("start -a made", 4, "made\n"),
  step("start made", 0, "made\n"),
  step("wait made", 0, "4\n"),
  step("logs made", 0, "made\nmade\n"),
  step("logs --tail 1 made", 0, "made\n"),
  step("logs -t made", 0, /^\d{4}-.*Z made\n/),
  step(
    "inspect -f '{{.Name}} {{.State.Status}} {{.State.ExitCode}} {{.Config.Image}} {{.Config.Cmd}}' made",
    0,
    /^\/made exited 4 busybox \[sh -c/,
  ),
  step(
    "inspect -f '{{json .Config.Labels}} {{len .Id}} {{.HostConfig.RestartPolicy.Name}}' made",
    0,
    '{"a":"b"} 64 no\n',
  ),
  step("inspect --type container -f '{{.Args}}' made", 0, /^\[-c/),
  step("inspect --type image made", 1, "[]\n"),
  step("container inspect nope", 1, "[]\n"),
  step("inspect nope", 1, "[]\n"),
  step("inspect -f '{{.Nope}}' made", 1, "\n"),
  step("inspect -f '{{' made", 64, ""),
  step("ps -a --filter label=a=b --filter status=exited --format '{{.Names}}'", 0, "made\n"),
  step("ps -a --filter exited=4 -q --no-trunc", 0, ID),
  step("ps -a --filter name=ade --format '{{.Command}} {{.Status}}'", 0, /^"sh -c 'echo made; e…" Exited \(4\) /),
  step(
    "ps -a --filter status=running",
    0,
    /^CONTAINER ID {3}IMAGE {5}COMMAND {3}CREATED {3}STATUS {4}PORTS {5}NAMES\n$/,
  ),
  step("ps -a --filter nope=x", 1, ""),
  step("ps -a --filter status=nope", 1, ""),
  step("ps -l --format '{{.Names}}'", 0, "made\n"),
  step("ps -a --format 'table {{.Names}}\\t{{.Image}}'", 0, "NAMES     IMAGE\nmade      busybox\n"),
  step("port made", 0, ""),
  step("rename made other", 0, ""),
  step("rename nope x", 1, ""),
  step("rm other nope", 1, "other\n"),
  step("rm -f nope", 0, ""),
  step("create -i --name cat busybox cat", 0, ID),
  step("start -ai cat", 0, "typed\n", { stdin: "typed\n" }),
  step("start nope", 1, ""),
  step("rm cat", 0, "cat\n"),

  // Running on.
  step(`run -d --name web -l role=web --stop-timeout 5 busybox sh -c ${SERVER}`, 0, ID),
  step("logs web", 0, "up\n", { until: /up/ }),
  step("ps --format '{{.Names}} {{.State}} {{.RunningFor}}'", 0, /^web running .* ago\n$/),
  step("exec web echo in", 0, "in\n"),
  step("exec -w /tmp -u 3:4 -e K=v web sh -c 'pwd; id -u; echo $K'", 0, "/tmp\n3\nv\n"),
  step("exec -i web cat", 0, "typed\n", { stdin: "typed\n" }),
  step("exec web sh -c 'echo o; echo e >&2; exit 9'", 9, "o\n"),
  step("exec web nope", 127, undefined, { dockerd: "126 and runc's words" }),
  step("exec -t web tty", 0, "/dev/pts/0\r\n"),
  step("exec --privileged web grep CapEff /proc/self/status", 0, /[1-9a-f]{8}\n$/, {
    dockerd: "its runtime is not privileged enough on this machine",
  }),
  step("exec --env-file $D/env web sh -c 'echo $FROM_FILE'", 0, "yes\n"),
  step("exec -d web sh -c 'echo done > /done'", 0, ""),
  step("exec web cat /done", 0, "done\n", { until: /done/ }),
  step("exec nope true", 1, ""),
  step("exec web", 1, ""),
  // By pid, which is not by age where the ids begin again.
  step("top web -o pid,comm", 0, /^PID +COMMAND\n(?:\d+ +\w+\n)*\d+ +sh\n/, {
    differs: "the processes have other ids",
    dockerd: "the processes have other ids",
  }),
  step("stats --no-stream --format '{{.Name}} {{.Container}}' web", 0, "web web\n"),
  step("stats --no-stream --format '{{.PIDs}}' nope", 1),
  step("pause web", 0, "web\n"),
  step("pause web", 1, ""),
  step("inspect -f '{{.State.Status}} {{.State.Paused}}' web", 0, "paused true\n"),
  step("exec web true", 1, ""),
  step("attach --no-stdin web", 1, ""),
  step("unpause web", 0, "web\n"),
  step("unpause web", 1, ""),
  step("update -m 64m --memory-swap 128m --cpus 0.5 --pids-limit 50 web", 0, "web\n"),
  step(
    "inspect -f '{{.HostConfig.Memory}} {{.HostConfig.MemorySwap}} {{.HostConfig.NanoCpus}} {{.HostConfig.PidsLimit}}' web",
    0,
    "67108864 134217728 500000000 50\n",
  ),
  step("update -m x web", 125, ""),
  step("update -m 64m nope", 1, ""),
  step("cp $D/data web:/copied", 0, ""),
  step("exec web cat /copied", 0, "data\n"),
  step("cp web:/copied $D/back", 0, ""),
  step("run --rm -v $D:/d busybox cat /d/back", 0, "data\n"),
  step("cp web:/nope $D", 1, ""),
  step("cp nothing $D", 1, ""),
  step("diff web", 0, /^A \/copied$/m, { dockerd: "in no particular order" }),
  step("kill -s USR9 web", 1, ""),
  step("stop web", 0, "web\n"),
  step("stop web", 0, "web\n"),
  step("wait web", 0, "5\n"),
  step("kill web", 1, ""),
  step("attach web", 1, ""),
  step("start web web", 0, "web\nweb\n"),
  step("restart -t 5 web", 0, "web\n"),
  step("inspect -f '{{.State.Running}} {{.RestartCount}}' web", 0, "true 0\n"),
  step("kill web", 0, "web\n"),
  step("wait web", 0, "137\n"),
  step("rm web nope", 1, "web\n"),

  // Images.
  step("images --format '{{.Repository}}:{{.Tag}}'", 0, "busybox:latest\n"),
  step("images -q --no-trunc busybox", 0, IMAGE_ID),
  step("images nope", 0, "REPOSITORY   TAG       IMAGE ID   CREATED   SIZE\n"),
  step(
    "image inspect -f '{{.RepoTags}} {{.Os}} {{.RootFS.Type}} {{len .RootFS.Layers}}' busybox",
    0,
    "[busybox:latest] linux layers 1\n",
  ),
  step("image inspect nope", 1, "[]\n"),
  step("tag busybox box:1", 0, ""),
  step("tag nope box:2", 1, ""),
  step("tag busybox A:B:C", 1, ""),
  step("images --filter reference=box --format '{{.Repository}}:{{.Tag}}'", 0, "box:1\n"),
  step("history --format '{{.Comment}}' busybox", 0, /^.*\n$/),
  step("history -q --no-trunc busybox", 0, IMAGE_ID),
  step("save -o $D/box.tar box:1", 0, ""),
  step("save nope", 1, ""),
  step("rmi box:1", 0, "Untagged: box:1\n"),
  step("rmi box:1", 1, ""),
  step("load -i $D/box.tar", 0, "Loaded image: box:1\n"),
  step("load -q -i $D/box.tar", 0, "Loaded image: box:1\n"),
  step("load -i $D/none", 1, ""),
  step("import -c 'ENV A=b' -m words $D/none x", 1, ""),
  step("rmi -f box:1 nope", 0, "Untagged: box:1\n"),
  step("pull nope:x:y", 1, ""),

  // Restart policies and health checks.
  step("run -d --name loops --restart on-failure:2 busybox sh -c 'exit 7'", 0, ID),
  step("inspect -f '{{.RestartCount}} {{.State.ExitCode}} {{.State.Status}}' loops", 0, "2 7 exited\n", {
    until: /exited/,
  }),
  step("update --restart always loops", 0, "loops\n"),
  step("start loops", 0, "loops\n"),
  step("ps --filter name=loops --format '{{.State}} {{.Status}}'", 0, /^restarting Restarting \(7\) .* ago\n$/, {
    until: /restarting/,
  }),
  step("rm loops", 1, ""),
  step("stop loops", 0, "loops\n"),
  step(
    "inspect -f '{{.State.Status}} {{.State.Restarting}} {{.HostConfig.RestartPolicy.Name}}' loops",
    0,
    "exited false always\n",
  ),
  step(
    "run -d --name checked --health-cmd 'test -d /bin' --health-interval 20ms --health-retries 1 busybox sleep 1000",
    0,
    ID,
  ),
  step("ps --filter health=healthy --format '{{.Names}} {{.Status}}'", 0, /^checked Up .* \(healthy\)\n$/, {
    until: /checked/,
  }),
  step(
    "inspect -f '{{.State.Health.Status}} {{.State.Health.FailingStreak}} {{.Config.Healthcheck.Test}}' checked",
    0,
    "healthy 0 [CMD-SHELL test -d /bin]\n",
  ),
  step("ps --filter health=well", 1, ""),
  step("run --rm --no-healthcheck --health-cmd x busybox true", 125, ""),
  step("run --rm --health-interval 1us --health-cmd x busybox true", 125, ""),
  step("rm -f loops checked", 0, "loops\nchecked\n"),

  // Volumes.
  step("volume create --label a=b data", 0, "data\n"),
  step("volume create data", 0, "data\n"),
  step("volume ls", 0, "DRIVER    VOLUME NAME\nlocal     data\n"),
  step("volume ls -q --filter label=a=b", 0, "data\n"),
  step("volume inspect -f '{{.Name}} {{.Driver}} {{.Scope}} {{.Labels}}' data", 0, "data local local map[a:b]\n"),
  step("run --rm -v data:/d busybox sh -c 'echo kept > /d/file'", 0, ""),
  step("run --rm -v data:/d:ro busybox cat /d/file", 0, "kept\n"),
  step("inspect --type volume -f '{{.Name}}' data", 0, "data\n"),
  step("volume rm data", 0, "data\n"),
  step("volume rm data", 1, ""),
  step("volume inspect data", 1, "[]\n"),

  // Changes become images.
  step("run --name changed busybox sh -c 'echo x > /file'", 0, ""),
  step("diff changed", 0, "A /file\n"),
  step("commit -m words -a me -c 'ENV A=b' changed committed:1", 0, IMAGE_ID),
  step("commit nope", 1, ""),
  step("run --rm committed:1 sh -c 'cat /file; echo $A'", 0, "x\nb\n"),
  step(
    "image inspect -f '{{.Comment}} {{.Author}} {{.Config.Env}} {{len .RootFS.Layers}}' committed:1",
    0,
    /^words me \[.*A=b.*\] 2\n$/,
  ),
  step("history --format '{{.Comment}}' committed:1", 0, /^words\n/),
  step("export -o $D/changed.tar changed", 0, ""),
  step("export -o $D/nope.tar nope", 1, ""),
  step(`import -c 'CMD ["cat", "/file"]' -m imported $D/changed.tar imported:1`, 0, IMAGE_ID),
  step("run --rm imported:1", 0, "x\n"),
  step(
    "image inspect -f '{{.Comment}} {{.Config.Cmd}} {{len .RootFS.Layers}}' imported:1",
    0,
    "imported [cat /file] 1\n",
  ),
  step("rmi imported:1", 0, /^Untagged: imported:1\nDeleted: sha256:/),
  step("rmi committed:1", 0, /^Untagged: committed:1\nDeleted: sha256:/),

  // Networks.
  step("network create --subnet 10.99.0.0/24 --label a=b front", 0, ID),
  step("network create front", 1, ""),
  step("network ls --format '{{.Name}} {{.Driver}} {{.Scope}}'", 0, /^bridge bridge local\nfront bridge local\n/, {
    dockerd: "started without a bridge",
  }),
  step("network ls -q --no-trunc --filter name=front", 0, ID),
  step(
    "network inspect -f '{{.Name}} {{(index .IPAM.Config 0).Subnet}} {{.Labels}}' front",
    0,
    "front 10.99.0.0/24 map[a:b]\n",
  ),
  step("network inspect nope", 1, "[]\n"),
  step("run -d --name near --network front --ip 10.99.0.5 -p 127.0.0.1:8099:80 busybox sleep 1000", 0, ID),
  step("port near", 0, "80/tcp -> 127.0.0.1:8099\n"),
  step("port near 80", 0, "127.0.0.1:8099\n"),
  step("port near 81", 1, ""),
  step("ps --format '{{.Names}} {{.Ports}} {{.Networks}}'", 0, "near 127.0.0.1:8099->80/tcp front\n"),
  step("ps --filter network=front --filter publish=8099 -q", 0, /^[0-9a-f]{12}\n$/),
  step("inspect -f '{{.NetworkSettings.Networks.front.IPAddress}}' near", 0, "10.99.0.5\n"),
  step("inspect -f '{{(index (index .NetworkSettings.Ports \"80/tcp\") 0).HostPort}}' near", 0, "8099\n"),
  step("exec near sh -c 'ifconfig eth0 | grep -o 10.99.0.5'", 0, "10.99.0.5\n"),
  step("run -p 8099:80 --network none busybox true", 0, ""),
  step("network disconnect front near", 0, ""),
  step("network connect --ip 10.99.0.6 front near", 0, ""),
  step("network connect nope near", 1, ""),
  step("inspect -f '{{.NetworkSettings.Networks.front.IPAddress}}' near", 0, "10.99.0.6\n"),
  step("network rm front", 1, ""),
  step("rm -f near", 0, "near\n"),
  step("network rm front", 0, "front\n"),
  step("network rm front", 1, ""),
  step("network create unused", 0, ID),
  step("network prune -f", 0, "Deleted Networks:\nunused\n\n"),

  // What is in use, and what is not.
  step(
    "system df --format '{{.Type}} {{.TotalCount}} {{.Active}}'",
    0,
    /^Images 1 1\nContainers 2 0\nLocal Volumes 0 0\n/,
  ),
  step("container prune -f", 0, /^Deleted Containers:\n[0-9a-f]{64}\n[0-9a-f]{64}\n\nTotal reclaimed space: /),
  step("container prune -f", 0, "Total reclaimed space: 0B\n"),
  step("image prune -f", 0, "Total reclaimed space: 0B\n"),
  step("volume create anonymous", 0, "anonymous\n"),
  step("volume prune -f -a", 0, /^Deleted Volumes:\nanonymous\n\nTotal reclaimed space: 0B\n$/, {
    dockerd: "older than that option",
  }),
  step("system prune -f", 0, "Total reclaimed space: 0B\n"),
  step(
    "events --since 1 --until 0s --filter volume=data --format '{{.Action}} {{.Actor.ID}}'",
    0,
    "create data\nmount data\nunmount data\nmount data\nunmount data\ndestroy data\n",
    { dockerd: "tells of volumes again that are there" },
  ),
  step("events --since x", 1, ""),
];

/** Begins all steps, one after the other; each test waits for its own. */
export function play(client: Client, steps: readonly Step[]): Promise<Said>[] {
  let before: Promise<unknown> = Promise.resolve();
  return steps.map((one) => {
    const said = before.then(() => playOne(client, one));
    before = said.catch(() => {});
    return said;
  });
}

/** A step that waits for something is repeated until it is there. */
async function playOne(client: Client, { words, stdin, until }: Step): Promise<Said> {
  let said = await client.run(words, stdin);
  while (until && !until.test(said.out)) said = await client.run(words, stdin);
  return said;
}

/** Ids, times and the directory are each client's own. */
export function comparable(text: string, directory: string): string {
  return text
    .replaceAll(directory, "$D")
    .replace(/\b(sha256:)?[0-9a-f]{64}\b/g, "ID")
    .replace(/\b(?=\d*[a-f])[0-9a-f]{12}\b/g, "ID")
    .replace(/\d{4}-\d\d-\d\d[T ]\d\d:\d\d:\d\d(\.\d+)?(Z| [+-]\d{4} \w+)?/g, "TIME")
    .replace(/(Less than a second|\d+ seconds?|About a minute)( ago)?/g, "SPAN");
}
