import type { ClientTls, Endpoint } from "../client/endpoint.ts";
import { resolveEndpoint, withTls } from "../client/endpoint.ts";
import { Engine } from "../client/engine.ts";
import { ExitError } from "./command.ts";
import type { ConfigFile } from "./config-file.ts";
import type { Options } from "./flags.ts";

const DEFAULT = "default";

/** What the global flags, the environment and config.json say of the engine to talk to. */
export class EngineChoice {
  constructor(
    private readonly options: Options,
    private readonly config: ConfigFile,
    /** Where config.json and the contexts are. */
    readonly directory: string,
    private readonly env: Record<string, string | undefined> = process.env,
  ) {
    if (options.has("context") && options.has("host")) {
      throw new ExitError(1, "conflicting options: cannot specify both --host and --context");
    }
  }

  /** The context's name: --context; with --host or a host in the environment the default one; else the current one. */
  get context(): string {
    const { env } = this;
    if (this.options.string("context")) return this.options.string("context");
    if (this.options.string("host") || env.INRO_HOST || env.DOCKER_HOST) return DEFAULT;
    return env.DOCKER_CONTEXT || this.config.currentContext || DEFAULT;
  }

  /** Throws notFound for a context that is not there, and invalid. */
  async endpoint(): Promise<Endpoint> {
    const name = this.context;
    if (name === DEFAULT) return this.defaultEndpoint();
    const { ContextStore, endpointOf } = await import("../client/contexts.ts");
    return endpointOf(new ContextStore(this.directory).get(name));
  }

  /** That of the context `default`. */
  defaultEndpoint(): Endpoint {
    const endpoint = resolveEndpoint(this.options.string("host") || undefined, this.env);
    return endpoint.kind === "tcp" ? withTls(endpoint, this.#tls()) : endpoint;
  }

  /** As docker has it: --tls and --tlsverify, or their variables, and then files of the usual names, if they are there. */
  #tls(): ClientTls | undefined {
    const { options, env } = this;
    const verify = options.has("tlsverify") ? options.bool("tlsverify") : Boolean(env.DOCKER_TLS_VERIFY);
    const asked = options.has("tlsverify") || verify || options.bool("tls") || Boolean(env.DOCKER_TLS);
    if (!asked) return undefined;
    const directory = env.DOCKER_CERT_PATH || this.directory;
    const read = (flag: string, name: string, needed: boolean) => {
      const path = options.string(flag) || `${directory}/${name}`;
      return readText(path, needed || options.has(flag) ? flag : undefined);
    };
    const ca = verify ? read("tlscacert", "ca.pem", true) : undefined;
    const cert = read("tlscert", "cert.pem", false);
    const key = read("tlskey", "key.pem", false);
    return {
      verify,
      ...(ca === undefined ? {} : { ca }),
      ...(cert === undefined ? {} : { cert }),
      ...(key === undefined ? {} : { key }),
    };
  }

  /** The engine, asked with config.json's headers, started on first use where inro may do that. */
  async engine(): Promise<Engine> {
    const endpoint = await this.endpoint();
    return new Engine({
      endpoint,
      headers: this.config.HttpHeaders ?? {},
      version: this.env.DOCKER_API_VERSION || undefined,
      credentials: (image) => this.#registryAuth(image),
      onUnreachable: async (error) =>
        endpoint.default && (await import("../client/autostart.ts")).startEngine(endpoint, error),
    });
  }

  async #registryAuth(image: string): Promise<string | undefined> {
    const { auths, credsStore, credHelpers } = this.config;
    if (!auths && !credsStore && !credHelpers && !this.env.DOCKER_AUTH_CONFIG) return undefined;
    const { findCredentials, registryAuthHeader, registryOf } = await import("./credentials.ts");
    const found = await findCredentials(this.config, registryOf(image));
    return found && registryAuthHeader(found);
  }
}

/** A missing file is undefined, unless a flag needs it. */
function readText(path: string, flag: string | undefined): string | undefined {
  try {
    return (require("node:fs") as typeof import("node:fs")).readFileSync(path, "utf8");
  } catch (error) {
    if (flag === undefined) return undefined;
    throw new ExitError(1, `--${flag}: cannot read ${path}: ${(error as NodeJS.ErrnoException).code}`);
  }
}
