import { afterAll, describe, expect, test } from "bun:test";
import { Client, cannotCompare, docker } from "../clients/docker.ts";
import { command, engineForTests } from "../harness.ts";

/** Lines of one life of volumes, with what is typed; both command lines say the same, with the same status. */
const LINES: readonly (string | readonly [line: string, stdin: string])[] = [
  "volume create --label a=b one",
  "volume create -o type=tmpfs -o device=tmpfs memory",
  "volume create -o type=tmpfs nothing",
  "volume create --driver none nothing",
  "volume create a/b",
  "volume create --name two three",
  "volume create --name two",
  "volume ls",
  "volume ls --format '{{.Name}} {{.Driver}} {{.Scope}} {{.Labels}} {{.Links}} {{.Size}} {{.Status}} {{.Group}} {{.Availability}}'",
  "volume ls --format json",
  "volume ls -q -f dangling=true -f name=o",
  "volume ls -f colour=red",
  "volume inspect one none",
  "volume inspect -f '{{json .Options}}' memory",
  "run --rm -v one:/v busybox sh -c 'echo x > /v/x'",
  "run --name user -v one:/v:ro busybox cat /v/x",
  "inspect -f '{{json .Mounts}}' user",
  "run --rm --volumes-from user busybox touch /v/y",
  "run --rm --volumes-from none busybox true",
  "run --rm --mount type=image,src=busybox,dst=/i busybox cat /i/etc/passwd",
  "run --rm --mount type=image,src=busybox,dst=/i,image-subpath=etc busybox ls /i",
  "run --rm --mount type=volume,src=one,dst=/v,volume-subpath=none busybox true",
  "run --rm --mount type=volume,src=opt,dst=/v,volume-opt=type=tmpfs,volume-opt=device=tmpfs busybox grep -c '/v tmpfs' /proc/mounts",
  "run --rm --mount type=bind,src=/none,dst=/v busybox true",
  "run --rm --mount type=bind,src=$D,dst=/v,bind-propagation=up busybox true",
  "run --rm -v one:/v:fast busybox true",
  "run --rm -v one:v busybox true",
  "run --rm --tmpfs /t:size=1m,mode=700 busybox stat -c %a /t",
  "volume rm one none",
  // Sizes of images are what they take on the disk here: less than docker's unpacked ones, or more by their indexes.
  "system df --format 'table {{.Type}}\t{{.TotalCount}}\t{{.Active}}'",
  "system df --format '{{.Type}} {{.TotalCount}} {{.Active}}'",
  "system df -v --format '{{range .Volumes}}{{.Name}} {{.Links}} {{.Size}};{{end}}'",
  ["volume prune", "n\n"],
  ["container prune", "n\n"],
  ["image prune -a", "n\n"],
  ["system prune -a --volumes --filter label=none", ""],
  "system prune --volumes --filter until=1h",
  ["container prune", "y\n"],
  "container prune -f",
  ["volume prune -a --filter label=a", "y\n"],
  "volume prune -f",
  "image prune -f",
  "volume ls -q",
  "system prune -f --volumes",
  "volume prune -fa",
  "volume update none",
];

const words = (line: string) => (line.match(/'[^']*'|\S+/g) ?? []).map((word) => word.replaceAll("'", ""));

describe.skipIf(cannotCompare !== "")(`volumes by docker and by inro${cannotCompare && ` (${cannotCompare})`}`, () => {
  const engines = cannotCompare ? [] : [engineForTests(), engineForTests()];
  const clients = engines.map((engine, i) => new Client(i === 0 ? [docker!] : command, engine));
  afterAll(() => {
    for (const client of clients) client.close();
  });

  /** What is each client's own has a common name. */
  const plain = (text: string, i: number) =>
    text
      .replaceAll(clients[i]!.directory, "$D")
      .replaceAll(engines[i]!.dir, "ROOT")
      .replace(/\b[0-9a-f]{64}\b/g, "ID")
      .replace(/\d{4}-\d\d-\d\dT[\d:]+Z/g, "TIME")
      // What docker's says twice.
      .replace(/^time="TIME" .*\n/gm, "")
      .replace(/\b(docker|inro):? /g, "CLI ")
      .replace(/\n+(Usage|Run|See).*/s, "\n");

  for (const entry of LINES) {
    const [line, stdin] = typeof entry === "string" ? [entry] : entry;
    test(line, async () => {
      const [theirs, ours] = await Promise.all(
        clients.map(async (client, i) => {
          const { code, out, err } = await client.run(words(line), stdin);
          return { code, out: plain(out, i), err: plain(err, i) };
        }),
      );
      expect(ours!).toEqual(theirs!);
    });
  }
});
