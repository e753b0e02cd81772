import { readFileSync, statSync } from "node:fs";
import { codeOf, InroError, invalid, messageOf } from "../../base/errors.ts";
import { ownerUid } from "../../base/owner.ts";
import { Registry } from "./server.ts";
import { RegistryStore } from "./store.ts";

export interface ServeRegistry {
  kind: "serve";
  /** `address:port` */
  listen: string;
  data?: string | undefined;
  htpasswd?: string | undefined;
  tlsCert?: string | undefined;
  tlsKey?: string | undefined;
  readOnly: boolean;
}

export interface CollectRegistry {
  kind: "gc";
  data?: string | undefined;
  untagged: boolean;
  dryRun: boolean;
}

/** `inro registry serve` until a signal, and `inro registry gc`. The exit status; throws invalid and conflict. */
export async function registryMain(options: ServeRegistry | CollectRegistry): Promise<number> {
  if (options.kind === "gc") return await collect(options);
  const { host, port } = parseListen(options.listen);
  if ((options.tlsCert === undefined) !== (options.tlsKey === undefined)) {
    throw invalid("registry serve: --tls-cert and --tls-key belong together");
  }
  const log = (line: string) => void process.stderr.write(`${new Date().toISOString()} ${line}\n`);
  const tls =
    options.tlsCert === undefined || options.tlsKey === undefined
      ? undefined
      : { cert: pem(options.tlsCert), key: key(options.tlsKey) };
  const registry = new Registry({
    data: options.data ?? defaultData(),
    readOnly: options.readOnly,
    log,
    ...(options.htpasswd === undefined ? {} : { htpasswd: options.htpasswd }),
    ...(tls ? { tls } : {}),
  });
  try {
    const stopped = new Promise<void>((resolve) => {
      for (const signal of ["SIGTERM", "SIGINT"] as const) process.once(signal, () => resolve());
    });
    const bound = await registry.listen(host, port).catch((error) => {
      throw new InroError(
        "unavailable",
        `registry serve: listen on ${options.listen}: ${codeOf(error) ?? messageOf(error)}`,
      );
    });
    const shown = host.includes(":") ? `[${host}]` : host;
    const loopback = host === "::1" || /^127\./.test(host) || host === "localhost";
    if (!tls && !loopback) log("without TLS: passwords and images can be read and changed on the way");
    if (!options.htpasswd && !loopback && !options.readOnly) log("without --htpasswd: everybody may push and delete");
    log(`listening on ${tls ? "https" : "http"}://${shown}:${bound}`);
    await registry.tidy();
    await stopped;
  } finally {
    await registry.close();
  }
  return 0;
}

async function collect(options: CollectRegistry): Promise<number> {
  const data = options.data ?? defaultData();
  if (!statSync(data, { throwIfNoEntry: false })?.isDirectory()) throw invalid(`registry gc: no directory ${data}`);
  const store = new RegistryStore(data);
  try {
    const gone = await store.collect({ grace: 0, untagged: options.untagged, dryRun: options.dryRun });
    const verb = options.dryRun ? "would go" : "removed";
    process.stdout.write(`${gone.manifests} manifests, ${gone.blobs} blobs ${verb}: ${gone.bytes} bytes\n`);
  } finally {
    store.close();
  }
  return 0;
}

function defaultData(): string {
  if (ownerUid() === 0) return "/var/lib/inro-registry";
  return `${process.env.XDG_DATA_HOME ?? `${process.env.HOME}/.local/share`}/inro-registry`;
}

function parseListen(text: string): { host: string; port: number } {
  const parts = /^(?:\[([0-9a-fA-F:.]+)\]|([^:[\]]*)):(\d{1,5})$/.exec(text);
  const port = Number(parts?.[3]);
  if (!parts || port > 65_535) throw invalid(`invalid --listen ${JSON.stringify(text)}: ADDRESS:PORT`);
  return { host: parts[1] ?? (parts[2] || "0.0.0.0"), port };
}

function pem(path: string): Buffer {
  try {
    return readFileSync(path);
  } catch (error) {
    throw invalid(`registry serve: ${path}: ${codeOf(error)}`, error);
  }
}

function key(path: string): Buffer {
  const content = pem(path);
  if (statSync(path).mode & 0o007) throw invalid(`registry serve: ${path}: everybody may read or write it: chmod 600`);
  return content;
}
