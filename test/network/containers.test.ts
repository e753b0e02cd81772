import { describe, expect, test } from "bun:test";
import { hasBusybox, isRoot } from "../harness.ts";
import { HOST, labForTests, OUTSIDE } from "./lab.ts";

const why = !isRoot ? "needs root" : hasBusybox ? "" : "no busybox-static";
const docker = Bun.which("docker");

describe.skipIf(why !== "")(`what containers see of networks${why && ` (${why})`}`, () => {
  const lab = labForTests();
  const { engine } = lab;
  const lines = (text: string) => text.trim().split("\n");

  test("hosts, resolv.conf, host name; written anew with every start", async () => {
    const { stdout } = await engine.sh(
      "tail -n +7 /etc/hosts; cat /etc/resolv.conf; hostname",
      ...["--dns", "192.0.2.1", "--dns-search", "lan", "--dns-option", "ndots:2"],
      ...["--add-host", "up:host-gateway", "--hostname", "named"],
    );
    expect(lines(stdout)).toEqual([
      "172.17.0.1\tup",
      expect.stringMatching(/^172\.17\.0\.\d+\tnamed$/),
      "nameserver 192.0.2.1",
      "search lan",
      "options ndots:2",
      "named",
    ]);
    await lab.run("again");
    const first = await engine.ok("exec", "again", "tail", "-n1", "/etc/hosts");
    await engine.ok("restart", "-t", "0", "again");
    const second = await engine.ok("exec", "again", "tail", "-n1", "/etc/hosts");
    expect(second).not.toBe(first);
    expect(second).toStartWith(await lab.address("again", "bridge"));
  });

  test("links", async () => {
    await lab.run("db");
    const { stdout } = await engine.sh("grep database /etc/hosts", "--link", "db:database");
    expect(stdout).toStartWith(`${await lab.address("db", "bridge")}\tdatabase `);
    const missing = await engine.inro(["create", "--link", "nobody:x", "busybox", "true"]);
    expect(missing.stderr).toContain("No such container: nobody");
    await engine.ok("create", "--name", "linked", "--link", "db:database", "busybox", "true");
    await engine.ok("rm", "-f", "db");
    expect((await engine.inro(["start", "linked"])).stderr).toContain("No such container: db");
  });

  test("a user namespace owns its network", async () => {
    const script =
      "ip -o -4 addr show eth0; ls /sys/class/net; ip link set eth0 mtu 1400 && cat /sys/class/net/eth0/mtu";
    const { stdout, stderr } = await engine.sh(script, "--userns", "auto", "--cap-add", "NET_ADMIN");
    expect(stderr).toBe("");
    expect(stdout).toContain("inet 172.17.");
    expect(lines(stdout).slice(-3)).toEqual(["eth0", "lo", "1400"]);
  });

  test("IPv6 alone; MTU; names of interfaces; containers kept apart", async () => {
    await engine.ok("network", "create", "--ipv6", "--ipv4=false", "-o", "com.docker.network.driver.mtu=1400", "six");
    await lab.run("alone", "--network", "name=six,driver-opt=com.docker.network.endpoint.ifname=wan");
    const inside = await lab.inside("alone");
    await lab.serve(lab.outside.fd, 66);
    expect(await lab.ask(inside, "udp", OUTSIDE[6], 66)).toBe(HOST[6]);
    expect(await engine.ok("exec", "alone", "cat", "/sys/class/net/wan/mtu")).toBe("1400");

    await engine.ok("network", "create", "-o", "com.docker.network.bridge.enable_icc=false", "apart");
    await lab.run("one", "--network", "apart");
    await lab.run("other", "--network", "apart");
    await lab.serve(await lab.inside("other"), 80);
    const address = await lab.address("other", "apart");
    expect(await lab.ask(lab.host, "tcp", address, 80)).toBeTruthy();
    expect(await lab.reaches(await lab.inside("one"), "tcp", address, 80)).toBe(false);
    expect(await lab.ask(await lab.inside("one"), "tcp", OUTSIDE[4], 66)).toBe(HOST[4]);
  });

  test("nobody in a network reaches what listens on the host's localhost", async () => {
    await lab.run("curious", "--cap-add", "NET_ADMIN", "--sysctl", "net.ipv4.conf.all.route_localnet=1");
    await lab.serve(lab.host, 3306);
    const inside = await lab.inside("curious");
    const script = "ip addr del 127.0.0.1/8 dev lo; ip route add 127.0.0.0/8 via 172.17.0.1";
    await engine.ok("exec", "curious", "sh", "-c", script);
    expect(await lab.reaches(inside, "tcp", "127.0.0.1", 3306)).toBe(false);
  });

  test("explain makes nothing that stays", async () => {
    const links = () => engine.namespace!.stack.links().length;
    const explained = await engine.ok("explain", "run", "-p", "9090:90", "busybox", "true");
    expect(explained).toContain("linux.namespaces network");
    expect((await engine.inro(["system", "check"])).stdout).toBe("no leaks found\n");
    const before = links();
    await engine.ok("explain", "--trace", "run", "-p", "9090:90", "busybox", "true");
    expect((await engine.inro(["system", "check"])).stdout).toBe("no leaks found\n");
    expect(links()).toBe(before);
  });

  test("events", async () => {
    await engine.ok("network", "create", "told");
    await engine.ok("run", "--rm", "--network", "told", "busybox", "true");
    await engine.ok("network", "rm", "told");
    const query = `since=0&until=${Date.now() / 1000}&filters=${encodeURIComponent('{"type":["network"],"network":["told"]}')}`;
    const events = lines(await (await engine.api("GET", `/events?${query}`)).text()).map((line) => JSON.parse(line));
    expect(events.map(({ Action }) => Action)).toEqual(["create", "connect", "disconnect", "destroy"]);
    expect(events[1].Actor.Attributes).toEqual({ container: expect.any(String), name: "told", type: "bridge" });
  });

  test.skipIf(!docker)(`docker's own command line${docker ? "" : " (no docker)"}`, async () => {
    const run = (...args: string[]) => {
      const { stdout, stderr, exitCode } = Bun.spawnSync([docker!, "-H", engine.host, ...args]);
      expect({ exitCode, stderr: String(stderr) }).toEqual({ exitCode: 0, stderr: "" });
      return String(stdout).trim();
    };
    run("network", "create", "--subnet", "10.90.0.0/24", "--label", "a=b", "app");
    run(
      "run",
      "-d",
      "--name",
      "web",
      "--network",
      "app",
      "--ip",
      "10.90.0.9",
      "-p",
      "8080:80",
      "busybox",
      "sleep",
      "99",
    );
    expect(run("port", "web")).toBe("80/tcp -> 0.0.0.0:8080");
    expect(run("network", "inspect", "-f", "{{range .Containers}}{{.Name}} {{.IPv4Address}}{{end}}", "app")).toBe(
      "web 10.90.0.9/24",
    );
    expect(run("network", "ls", "--filter", "label=a=b", "--format", "{{.Name}} {{.Driver}}")).toBe("app bridge");
    run("network", "connect", "bridge", "web");
    expect(run("inspect", "-f", "{{range $k, $v := .NetworkSettings.Networks}}{{$k}} {{end}}", "web")).toBe(
      "app bridge",
    );
    run("network", "disconnect", "bridge", "web");
    run("rm", "-f", "web");
    run("network", "rm", "app");
  });
});
