import { describe, expect, setDefaultTimeout, test } from "bun:test";
import { inNetworkNamespace } from "../../src/linux/netlink/socket.ts";
import { hasBusybox, isRoot, ROOTLESS } from "../harness.ts";
import { HOST, labForTests, OUTSIDE } from "../network/lab.ts";
import { cannotRun, noSubordinateIds } from "../runtime/rootless/user.ts";

// Each is many commands, and some of them start an engine.
setDefaultTimeout(120_000);

const programs = ["pasta", "slirp4netns"].filter((name) => Bun.which(name));
const why = !isRoot
  ? "needs root, who makes the networks"
  : hasBusybox
    ? (cannotRun ?? noSubordinateIds)
    : "no busybox-static";

describe.skipIf(why !== undefined)(`networks of a plain user${why ? ` (skipped: ${why})` : ""}`, () => {
  describe.skipIf(programs.length === 0)(
    `that lead out${programs.length === 0 ? " (skipped: no pasta, no slirp4netns)" : ""}`,
    () => {
      const lab = labForTests([], { rootless: ROOTLESS });

      test("containers reach each other by name, and what the machine reaches, as the machine", async () => {
        await lab.engine.ok("network", "create", "mine");
        await lab.run("server", "--network", "mine");
        await lab.run("client", "--network", "mine");
        await lab.serve(await lab.inside("server"), 80);
        const [server, client] = [await lab.address("server", "mine"), await lab.address("client", "mine")];
        const inside = await lab.inside("client");
        expect(await lab.ask(inside, "tcp", server, 80)).toBe(client);
        expect(await lab.engine.ok("exec", "client", "nslookup", "server.", "127.0.0.11")).toContain(server);
        await lab.serve(lab.outside.fd, 81);
        for (const protocol of ["tcp", "udp"] as const) {
          expect(await lab.ask(inside, protocol, OUTSIDE[4], 81)).toBe(HOST[4]);
        }
      });

      test("nobody in a container reaches what listens on the machine's loopback", async () => {
        await lab.run("curious");
        await lab.serve(lab.host, 82);
        const inside = await lab.inside("curious");
        expect(await lab.ask(lab.host, "tcp", "127.0.0.1", 82)).toBe("127.0.0.1");
        for (const address of ["127.0.0.1", "172.17.0.1", "10.0.2.2"]) {
          expect(await lab.reaches(inside, "tcp", address, 82), address).toBe(false);
        }
      });

      test("published ports are the machine's, tcp and udp, and come and go while it runs", async () => {
        await lab.run("web", "-p", "8080:80", "-p", "8080:80/udp", "-p", "0.0.0.0:8081:80");
        await lab.serve(await lab.inside("web"), 80);
        expect(await lab.ask(lab.host, "tcp", "127.0.0.1", 8080)).toBe("172.17.0.1");
        expect(await lab.ask(lab.host, "udp", "127.0.0.1", 8080)).toBe("172.17.0.1");
        expect(await lab.ask(lab.outside.fd, "tcp", HOST[4], 8081)).toBe("172.17.0.1");
        expect(await lab.reaches(lab.outside.fd, "tcp", HOST[4], 8080)).toBe(false);
        await lab.engine.ok("port", "rm", "web", "0.0.0.0:8081:80");
        expect(await lab.reaches(lab.outside.fd, "tcp", HOST[4], 8081)).toBe(false);
        await lab.engine.ok("port", "add", "web", "0.0.0.0:8081:80");
        expect(await lab.ask(lab.outside.fd, "tcp", HOST[4], 8081)).toBe("172.17.0.1");
      });

      test("a taken port names who has it, and a low one what would allow it", async () => {
        const server = inNetworkNamespace(lab.host, () =>
          Bun.listen({ hostname: "0.0.0.0", port: 9001, socket: { data: () => undefined } }),
        );
        const publish = (port: string) => lab.engine.inro(["run", "--rm", "-p", port, "busybox", "true"]);
        expect((await publish("9001:80")).stderr).toContain(
          "Bind for 127.0.0.1:9001 failed: port is already allocated",
        );
        server.stop(true);
        expect(await publish("9001:80")).toMatchObject({ code: 0 });
        const low = await publish("80:80");
        expect(low.code).toBe(125);
        expect(low.stderr).toContain("net.ipv4.ip_unprivileged_port_start=80");
      });

      test("kill -9 of the engine: the next one has networks, ports and the way out again", async () => {
        await lab.run("stays", "-p", "8090:80");
        await lab.serve(await lab.inside("stays"), 80);
        await lab.serve(lab.outside.fd, 83);
        await lab.engine.kill();
        await lab.engine.start();
        expect(await lab.ask(lab.host, "tcp", "127.0.0.1", 8090)).toBe("172.17.0.1");
        expect(await lab.ask(await lab.inside("stays"), "tcp", OUTSIDE[4], 83)).toBe(HOST[4]);
      });
    },
  );

  describe("without /dev/net/tun", () => {
    const lab = labForTests([], { rootless: { ...ROOTLESS, nodes: {} } });
    test("containers reach each other alone, and the log says why", async () => {
      await lab.run("one");
      await lab.run("two");
      await lab.serve(await lab.inside("one"), 80);
      const inside = await lab.inside("two");
      expect(await lab.ask(inside, "tcp", await lab.address("one", "bridge"), 80)).toBe(
        await lab.address("two", "bridge"),
      );
      await lab.serve(lab.outside.fd, 81);
      expect(await lab.reaches(inside, "tcp", OUTSIDE[4], 81)).toBe(false);
      expect(lab.engine.log).toMatch(/rootless: .*(tun|apt install)/);
    });
  });
});
