import { expect, test } from "bun:test";
import { DEFAULT_CAPABILITIES } from "../../security/capabilities.ts";
import type { ExecCreateRequest } from "../../spec/docker-api.ts";
import { execProcess, validateExec } from "./exec-process.ts";
import { FACTS, FILES, lookup } from "./fixture.ts";
import { toSpec } from "./to-spec.ts";
import { validateCreate } from "./validate-create.ts";

const id = "f".repeat(64);

function exec(request: ExecCreateRequest, body: object = {}) {
  const { config, host } = validateCreate({ Image: "x", Cmd: ["sh"], ...body }, undefined, FACTS);
  const spec = toSpec({ id, config, host, rootfs: { lookup }, volumes: [], facts: FACTS, hostFiles: FILES });
  return execProcess({ id, config, host, spec }, request, lookup, FACTS);
}

const CONTAINER = {
  User: "web",
  WorkingDir: "/srv",
  Env: ["A=1", "B=2"],
  HostConfig: {
    CapAdd: ["NET_ADMIN"],
    SecurityOpt: ["no-new-privileges"],
    Ulimits: [{ Name: "nofile", Soft: 10, Hard: 20 }],
    OomScoreAdj: 7,
  },
};
const PATH = "PATH=/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin";

test("what the request leaves open is as in the container", () => {
  const bounding = [...DEFAULT_CAPABILITIES];
  bounding.splice(bounding.indexOf("CAP_NET_RAW"), 0, "CAP_NET_ADMIN");
  expect(exec({ Cmd: ["id"] }, CONTAINER)).toEqual({
    terminal: false,
    user: { uid: 1000, gid: 1000, additionalGids: [1000, 44] },
    args: ["id"],
    env: [PATH, "HOSTNAME=ffffffffffff", "A=1", "B=2", "HOME=/srv/web"],
    cwd: "/srv",
    capabilities: { bounding },
    rlimits: [{ type: "RLIMIT_NOFILE", soft: 10, hard: 20 }],
    noNewPrivileges: true,
    oomScoreAdj: 7,
  });
});

test("own user, directory, variables and terminal", () => {
  const request = {
    Cmd: ["sh"],
    Tty: true,
    ConsoleSize: [24, 80],
    User: "0:44",
    WorkingDir: "/tmp",
    Env: ["B=3", "A"],
  };
  expect(exec(request as ExecCreateRequest, CONTAINER)).toMatchObject({
    terminal: true,
    consoleSize: { height: 24, width: 80 },
    user: { uid: 0, gid: 44 },
    env: [PATH, "HOSTNAME=ffffffffffff", "TERM=xterm", "B=3", "HOME=/root"],
    cwd: "/tmp",
  });
});

test("privileged gives what the engine has, to root in effect", () => {
  const { capabilities } = exec({ Cmd: ["sh"], Privileged: true });
  expect(capabilities?.effective).toEqual([...FACTS.capabilities]);
  expect(exec({ Cmd: ["sh"] }).capabilities?.effective).toEqual([...DEFAULT_CAPABILITIES]);
});

test.each([
  [{}, "no exec command specified"],
  [{ Cmd: [""] }, "no exec command specified"],
  [{ Cmd: "sh", Tty: 1 }, "invalid JSON: Tty: expected a boolean, got a number"],
  [{ Cmd: ["sh"], WorkingDir: "x" }, "the working directory 'x' is invalid"],
  [{ Cmd: ["sh"], Env: ["=1"] }, "invalid environment variable"],
  [{ Cmd: ["sh"], User: "a b" }, "invalid user"],
  [{ Cmd: ["sh"], ConsoleSize: [1] }, "ConsoleSize: expected [height, width]"],
  [7, "expected an object, got a number"],
])("refused: %j", (body, message) => {
  expect(() => validateExec(body)).toThrow(message);
});

test("a user whom the container does not know", () => {
  expect(() => exec({ Cmd: ["sh"], User: "nobody" })).toThrow("unable to find user nobody");
});
