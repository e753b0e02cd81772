import { expect } from "bun:test";
import { CAPABILITIES } from "../../../../src/security/capabilities.ts";
import { section } from "../case.ts";

const { shows, does } = section("config.md#linux-process");

/** None in a set that is not named. */
const sets = (given: Record<string, readonly string[]>) => ({
  process: {
    capabilities: { bounding: [], effective: [], permitted: [], inheritable: [], ambient: [], ...given },
  },
});
const status = "grep ^Cap /proc/self/status | cut -f2 | tr '\\n' ' '";
const mask = (...numbers: number[]) =>
  numbers
    .reduce((bits, n) => bits | (1n << BigInt(n)), 0n)
    .toString(16)
    .padStart(16, "0");
const NONE = mask();
const [CHOWN, KILL] = [mask(0), mask(5)];

export const capabilityCases = [
  // CapInh CapPrm CapEff CapBnd CapAmb; root's execve adds inheritable and bounding to permitted (capabilities(7)).
  shows(
    "process.capabilities.bounding",
    sets({ bounding: ["CAP_CHOWN", "CAP_KILL"] }),
    status,
    new RegExp(`${mask(0, 5)} ${NONE} $`),
  ),
  shows(
    "process.capabilities.effective, permitted",
    sets({ bounding: ["CAP_KILL"], effective: ["CAP_KILL"], permitted: ["CAP_KILL"] }),
    status,
    `${NONE} ${KILL} ${KILL} ${KILL} ${NONE}`,
  ),
  shows(
    "process.capabilities.inheritable",
    sets({ bounding: ["CAP_CHOWN"], permitted: ["CAP_CHOWN"], inheritable: ["CAP_CHOWN"] }),
    status,
    new RegExp(`^${CHOWN} `),
  ),
  shows(
    "process.capabilities.ambient: a plain user keeps them",
    (s) => {
      const only = ["CAP_CHOWN"];
      s.process.user = { uid: 7, gid: 7 };
      s.process.capabilities = { bounding: only, effective: only, permitted: only, inheritable: only, ambient: only };
    },
    status,
    `${CHOWN} ${CHOWN} ${CHOWN} ${CHOWN} ${CHOWN}`,
  ),
  shows(
    "process.capabilities: a plain user without ambient has none",
    (s) => {
      const only = ["CAP_CHOWN"];
      s.process.user = { uid: 7, gid: 7 };
      s.process.capabilities = { bounding: only, effective: only, permitted: only };
    },
    status,
    `${NONE} ${NONE} ${NONE} ${CHOWN} ${NONE}`,
  ),
  shows("process.capabilities: empty sets are none", sets({}), status, `${NONE} ${NONE} ${NONE} ${NONE} ${NONE}`),
  does(
    "process.capabilities: absent is untouched",
    async (c) => {
      const own = /CapBnd:\s*(\w+)/.exec(await Bun.file("/proc/self/status").text())![1];
      const { out } = await c.run("grep CapBnd /proc/self/status | cut -f2", { process: { capabilities: undefined } });
      expect(out.trim()).toBe(own!);
    },
    { differs: { crun: "1.8.1 drops all", runc: "1.1.5 drops all" } },
  ),
  does("process.capabilities: an unknown one is only warned of", async (c) => {
    const { code, out } = await c.run(status, sets({ bounding: ["CAP_CHOWN", "CAP_NOPE"] }));
    expect(code).toBe(0);
    expect(out).toContain(`${CHOWN} ${NONE}`);
  }),
  does("process.capabilities: every name of the kernel's", async (c) => {
    const own = BigInt(`0x${/CapBnd:\s*(\w+)/.exec(await Bun.file("/proc/self/status").text())![1]}`);
    const { out } = await c.run("grep CapBnd /proc/self/status | cut -f2", sets({ bounding: CAPABILITIES }));
    expect(BigInt(`0x${out.trim()}`)).toBe(own);
  }),
];
