import { describe, expect, test } from "bun:test";
import { basename } from "node:path";
import { inNetworkNamespace } from "../../src/linux/netlink/socket.ts";
import { hasBusybox, isRoot } from "../harness.ts";
import { HOST, labForTests, OUTSIDE } from "./lab.ts";

const why = !isRoot ? "needs root" : hasBusybox ? "" : "no busybox-static";

describe.skipIf(why !== "")(`published ports${why && ` (${why})`}`, () => {
  const lab = labForTests([]);

  test("without an address they are localhost's; the world's when asked for; added and removed while it runs", async () => {
    await lab.run("web", "-p", "8080:80", "-p", "0.0.0.0:8081:80", "-p", "8090-8092:90-92");
    await lab.serve(await lab.inside("web"), 80);
    await lab.serve(await lab.inside("web"), 91);
    expect(await lab.ask(lab.host, "tcp", "127.0.0.1", 8080)).toBe("172.17.0.1");
    expect(await lab.ask(lab.host, "tcp", "127.0.0.1", 8091)).toBe("172.17.0.1");
    expect(await lab.reaches(lab.outside.fd, "tcp", HOST[4], 8080)).toBe(false);
    expect(await lab.ask(lab.outside.fd, "tcp", HOST[4], 8081)).toBe(OUTSIDE[4]);

    expect(await lab.engine.ok("port", "add", "web", "0.0.0.0:8082:80")).toBe("80/tcp -> 0.0.0.0:8082");
    expect(await lab.ask(lab.outside.fd, "tcp", HOST[4], 8082)).toBe(OUTSIDE[4]);
    await lab.engine.ok("port", "rm", "web", "0.0.0.0:8082:80");
    expect(await lab.reaches(lab.outside.fd, "tcp", HOST[4], 8082)).toBe(false);
    expect(await lab.ask(lab.outside.fd, "tcp", HOST[4], 8081)).toBe(OUTSIDE[4]);
    expect(await lab.engine.ok("port", "web", "80")).toBe("127.0.0.1:8080\n0.0.0.0:8081");
  });

  test("a taken port names who has it; nothing is left of the start", async () => {
    const server = inNetworkNamespace(lab.host, () =>
      Bun.listen({ hostname: "0.0.0.0", port: 9001, socket: { data: () => undefined } }),
    );
    const start = (...ports: string[]) =>
      lab.engine.inro(["run", "-d", ...ports.flatMap((port) => ["-p", port]), "busybox", "sleep", "9"]);
    const process = await start("9000:80", "9001:80");
    expect(process).toMatchObject({ code: 125 });
    expect(process.stderr).toContain(
      `Bind for 127.0.0.1:9001 failed: port is already allocated: ${basename(globalThis.process.execPath)} (pid ${globalThis.process.pid}) has it`,
    );
    server.stop(true);
    const first = await start("9000:80", "9001:80");
    expect(first.code).toBe(0);
    const second = await start("9001:81");
    const { Name } = await lab.inspect(first.stdout.trim());
    expect(second.stderr).toContain(`port is already allocated: container ${Name.slice(1)} has it`);
    // Of a range, the next one that is free.
    const range = await start("9000-9003:80");
    expect(await lab.engine.ok("port", range.stdout.trim())).toBe("80/tcp -> 127.0.0.1:9002");
    expect((await start("9000-9001:80")).stderr).toContain("port is already allocated");
  });

  test("any free port, of all that are exposed too", async () => {
    await lab.run("any", "-P", "--expose", "70-71/udp", "--expose", "80");
    const { Ports } = (await lab.inspect("any")).NetworkSettings;
    expect(Object.keys(Ports).toSorted()).toEqual(["70/udp", "71/udp", "80/tcp"]);
    for (const bindings of Object.values(Ports)) {
      expect(bindings).toEqual([{ HostIp: "127.0.0.1", HostPort: expect.stringMatching(/^\d{4,5}$/) as never }]);
    }
  });

  test("audit says what is reached from where", async () => {
    await lab.run("wide", "-p", "0.0.0.0:7000:70", "-p", "7001:71/udp");
    const lines = (
      await lab.engine.ok("port", "audit", "--format", "{{.Container}} {{.Port}} {{.Host}} {{.From}}")
    ).split("\n");
    expect(lines).toContain("wide 70/tcp 0.0.0.0:7000 anywhere");
    expect(lines).toContain("wide 71/udp 127.0.0.1:7001 this machine");
  });

  test("SCTP where the kernel has none", async () => {
    const { code, stderr } = await lab.engine.inro(["run", "-d", "-p", "80:80/sctp", "busybox", "true"]);
    if (code !== 0) expect(stderr).toContain("this kernel has no SCTP");
  });
});
