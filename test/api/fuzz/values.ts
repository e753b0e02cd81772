import fc from "fast-check";
import { SCHEMAS } from "./schemas.ts";

/**
 * Values by type: mostly those that mean something, then those at the edges, then what is not even of the type. Nothing
 * here reaches beyond the test's own engine: commands end by themselves, paths of the host lie in `FUZZ_DIR`, and what
 * would go to a registry goes to a closed port.
 */
const SPEAKS = ["sh", "-c", "echo out; echo err >&2; exit 3"];
/** Until it is stopped, and then it ends at once. */
const STAYS = ["sh", "-c", "trap exit TERM; echo up; sleep 1000 & wait"];
const FUZZ_DIR = "{dir}";

const HOSTILE = [
  ...[
    "",
    " ",
    "a b",
    "../..",
    "/",
    "..",
    "x".repeat(300),
    "x".repeat(70_000),
    "é\n\t",
    "a\0b",
    "__proto__",
    "constructor",
  ],
  ...["%2F", "-1", "0", "null", "\ud800", "💣", "a:b:c", "=", ",", "{", "a/b", "*", "$(id)", "1e3", "true"],
];
const NUMBERS = [0, 1, -1, 2, 5, 10, 80, 100, 1000, 65_535, 65_536, 1e6, 2 ** 31, 2 ** 53, -(2 ** 53), 1e300, 1.5];
const BYTES = [0, 1, -1, 4096, 6 << 20, 8 << 20, 64 << 20, 1 << 30, 2 ** 50, 2 ** 53, -5];

const POOLS: Record<string, readonly string[]> = {
  container: ["fa", "fa", "fa", "fb", "fb", "/fa", "nope"],
  image: ["busybox", "busybox", "busybox:latest", "host", "nope", "sha256:abc", "BUSY"],
  lostImage: ["nope", "made:1", "made:2", "sha256:abc"],
  exec: ["nope"],
  volume: ["va", "vb", "vc", `${FUZZ_DIR}/bound`],
  network: ["na", "na", "nb", "bridge", "host", "none", "nope"],
  lostNetwork: ["na", "na", "nope", "bridge"],
  repo: ["made", "made:1", "Bad Name", "a/b/c"],
  tag: ["1", "2", "bad tag", ""],
  remote: ["127.0.0.1:1/x:1", "127.0.0.1:99999/x", "[::::]:1/x", "127.0.0.1:1/x", "Bad Name", "x@sha256:12"],
  dash: ["-", "-", "http://127.0.0.1:1/x.tar", ""],
  platform: ["linux/amd64", "linux/arm64", "windows/amd64", "a/b/c/d", "{}"],
  platformJson: [
    '{"os":"linux","architecture":"amd64"}',
    '{"os":"linux","architecture":"arm64"}',
    "{}",
    "linux/amd64",
    "{",
  ],
  psArgs: ["-ef", "aux", "-o pid,cmd", "-o nope", "-Z"],
  keys: ["ctrl-p,ctrl-q", "a", "ctrl-", "", "ctrl-@"],
  signal: ["SIGTERM", "KILL", "9", "0", "SIGNOPE", "64", "65"],
  condition: ["not-running", "next-exit", "removed", "never"],
  dfType: ["container", "image", "volume", "build-cache", "nope"],
  path: ["/", "/etc", "/etc/passwd", "/x/y", "relative", "/../..", "/proc/self", "/dev/null"],
  change: ["CMD true", "ENV A=b", "EXPOSE 80", "NOPE x", "LABEL a=b"],
  host: ["host", "a.b", "a\nb"],
  user: ["root", "0:0", "1000", "user", "audio", "nobody:nope", "4294967296"],
  env: ["A=b", "PATH", "=x", "B=", "A=b=c"],
  command: ["true", "sleep", "0.05", "sh", "-c", "exit 3", "nope", "/etc"],
  healthTest: ["CMD", "CMD-SHELL", "NONE", "true", "false"],
  bind: [`${FUZZ_DIR}/b1:/data`, `${FUZZ_DIR}/b2:/etc:ro`, "va:/vol", "vb:/vol:nocopy", "va", ":/x", "va:/x:z,Z,ro,rw"],
  networkMode: ["none", "host", "default", "bridge", "na", "", "container:fa", "container:nope", "nope"],
  mode: ["", "host", "private", "none", "shareable", "container:fa", "container:nope", "nope"],
  userns: ["", "host", "auto", "auto:size=2000", "auto:size=1", "nope"],
  restart: ["", "no", "on-failure", "nope"],
  driver: ["local", "", "nope"],
  networkDriver: ["bridge", "bridge", "", "macvlan", "overlay", "nope", "a b"],
  subnet: ["10.99.0.0/24", "10.98.0.0/16", "fd00:99::/64", "10.99.0.1", "10.99.0.0/33", "0.0.0.0/0", "127.0.0.0/8"],
  address: ["10.99.0.5", "10.99.0.1", "fd00:99::5", "1.2.3", "0.0.0.0", "::1"],
  mac: ["02:42:ac:11:00:02", "ff:ff:ff:ff:ff:ff", "x", "00:00:00:00:00:00"],
  alias: ["web", "a b", "-", "fa"],
  volumesFrom: ["fa", "fb:ro", "nope", "fa:zz"],
  capability: ["ALL", "NET_ADMIN", "CAP_CHOWN", "nope"],
  securityOption: ["no-new-privileges", "seccomp=unconfined", "seccomp={}", "apparmor=x", "label=disable", "nope=1"],
  runtime: ["", "inro", "runc", "nope"],
  cgroupParent: ["", "a/../b", "..", "x:y"],
  cpus: ["0", "0-1", "0,0", "5-1", "999", "a"],
  device: ["/dev/null", "/dev/zero", "/dev/nope", "null", "/dev/loop0", "/etc"],
  deviceRule: ["c 1:3 rwm", "a *:* rwm", "x", "b 99999999999:1 r"],
  access: ["rwm", "r", "x", "rr"],
  ulimit: ["nofile", "core", "nope", "NOFILE"],
  tmpfs: ["", "size=1m", "size=1,mode=0", "bind", "size=-1", "ro,exec"],
  logDriver: ["json-file", "local", "none", "nope"],
  logOption: ["10m", "0", "3", "true", "-1", "{{.Name}}", "{{range 9}}x{{end}}", "(a+)+b", "^A"],
  mountType: ["bind", "volume", "tmpfs", "image", "npipe", "nope"],
  propagation: ["", "rprivate", "shared", "rslave", "nope"],
  noRegistry: ["127.0.0.1:1", "Bad Name", "127.0.0.1:99999", "[x]"],
  networkOption: ["true", "false", "br-fuzz", "1500", "eth", "nat", "99999999"],
  extraHost: ["a:10.0.0.1", "a:host-gateway", "a", "a:x", ":"],
  link: ["fa:web", "fa", "nope:x", ":"],
  ports: [],
};

