import { afterAll, expect, test } from "bun:test";
import { mkdirSync, mkdtempSync, rmSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { cdiDevices, injectDevices } from "./cdi.ts";

const top = mkdtempSync(join(tmpdir(), "inro-cdi-"));
afterAll(() => rmSync(top, { recursive: true }));

const directories = ["first", "second"].map((name) => {
  mkdirSync(join(top, name));
  return join(top, name);
});
writeFileSync(
  join(directories[0]!, "gpu.yaml"),
  `cdiVersion: "0.6.0"
kind: example.com/gpu
containerEdits:
  env: ["GPUS=yes"]
devices:
  - name: "0"
    containerEdits:
      deviceNodes:
        - path: /dev/gpu0
          hostPath: /dev/zero
          permissions: rw
      mounts:
        - {hostPath: /lib/gpu, containerPath: /usr/lib/gpu, options: [ro, nosuid, bind]}
      additionalGids: [44]
  - name: "1"
    containerEdits: {deviceNodes: [{path: /dev/null}]}
`,
);
writeFileSync(
  join(directories[1]!, "net.json"),
  JSON.stringify({
    kind: "example.com/net",
    devices: [{ name: "hooked", containerEdits: { hooks: [{ hookName: "createContainer", path: "/x" }] } }],
  }),
);
writeFileSync(join(directories[1]!, "broken.json"), "{");
writeFileSync(join(directories[1]!, "odd.yaml"), "kind: 7\n");

const inject = (...DeviceIDs: string[]) =>
  injectDevices({ Env: ["A=b"] }, { DeviceRequests: [{ Driver: "cdi", DeviceIDs }] }, directories);

test("what is described, broken files left out", () => {
  expect(cdiDevices(directories)).toEqual(["example.com/gpu=0", "example.com/gpu=1", "example.com/net=hooked"]);
  expect(cdiDevices([join(top, "nowhere")])).toEqual([]);
});

test("what devices need is added, and what a file says of all of them once", () => {
  expect(inject("example.com/gpu=0", "example.com/gpu=1")).toMatchObject({
    config: { Env: ["A=b", "GPUS=yes"] },
    host: {
      Devices: [
        { PathOnHost: "/dev/zero", PathInContainer: "/dev/gpu0", CgroupPermissions: "rw" },
        { PathOnHost: "/dev/null", PathInContainer: "/dev/null", CgroupPermissions: "rwm" },
      ],
      GroupAdd: ["44"],
    },
    mounts: [{ destination: "/usr/lib/gpu", type: "bind", source: "/lib/gpu", options: ["bind", "ro", "nosuid"] }],
  });
  const config = {};
  const host = {};
  expect(injectDevices(config, host)).toEqual({ config, host, mounts: [] });
});

test("what cannot be", () => {
  expect(() => inject("example.com/gpu=9")).toThrow("unresolvable CDI devices example.com/gpu=9");
  expect(() => inject("example.com/net=hooked")).toThrow("hooks");
  const gpus = { DeviceRequests: [{ Driver: "", Count: -1, Capabilities: [["gpu"]] }] };
  expect(() => injectDevices({}, gpus, directories)).toThrow(
    'could not select device driver "" with capabilities: [[gpu]]',
  );
});
