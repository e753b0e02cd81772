import { afterAll, beforeAll, describe, expect, setDefaultTimeout, test } from "bun:test";
import { readFileSync, writeFileSync } from "node:fs";
import { join } from "node:path";
import { Caller, cannotUse } from "../dropin/caller.ts";
import { debianPackages } from "../images/debian-packages.ts";
import { PROJECTS, writeProject } from "./real/project.ts";

setDefaultTimeout(300_000);

const missing =
  process.env.INRO_TEST_DOCKERD !== "1"
    ? "takes a minute or two: INRO_TEST_DOCKERD=1"
    : (cannotUse("docker", "dockerd", "containerd", "unshare") ?? (process.arch !== "x64" ? "made for amd64" : ""));
const made = missing || debianPackages();
const why = typeof made === "string" ? made : "";

/** That the projects are Dockerfiles as BuildKit takes them, and not of ours alone. */
describe.skipIf(why !== "")(`the projects by BuildKit in dockerd${why && ` (${why})`}`, () => {
  let caller: Caller;
  beforeAll(async () => {
    caller = new Caller("projects", { DOCKER_CONFIG: "." });
    const host = `unix://${caller.path("sock")}`;
    caller.use("docker", "--host", host);
    writeFileSync(caller.path("daemon.json"), "{}\n");
    const places = ["--data-root", caller.directory("data"), "--exec-root", caller.directory("run")];
    await caller.start(
      [
        ...["unshare", "--mount", "--propagation", "private", "dockerd", "--config-file", caller.path("daemon.json")],
        ...["--host", host, "--pidfile", caller.path("pid"), ...places, "--cgroup-parent", `/${caller.name}`],
        ...["--iptables=false", "--ip6tables=false", "--bridge=none", "--log-level=error"],
      ],
      ["version"],
    );
    const { debian, packages } = made as Exclude<typeof made, string>;
    await caller.ok("import", debian, "inro-test/debian:12");
    await caller.ok("import", packages, "inro-test/packages:12");
  });
  afterAll(async () => expect(await caller.close()).toEqual([]));

  test.each(PROJECTS)("%s", async (name) => {
    const context = caller.path(name);
    writeProject(name, context);
    // The frontend that the directive names is in a registry; dockerd's own does.
    const file = join(context, "Dockerfile");
    writeFileSync(file, readFileSync(file, "utf8").replace(/^# syntax=.*\n/, ""));
    const query = new URLSearchParams({
      version: "2",
      t: `answer-${name}`,
      networkmode: "none",
      buildargs: JSON.stringify({ VERSION: "1.0" }),
    });
    const answer = await fetch(`http://docker/build?${query}`, {
      unix: caller.path("sock"),
      method: "POST",
      headers: { "Content-Type": "application/x-tar" },
      body: Bun.spawn(["tar", "-C", context, "-c", "."]).stdout,
    });
    expect(await answer.text()).not.toContain("errorDetail");
    const config = JSON.parse(await caller.ok("image", "inspect", "-f", "{{json .Config}}", `answer-${name}`));
    expect([config.User, config.Healthcheck.Interval]).toEqual([expect.stringMatching(/app|answer|10001/), 1e9]);
  });
});