const keys: Record<string, readonly string[]> = {
  none: ["80/tcp", "53/udp", "70000", "/data", "/", "x"],
  tmpfs: ["/tmp", "/run", "/", "x"],
  logOption: ["max-size", "max-file", "mode", "tag", "env-regex", "labels", "nope"],
  Endpoint: ["default", "none", "na", "bridge"],
  networkOption: [
    "com.docker.network.bridge.name",
    "com.docker.network.driver.mtu",
    "com.docker.network.bridge.enable_icc",
    "com.docker.network.bridge.gateway_mode_ipv4",
    "nope",
  ],
};

const filters = fc.dictionary(
  fc.constantFrom(
    ...["label", "name", "id", "status", "until", "before", "since", "ancestor", "type", "event", "dangling", "nope"],
    ...["reference", "volume", "network", "health", "exited", "expose", "is-task", "driver", "scope"],
  ),
  fc.oneof(
    fc.array(
      fc.oneof(
        fc.constantFrom("fa", "busybox", "running", "1h", "0", "a=b", "true", "80/tcp", "f.*", "(a+)+b", "a*a*a*a*a*b"),
        hostileText(),
      ),
      {
        maxLength: 3,
      },
    ),
    fc.dictionary(fc.constantFrom("fa", "true", "x("), fc.constantFrom<unknown>(true, false, 1), { maxKeys: 2 }),
    anything(),
  ),
  { maxKeys: 2 },
);

function hostileText(): fc.Arbitrary<string> {
  return fc.oneof(fc.constantFrom(...HOSTILE), fc.string({ maxLength: 20, unit: "binary" }));
}

function anything(): fc.Arbitrary<unknown> {
  return fc.oneof(
    fc.constantFrom<unknown>(null, true, false, 7, -1, "x", [], {}, [[]], [null], { a: null }),
    fc.jsonValue({ maxDepth: 2 }),
  );
}

/** A JSON value of a type of the schemas. */
export function jsonOf(type: string, depth = 0): fc.Arbitrary<unknown> {
  return fc.oneof({ weight: 12, arbitrary: goodValue(type, depth) }, { weight: 1, arbitrary: anything() });
}

