import { expect, test } from "bun:test";
import type { PortBinding } from "../../spec/docker-api.ts";
import { exposedPorts, portRequests } from "./ports.ts";

const of = (
  PortBindings: Record<string, PortBinding[] | null>,
  ExposedPorts: Record<string, object> = {},
  PublishAllPorts = false,
) =>
  portRequests({ ExposedPorts }, { PortBindings, PublishAllPorts }).map(
    ({ protocol, port, hostAddress, hostPorts }) =>
      `${hostAddress}:${hostPorts?.join("-") ?? "any"}->${port}/${protocol}`,
  );

test.each<[Parameters<typeof of>, string[]]>([
  [[{ "80/tcp": [{ HostPort: "8080" }] }], [":8080-8080->80/tcp"]],
  [[{ "80": [{ HostIp: "::1", HostPort: "1" }, {}] }], ["::1:1-1->80/tcp", ":any->80/tcp"]],
  [[{ "53/udp": [{ HostPort: "5300-5310" }] }], [":5300-5310->53/udp"]],
  [[{ "80-81/tcp": [{ HostPort: "90-91" }] }], [":90-90->80/tcp", ":91-91->81/tcp"]],
  [[{ "80/tcp": null }], []],
  [[{ "80/tcp": [] }], [":any->80/tcp"]],
  [
    [{ "80/tcp": [{ HostPort: "8080" }] }, { "80/tcp": {}, "81-82/udp": {} }, true],
    [":8080-8080->80/tcp", ":any->81/udp", ":any->82/udp"],
  ],
  [[{}, { "80": {}, "80/tcp": {} }, true], [":any->80/tcp"]],
])("%j", (given, expected) => expect(of(...given)).toEqual(expected));

test.each<[Record<string, PortBinding[]>, string]>([
  [{ "0/tcp": [{}] }, "invalid port specification"],
  [{ "80/icmp": [{}] }, "invalid port specification"],
  [{ "80/tcp": [{ HostPort: "x" }] }, "invalid port specification"],
  [{ "80/tcp": [{ HostPort: "70000" }] }, "invalid port specification"],
  [{ "80/tcp": [{ HostIp: "1.2.3" }] }, "invalid IP address"],
  [{ "80-82/tcp": [{ HostPort: "90-91" }] }, "invalid ranges"],
])("refused: %j", (given, message) => expect(() => of(given)).toThrow(message));

test("a port that is exposed in two spellings is one", () => {
  const config = { ExposedPorts: { "80": {}, "80/tcp": {}, "80/udp": {}, "79-81/TCP": {} } };
  const shown = exposedPorts(config).map(({ port, protocol }) => `${port}/${protocol}`);
  expect(shown.sort()).toEqual(["79/tcp", "80/tcp", "80/udp", "81/tcp"]);
});
