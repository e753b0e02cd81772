import { mkdtempSync, rmSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { Registry, type RegistryOptions } from "../server/server.ts";
import type { RunningRegistry } from "./docker-registry.ts";

/** inro's own registry in this process, on loopback, with its data in a temporary directory; `users` turns on Basic. */
export async function startInroRegistry(
  options: Partial<RegistryOptions> & { users?: Record<string, string> } = {},
): Promise<RunningRegistry & { registry: Registry }> {
  const dir = mkdtempSync(join(tmpdir(), "inro-registry-"));
  const { users, ...rest } = options;
  if (users) {
    const lines = Object.entries(users).map(
      ([name, password]) => `${name}:${Bun.password.hashSync(password, { algorithm: "bcrypt", cost: 4 })}\n`,
    );
    writeFileSync(join(dir, "htpasswd"), lines.join(""));
  }
  const registry = new Registry({
    data: join(dir, "data"),
    ...(users ? { htpasswd: join(dir, "htpasswd") } : {}),
    ...rest,
  });
  const port = await registry.listen("127.0.0.1", 0);
  return {
    registry,
    host: `127.0.0.1:${port}`,
    async stop() {
      await registry.close();
      rmSync(dir, { recursive: true, force: true });
    },
  };
}
