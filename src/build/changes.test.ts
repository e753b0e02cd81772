import { describe, expect, test } from "bun:test";
import { applyChanges } from "./changes.ts";

type Defaults = Parameters<typeof applyChanges>[0];

const cases: [string, Defaults, string[], Defaults][] = [
  ["CMD as JSON", {}, ['CMD ["a", "b"]'], { Cmd: ["a", "b"] }],
  ["CMD for a shell", {}, ["cmd a b"], { Cmd: ["/bin/sh", "-c", "a b"] }],
  ["CMD that only looks like JSON", {}, ["CMD [a"], { Cmd: ["/bin/sh", "-c", "[a"] }],
  ["ENTRYPOINT", { Entrypoint: ["x"] }, ['ENTRYPOINT ["y"]'], { Entrypoint: ["y"] }],
  ["ENTRYPOINT drops the old CMD", { Cmd: ["a"] }, ['ENTRYPOINT ["y"]'], { Entrypoint: ["y"] }],
  [
    "ENTRYPOINT with a CMD",
    { Cmd: ["a"] },
    ["CMD b", 'ENTRYPOINT ["y"]'],
    { Entrypoint: ["y"], Cmd: ["/bin/sh", "-c", "b"] },
  ],
  ["SHELL", {}, ['SHELL ["/bin/bash", "-c"]', "CMD a"], { Shell: ["/bin/bash", "-c"], Cmd: ["/bin/bash", "-c", "a"] }],
  ["ENV old form", {}, ["ENV A b  c"], { Env: ["A=b  c"] }],
  ["ENV replaces in place", { Env: ["A=1", "B=2"] }, ["ENV A=3 C='x y'"], { Env: ["A=3", "B=2", "C=x y"] }],
  [
    "ENV of the image's",
    { Env: ["PATH=/bin"] },
    ["ENV PATH=/usr/bin:$PATH B=$NONE"],
    { Env: ["PATH=/usr/bin:/bin", "B=$NONE"] },
  ],
  ["ENV quotes", {}, ['ENV A="b \\"c\\"" B=d\\ e'], { Env: ['A=b "c"', "B=d e"] }],
  [
    "EXPOSE",
    {},
    ["EXPOSE 80 53/UDP 8000-8001"],
    { ExposedPorts: { "80/tcp": {}, "53/udp": {}, "8000/tcp": {}, "8001/tcp": {} } },
  ],
  ["LABEL", { Labels: { a: "1" } }, ['LABEL b="2 3" c=4'], { Labels: { a: "1", b: "2 3", c: "4" } }],
  ["USER", {}, ["USER 1:2"], { User: "1:2" }],
  ["VOLUME", {}, ['VOLUME ["/a b"]', "VOLUME /c /d"], { Volumes: { "/a b": {}, "/c": {}, "/d": {} } }],
  ["WORKDIR", { WorkingDir: "/a" }, ["WORKDIR b/../c", "WORKDIR d"], { WorkingDir: "/a/c/d" }],
  ["WORKDIR absolute", { WorkingDir: "/a" }, ["WORKDIR /b/"], { WorkingDir: "/b" }],
  ["STOPSIGNAL", {}, ["STOPSIGNAL SIGINT"], { StopSignal: "SIGINT" }],
  ["ONBUILD", { OnBuild: ["RUN a"] }, ["ONBUILD RUN b"], { OnBuild: ["RUN a", "RUN b"] }],
  [
    "HEALTHCHECK",
    {},
    ["HEALTHCHECK --interval=1m30s --retries=2 CMD x y"],
    { Healthcheck: { Test: ["CMD-SHELL", "x y"], Interval: 90e9, Retries: 2 } },
  ],
  ["HEALTHCHECK none", {}, ["HEALTHCHECK NONE"], { Healthcheck: { Test: ["NONE"] } }],
];
for (const [name, config, changes, expected] of cases) {
  test(name, () => {
    const before = structuredClone(config);
    expect(applyChanges(config, changes)).toEqual(expected);
    expect(config).toEqual(before);
  });
}

describe("refuses", () => {
  const wrong: [string, string | RegExp][] = [
    ["RUN x", "RUN is not a valid change command"],
    ["", "is not a valid change command"],
    ["CMD", "requires at least one argument"],
    ["ENV A", "ENV must have two arguments"],
    ["ENV =b", "names can not be blank"],
    ["LABEL a", "LABEL must have two arguments"],
    ["EXPOSE 70000", "invalid containerPort: 70000"],
    ["EXPOSE 5-4", "invalid containerPort: 5-4"],
    ["USER a\0", "NUL character"],
    ["HEALTHCHECK --interval=soon CMD x", "time: invalid duration"],
    ["HEALTHCHECK x", /unknown type/i],
    ["constructor x", "CONSTRUCTOR is not a valid change command"],
  ];
  for (const [change, message] of wrong)
    test(JSON.stringify(change), () => expect(() => applyChanges({}, [change])).toThrow(message));
});
