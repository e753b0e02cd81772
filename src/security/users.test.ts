import { describe, expect, test } from "bun:test";
import { InroError } from "../base/errors.ts";
import { parseUserSpec, resolveUser } from "./users.ts";

const passwd = `root:x:0:0:root:/root:/bin/sh
# a comment
daemon:x:2:2:daemon:/sbin:/sbin/nologin
app:x:1000:1001:An App,,,:/home/app:/bin/sh
twin:x:1000:1002::/home/twin:/bin/sh
nohome:x:7:7:::
1234:x:55:55::/number:/bin/sh`;
const group = `root:x:0:root
wheel:x:10:root,app
staff:x:20:app,daemon
app:x:1001:
users:x:100:`;
const files = { passwd, group };

describe("user spec", () => {
  test.each([
    ["", {}],
    ["app", { user: { name: "app" } }],
    ["1000", { user: { id: 1000 } }],
    ["app:staff", { user: { name: "app" }, group: { name: "staff" } }],
    ["1000:20", { user: { id: 1000 }, group: { id: 20 } }],
    [":20", { group: { id: 20 } }],
    ["app:", { user: { name: "app" } }],
    ["a:b:c", { user: { name: "a" }, group: { name: "b:c" } }],
    ["2147483647", { user: { id: 2147483647 } }],
  ])("%p", (spec, parsed) => expect(parseUserSpec(spec)).toEqual(parsed));

  test.each(["2147483648", "-1", "0:-1", "99999999999999999999"])("%p is out of range", (spec) => {
    expect(() => parseUserSpec(spec)).toThrow("uids and gids must be in range 0-2147483647");
  });
  test("a very long name is refused", () => expect(() => parseUserSpec("x".repeat(257))).toThrow(InroError));
});

describe("resolving", () => {
  test.each([
    ["", { uid: 0, gid: 0, additionalGids: [0, 10], home: "/root" }],
    ["app", { uid: 1000, gid: 1001, additionalGids: [1001, 10, 20], home: "/home/app" }],
    ["1000", { uid: 1000, gid: 1001, additionalGids: [1001, 10, 20], home: "/home/app" }],
    ["app:users", { uid: 1000, gid: 100, additionalGids: [100], home: "/home/app" }],
    ["app:4242", { uid: 1000, gid: 4242, additionalGids: [4242], home: "/home/app" }],
    ["4242", { uid: 4242, gid: 0, additionalGids: [0], home: "/" }],
    ["4242:staff", { uid: 4242, gid: 20, additionalGids: [20], home: "/" }],
    ["nohome", { uid: 7, gid: 7, additionalGids: [7], home: "/" }],
    [":20", { uid: 0, gid: 20, additionalGids: [20], home: "/root" }],
  ])("%p", (spec, user) => expect(resolveUser(files, spec)).toEqual(user));

  test("a number is never a name", () => {
    expect(resolveUser(files, "1234")).toEqual({ uid: 1234, gid: 0, additionalGids: [0], home: "/" });
  });

  test("extra groups by name and number, once each", () => {
    expect(resolveUser(files, "app", ["users", "10", "77"]).additionalGids).toEqual([1001, 10, 20, 100, 77]);
    expect(resolveUser(files, "app:20", ["staff"]).additionalGids).toEqual([20]);
    expect(() => resolveUser(files, "app", ["nobody"])).toThrow(
      "unable to find group nobody: no matching entries in group file",
    );
    expect(() => resolveUser(files, "app", ["-5"])).toThrow("must be in range");
  });

  test("unknown names", () => {
    expect(() => resolveUser(files, "ghost")).toThrow("unable to find user ghost: no matching entries in passwd file");
    expect(() => resolveUser(files, "app:ghosts")).toThrow(
      "unable to find group ghosts: no matching entries in group file",
    );
  });

  test("an image without the files knows ids only", () => {
    const none = { passwd: undefined, group: undefined };
    expect(resolveUser(none, "")).toEqual({ uid: 0, gid: 0, additionalGids: [0], home: "/" });
    expect(resolveUser(none, "5:6", ["7"])).toEqual({ uid: 5, gid: 6, additionalGids: [6, 7], home: "/" });
    expect(() => resolveUser(none, "root")).toThrow("no matching entries in passwd file");
  });
});

describe("hostile files", () => {
  test("a line without a proper id is nobody, least of all root", () => {
    for (const line of [
      "evil",
      "evil:x",
      "evil:x::",
      "evil:x:abc:0",
      "evil:x:-1:0",
      "evil:x:4294967296:0",
      "evil:x:0x0:0",
      ":x:0:0",
    ]) {
      expect(() => resolveUser({ passwd: `${line}\n`, group: "" }, "evil")).toThrow("unable to find user evil");
    }
    expect(() => resolveUser({ passwd: "", group: "evil:x:zero:\n" }, "0:evil")).toThrow("unable to find group evil");
  });
  test("carriage returns, blanks and missing fields do not matter", () => {
    const user = resolveUser({ passwd: "\r\n  app:x:5:6\r\n", group: undefined }, "app");
    expect(user).toEqual({ uid: 5, gid: 6, additionalGids: [6], home: "/" });
  });
  test("a home that cannot be an environment variable is dropped", () => {
    for (const home of ["/a\0b", `/${"x".repeat(5000)}`]) {
      expect(resolveUser({ passwd: `app:x:5:6::${home}:`, group: undefined }, "app").home).toBe("/");
    }
  });
  test("size and number of groups are bounded", () => {
    expect(() => resolveUser({ passwd: "x".repeat(2 ** 20 + 1), group: "" }, "0")).toThrow("larger than 1048576");
    const many = Array.from({ length: 65_537 }, (_, i) => `:x:${i}:`)
      .map((l) => `g${l}app`)
      .join("\n");
    expect(() => resolveUser({ passwd: "app:x:5:0::/:", group: many.slice(0, 2 ** 20) }, "app")).toThrow(
      "more than 65536 groups",
    );
  });
});
