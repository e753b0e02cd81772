import { expect, test } from "bun:test";
import type { PlannedMount } from "./mount-plan.ts";
import { inheritedMounts, parseVolumesFrom } from "./volumes-from.ts";

test.each([
  ["a", "a", false],
  ["a:rw", "a", false],
  ["a:ro", "a", true],
  ["a:z", "a", false],
  ["a:ro,Z", "a", true],
])("%s", (text, container, readOnly) => {
  expect(parseVolumesFrom(text)).toEqual({ container, readOnly });
});

test.each([
  ["", "volumes-from specification cannot be an empty string"],
  ["a:fast", "invalid mode: fast"],
  ["a:ro,rw", "invalid mode: ro,rw"],
  ["a:nocopy", "invalid mode: nocopy"],
  ["a:b:c", "invalid mode: b:c"],
])("refused: %j", (text, message) => {
  expect(() => parseVolumesFrom(text)).toThrow(message);
});

test("what is inherited is never more writable, and is not filled", () => {
  const base = { readOnlySubmounts: "try", propagation: "rprivate", nonRecursive: false, createSource: false } as const;
  const mount = (one: Partial<PlannedMount>): PlannedMount =>
    ({ ...base, source: "", destination: "/", readOnly: false, noCopy: false, mode: "", ...one }) as PlannedMount;
  const mounts = [
    mount({ type: "volume", source: "data", destination: "/v" }),
    mount({ type: "bind", source: "/b", destination: "/b", readOnly: true }),
    mount({ type: "tmpfs", destination: "/t", options: ["rw", "size=1m"] }),
    mount({ type: "tmpfs", destination: "/own", options: [], mode: "size=1m" }),
  ];
  const shown = (readOnly: boolean) =>
    inheritedMounts(mounts, readOnly).map((one) => [one.destination, one.readOnly, one.noCopy, one.options?.join()]);
  expect(shown(false)).toEqual([
    ["/v", false, true, undefined],
    ["/b", true, true, undefined],
    ["/t", false, true, "rw,size=1m"],
  ]);
  expect(shown(true)).toEqual([
    ["/v", true, true, undefined],
    ["/b", true, true, undefined],
    ["/t", true, true, "size=1m,ro"],
  ]);
});
