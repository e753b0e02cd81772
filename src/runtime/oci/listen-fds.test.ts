import { expect, test } from "bun:test";
import { listenFds } from "./listen-fds.ts";

// biome-ignore format: a table
test.each([
  [{},                                                              undefined],
  [{ LISTEN_FDS: "2" },                                             undefined],
  [{ LISTEN_FDS: "2", LISTEN_PID: "8" },                            undefined],
  [{ LISTEN_FDS: "0", LISTEN_PID: "7" },                            undefined],
  [{ LISTEN_FDS: "2", LISTEN_PID: "7" },                            { count: 2, env: ["LISTEN_FDS=2", "LISTEN_PID=1"] }],
  [{ LISTEN_FDS: "1", LISTEN_PID: "7", LISTEN_FDNAMES: "http" },    { count: 1, env: ["LISTEN_FDS=1", "LISTEN_PID=1", "LISTEN_FDNAMES=http"] }],
])("%j", (env, wanted) => expect(listenFds(env, 7)).toEqual(wanted));

test("no number", () => {
  expect(() => listenFds({ LISTEN_FDS: "-1", LISTEN_PID: "7" }, 7)).toThrow('LISTEN_FDS: "-1" is no number');
});
