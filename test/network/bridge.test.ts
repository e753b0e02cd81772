import { describe, expect, test } from "bun:test";
import { hasBusybox, isRoot } from "../harness.ts";
import { HOST, labForTests, OUTSIDE } from "./lab.ts";

const why = !isRoot ? "needs root" : hasBusybox ? "" : "no busybox-static";

describe.skipIf(why !== "")(`bridges${why && ` (${why})`}`, () => {
  const lab = labForTests();

  test("a published port: from outside, from the host, from localhost, from a container, from itself", async () => {
    await lab.run("web", "-p", "8080:80", "-p", "8080:80/udp");
    await lab.run("client");
    const [web, client] = [await lab.inside("web"), await lab.inside("client")];
    await lab.serve(web, 80);
    for (const protocol of ["tcp", "udp"] as const) {
      // The client's own address arrives.
      expect(await lab.ask(lab.outside.fd, protocol, HOST[4], 8080)).toBe(OUTSIDE[4]);
      expect(await lab.ask(lab.host, protocol, HOST[4], 8080)).toBe(HOST[4]);
      expect(await lab.ask(lab.host, protocol, "127.0.0.1", 8080)).toBe("172.17.0.1");
      expect(await lab.ask(client, protocol, HOST[4], 8080)).toBe("172.17.0.1");
      expect(await lab.ask(web, protocol, HOST[4], 8080)).toBe("172.17.0.1");
      // Directly.
      expect(await lab.ask(client, protocol, await lab.address("web", "bridge"), 80)).toBe(
        await lab.address("client", "bridge"),
      );
      expect(await lab.reaches(lab.outside.fd, protocol, await lab.address("web", "bridge"), 80)).toBe(false);
      // Out: by the host's address.
    }
    await lab.serve(lab.outside.fd, 99);
    for (const protocol of ["tcp", "udp"] as const)
      expect(await lab.ask(client, protocol, OUTSIDE[4], 99)).toBe(HOST[4]);
  });
});