function goodValue(type: string, depth: number): fc.Arbitrary<unknown> {
  const [, open, inner] = /^([[{])(\w+)[\]}]$/.exec(type) ?? [];
  if (open === "[") return fc.array(jsonOf(inner!, depth + 1), { maxLength: 3 });
  if (open === "{") {
    const key = fc.oneof(
      { weight: 3, arbitrary: fc.constantFrom(...(keys[inner!] ?? ["a", "com.example.b"])) },
      hostileText(),
    );
    return fc.dictionary(key, jsonOf(inner!, depth + 1), { maxKeys: 2 });
  }
  if (SCHEMAS.has(type)) return objectOf(type, depth);
  switch (type) {
    case "bool":
      return fc.boolean();
    case "int":
      return fc.oneof(fc.constantFrom(...NUMBERS), fc.integer({ min: -10, max: 2000 }));
    case "seconds":
      return fc.constantFrom(0, 1, 1.5, 1e300);
    case "bytes":
      return fc.constantFrom(...BYTES);
    case "none":
      return fc.constant({});
    case "command":
      return fc.oneof(
        {
          weight: 8,
          arbitrary: fc.constantFrom(["true"], ["sleep", "0.05"], SPEAKS, STAYS, STAYS),
        },
        fc.array(text(type), { maxLength: 2 }),
      );
    case "ports":
      return fc.array(
        fc.record({ HostIp: text("text"), HostPort: fc.constantFrom("", "0", "x", "99999", "8080", "8000-8002") }),
        {
          maxLength: 2,
        },
      );
    default:
      return text(type);
  }
}

function text(type: string): fc.Arbitrary<string> {
  const pool = POOLS[type] ?? ["text", "other", "10.0.0.1", "com.example"];
  return fc.oneof({ weight: 6, arbitrary: fc.constantFrom(...pool) }, { weight: 1, arbitrary: hostileText() });
}

/** Some of a schema's fields, and now and then one that nobody knows. */
export function objectOf(name: string, depth = 0): fc.Arbitrary<object> {
  const fields = SCHEMAS.get(name);
  if (!fields) throw new Error(`no schema ${name}`);
  const some = fc
    .subarray(fields, { maxLength: Math.min(depth > 2 ? 2 : 4, fields.length) })
    .chain((chosen) =>
      fc.record(Object.fromEntries(chosen.map((field) => [field.name, jsonOf(field.type, depth + 1)]))),
    );
  const base = BASES[name];
  return base ? fc.tuple(base(), some).map(([one, other]) => ({ ...one, ...other })) : some;
}

/** Without these next to nothing would come to pass. */
const BASES: Record<string, () => fc.Arbitrary<object>> = {
  Create: () =>
    fc.record({ Image: fc.constantFrom("busybox", "busybox", "host", "nope"), Cmd: goodValue("command", 0) }),
  ExecConfig: () => fc.record({ Cmd: goodValue("command", 0) }),
  NetworkCreate: () => fc.record({ Name: text("network") }),
  NetworkConnect: () => fc.record({ Container: text("container") }),
  NetworkDisconnect: () => fc.record({ Container: text("container") }),
};

/** A query parameter's text; several for those that repeat. */
export function queryOf(type: string): fc.Arbitrary<string> {
  switch (type) {
    case "bool":
      return fc.constantFrom("1", "0", "true", "false", "", "no", "x");
    case "int":
      return fc.oneof(
        fc.constantFrom("0", "1", "-1", "10", "65535", "65536", "all", "1.5", "", "99999999999999999999"),
      );
    case "seconds":
      return fc.constantFrom("0", "1", "", "x", "1.5", "99999999999999999999");
    case "time":
      return fc.oneof(
        fc.constantFrom("0", "1", "1700000000.5", "2030-01-01T00:00:00Z", "-1", "x", "", "1h", "99999999999999"),
        hostileText(),
      );
    case "filters":
      return fc.oneof(
        { weight: 5, arbitrary: filters.map((value) => JSON.stringify(value)) },
        fc.constantFrom("{", "[]", "null", "7", '"x"', ""),
      );
    case "pruneNone":
      // The image of the tests must stay.
      return fc.constantFrom('{"dangling":["true"]}', '{"until":["x"]}', '{"dangling":["x"]}', '{"nope":["1"]}', "{");
    default:
      return text(type);
  }
}

/** A name in a path. */
export const nameOf = (kind: string): fc.Arbitrary<string> => text(kind);
