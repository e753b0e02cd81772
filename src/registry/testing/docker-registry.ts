import { type ChildProcess, spawn } from "node:child_process";
import { mkdtempSync, rmSync, writeFileSync } from "node:fs";
import { connect, createServer } from "node:net";
import { tmpdir } from "node:os";
import { join } from "node:path";

/** The path of Debian's docker-registry, or null where it is not installed. */
export const DOCKER_REGISTRY = Bun.which("docker-registry");

export interface RunningRegistry {
  /** `127.0.0.1:port` */
  host: string;
  stop(): Promise<void>;
}

/** Starts a registry of its own on loopback, with storage in a temporary directory; `users` turns on Basic, `tls` (files) https. */
export async function startRegistry(
  options: { users?: Record<string, string>; tls?: { cert: string; key: string; clientCa?: string } } = {},
): Promise<RunningRegistry> {
  const dir = mkdtempSync(join(tmpdir(), "inro-registry-"));
  const port = await freePort();
  const config: Record<string, unknown> = {
    version: 0.1,
    log: { level: "error", accesslog: { disabled: true } },
    storage: { filesystem: { rootdirectory: join(dir, "data") }, delete: { enabled: true } },
    http: { addr: `127.0.0.1:${port}`, secret: "test", ...(options.tls ? { tls: tlsOf(options.tls) } : {}) },
  };
  if (options.users) {
    const lines = Object.entries(options.users).map(
      ([name, password]) => `${name}:${Bun.password.hashSync(password, { algorithm: "bcrypt", cost: 4 })}\n`,
    );
    writeFileSync(join(dir, "htpasswd"), lines.join(""));
    config.auth = { htpasswd: { realm: "test", path: join(dir, "htpasswd") } };
  }
  writeFileSync(join(dir, "config.yml"), JSON.stringify(config));
  const child = spawn(DOCKER_REGISTRY!, ["serve", join(dir, "config.yml")], { stdio: ["ignore", "ignore", "pipe"] });
  let errors = "";
  child.stderr!.on("data", (chunk) => {
    errors += chunk;
  });
  const host = `127.0.0.1:${port}`;
  const stop = async () => {
    await end(child);
    rmSync(dir, { recursive: true, force: true });
  };
  for (let tries = 0; ; tries++) {
    if (await listens(port)) return { host, stop };
    if (tries === 500 || child.exitCode !== null) {
      await stop();
      throw new Error(`docker-registry does not answer: ${errors}`);
    }
    await new Promise((resolve) => setTimeout(resolve, 10));
  }
}

const tlsOf = ({ cert, key, clientCa }: { cert: string; key: string; clientCa?: string }) => ({
  certificate: cert,
  key,
  ...(clientCa === undefined ? {} : { clientcas: [clientCa] }),
});

function listens(port: number): Promise<boolean> {
  return new Promise((resolve) => {
    const socket = connect(port, "127.0.0.1");
    socket.once("connect", () => resolve(true)).once("error", () => resolve(false));
    socket.once("connect", () => socket.destroy());
  });
}

function end(child: ChildProcess): Promise<void> {
  if (child.exitCode !== null || child.signalCode !== null) return Promise.resolve();
  return new Promise((resolve) => {
    child.once("exit", () => resolve());
    child.kill("SIGTERM");
  });
}

function freePort(): Promise<number> {
  return new Promise((resolve, reject) => {
    const server = createServer();
    server.once("error", reject);
    server.listen(0, "127.0.0.1", () => {
      const { port } = server.address() as { port: number };
      server.close(() => resolve(port));
    });
  });
}
