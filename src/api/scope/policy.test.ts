import { expect, test } from "bun:test";
import { routePatterns } from "../router.ts";
import { compileScope, parseSocketFlag } from "./policy.ts";
import { rules } from "./rules.ts";

const compile = (rights: string) =>
  compileScope(parseSocketFlag(`path=/s,${rights}`), ["/var/lib/inro", "/run/inro.sock"]);

test.each([
  ["allow=read-onyl", "did you mean read-only?"],
  ["allow=all,lable=x", "did you mean label?"],
  ["label=x", "allow is missing"],
  ["allow=all,allow", "there is no"],
  ["allow=GET /nothing", "there is no"],
  ["allow=POST /build", "there is no"],
  ["allow=all,label==x", "has no name"],
  ["allow=all,label=name=x", "events have a word"],
  ["allow=all,label=a,label=b", "given twice"],
  ["allow=all,privileged=yes", "expected a boolean"],
  ["allow=all,mount=/", "the engine's own"],
  ["allow=all,mount=/var/../var/lib", "the engine's own"],
  ["allow=all,mount=/run", "the engine's own"],
  ["allow=all,mount=/var/lib/inro/volumes", "the engine's own"],
  ["allow=all,mount=relative", "must be absolute"],
  ["allow=all,memory=much", "invalid size"],
  ["allow=all,cpus=-1", "above 0"],
  ["allow=all,capability=SYS_ADMN", "did you mean"],
  ["allow=all,namespace=net", "unknown namespace"],
  ["allow=all,image=a@sha256:1", "no pattern"],
])("%s is refused", (rights, why) => {
  expect(() => compile(rights)).toThrow(why);
});

test("what is not said is not allowed", () => {
  const scope = compile("allow=POST /containers/{id}/restart");
  expect([...scope.routes]).toEqual(["POST /containers/*/restart"]);
  expect(scope).toMatchObject({
    privileged: false,
    unconfined: false,
    ports: false,
    directories: [],
    label: undefined,
  });
  expect([scope.capabilities.size, scope.devices.size, scope.namespaces.size]).toEqual([0, 0, 0]);
});

test("the keys of a flag", () => {
  const rights =
    "allow=read-only,allow=exec,label=a=b=c,mount=/srv/,memory=1g,cpus=1.5,pids=7,privileged,capability=all";
  const scope = compile(rights);
  expect(scope).toMatchObject({ label: { key: "a", value: "b=c" }, directories: ["/srv"], memory: 2 ** 30, pids: 7 });
  expect([scope.nanoCpus, scope.privileged, scope.capabilities.has("ALL")]).toEqual([1.5e9, true, true]);
  expect(scope.routes.has("POST /containers/*/exec")).toBe(true);
  expect(scope.routes.has("POST /containers/create")).toBe(false);
});

test("every rule is one of a route that there is", () => {
  const known = new Set(routePatterns());
  expect(Object.keys(rules).filter((pattern) => !known.has(pattern))).toEqual([]);
});

test("images by name", () => {
  const matches = (pattern: string, repository: string, tag?: string) =>
    compile(`allow=all,image=${pattern}`).images![0]!.matches(repository, tag);
  expect(matches("alpine", "docker.io/library/alpine", "3")).toBe(true);
  expect(matches("alpine", "docker.io/library/alpine")).toBe(true);
  expect(matches("alpine", "docker.io/library/alpine2", "3")).toBe(false);
  expect(matches("alpine", "evil.example/library/alpine", "3")).toBe(false);
  expect(matches("alpine:3.*", "docker.io/library/alpine", "3.20")).toBe(true);
  expect(matches("alpine:3.*", "docker.io/library/alpine", "3520")).toBe(false);
  expect(matches("alpine:3.*", "docker.io/library/alpine")).toBe(false);
  expect(matches("r.example/team/*", "r.example/team/app", "1")).toBe(true);
  expect(matches("r.example/team/*", "r.example/team/app/more", "1")).toBe(false);
  expect(matches("r.example/team/*", "rxexample/team/app", "1")).toBe(false);
  expect(matches("*", "r.example/team/app", "1")).toBe(true);
});
