import { expect, test } from "bun:test";
import { type CreateDefaults, withDefaults } from "./create-defaults.ts";

const nofile = { Name: "nofile", Soft: 1, Hard: 2 };
const core = { Name: "core", Soft: 0, Hard: 0 };

const cases: [CreateDefaults, Record<string, unknown>, Record<string, unknown>][] = [
  [{ shmSize: 5 }, {}, { ShmSize: 5 }],
  [{ shmSize: 5 }, { ShmSize: 0 }, { ShmSize: 5 }],
  [{ shmSize: 5 }, { ShmSize: 7 }, { ShmSize: 7 }],
  [{ ipcMode: "shareable" }, { IpcMode: "" }, { IpcMode: "shareable" }],
  [{ ipcMode: "shareable" }, { IpcMode: "host" }, { IpcMode: "host" }],
  [{ cgroupnsMode: "private" }, { Privileged: true }, { Privileged: true }],
  [{ init: true }, { Init: null }, { Init: true }],
  [{ init: true }, { Init: false }, { Init: false }],
  [{ ulimits: [nofile, core] }, { Ulimits: [{ ...nofile, Soft: 9 }] }, { Ulimits: [{ ...nofile, Soft: 9 }, core] }],
  [{ ulimits: [nofile] }, { Ulimits: "x" }, { Ulimits: "x" }],
  [{ noNewPrivileges: true }, { SecurityOpt: null }, { SecurityOpt: ["no-new-privileges"] }],
  [
    { noNewPrivileges: true },
    { SecurityOpt: ["no-new-privileges=false"] },
    { SecurityOpt: ["no-new-privileges=false"] },
  ],
];

for (const [defaults, host, expected] of cases) {
  test(`${JSON.stringify(defaults)} and ${JSON.stringify(host)}`, () => {
    expect(withDefaults(host, defaults)).toEqual(expected);
  });
}
