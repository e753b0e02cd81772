import { expect, test } from "bun:test";
import { mergeImage } from "./image-defaults.ts";

const IMAGE = {
  Env: ["PATH=/bin", "LANG=C"],
  Entrypoint: ["/entry"],
  Cmd: ["serve"],
  User: "web",
  WorkingDir: "/srv",
  Labels: { a: "1", b: "2" },
  StopSignal: "SIGINT",
  Volumes: { "/data": {} },
  ExposedPorts: { "80/tcp": {} },
};

test("an empty request takes everything", () => {
  expect(mergeImage({}, IMAGE)).toEqual(IMAGE);
});

test.each([
  [{}, ["/entry"], ["serve"]],
  [{ Cmd: ["x"] }, ["/entry"], ["x"]],
  [{ Entrypoint: ["e"] }, ["e"], undefined],
  [{ Entrypoint: ["e"], Cmd: ["x"] }, ["e"], ["x"]],
  [{ Entrypoint: [""], Cmd: ["x"] }, [], ["x"]],
  [{ Entrypoint: [] }, [], ["serve"]],
])("command of %j", (request, entrypoint, cmd) => {
  const { Entrypoint, Cmd } = mergeImage(request, IMAGE);
  expect([Entrypoint, Cmd]).toEqual([entrypoint, cmd]);
});

test("variables by name, maps by key, a variable without value takes the image's away", () => {
  const merged = mergeImage(
    { Env: ["LANG=en", "PATH"], Labels: { b: "3" }, Volumes: { "/more": {} }, User: "root" },
    IMAGE,
  );
  expect(merged).toMatchObject({
    Env: ["LANG=en", "PATH"],
    Labels: { a: "1", b: "3" },
    Volumes: { "/data": {}, "/more": {} },
    User: "root",
  });
});

test("a health check inherits what is zero", () => {
  const image = { Healthcheck: { Test: ["CMD", "probe"], Interval: 5e9, Retries: 2 } };
  const { Healthcheck } = mergeImage({ Healthcheck: { Test: [], Interval: 0, Retries: 9 } }, image);
  expect(Healthcheck).toEqual({ Test: ["CMD", "probe"], Interval: 5e9, Retries: 9 });
});

test.each([
  [{ User: "root\nx" }, "invalid image config: invalid user"],
  [{ User: "a\0b" }, "invalid image config: config.User: contains a NUL byte"],
  [{ WorkingDir: "srv" }, "invalid image config: the working directory 'srv' is invalid"],
  [{ Env: ["NOVALUE"] }, 'invalid image config: environment variable "NOVALUE" is not NAME=value'],
  [{ Volumes: { "../x": {} } }, 'invalid image config: volume "../x" must not contain ".."'],
  [{ Volumes: { "/a/../../x": {} } }, 'must not contain ".."'],
  [{ Volumes: { "/": {} } }, "invalid image config: invalid specification: destination can't be '/'"],
  [{ Volumes: { "/proc/x": {} } }, "is inside /proc"],
  [{ Cmd: [1] }, "invalid image config: invalid JSON: config.Cmd[0]: expected a string, got a number"],
  [[], "invalid image config: invalid JSON: config: expected an object, got an array"],
])("hostile image %j", (image, message) => {
  expect(() => mergeImage({ Cmd: ["x"] }, image as never)).toThrow(message);
});
