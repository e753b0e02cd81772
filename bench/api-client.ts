import { Agent, request } from "node:http";

export interface ApiResponse {
  status: number;
  body: string;
}

/** A plain client of the Docker Engine API over a unix socket, with connections that stay. */
export class ApiClient {
  readonly #agent: Agent;

  /** `connections`: how many requests may be under way at once. */
  constructor(
    readonly socket: string,
    connections = 1,
  ) {
    this.#agent = new Agent({ keepAlive: true, maxSockets: connections });
  }

  /** One request; a status of 400 and more is an Error with the engine's message. */
  call(method: string, path: string, body?: object | Uint8Array): Promise<ApiResponse> {
    const data = body instanceof Uint8Array ? body : body === undefined ? undefined : Buffer.from(JSON.stringify(body));
    const headers = data ? { "Content-Type": contentType(body!), "Content-Length": data.length } : {};
    return new Promise((resolve, reject) => {
      const req = request({ socketPath: this.socket, agent: this.#agent, method, path, headers }, (res) => {
        const chunks: Buffer[] = [];
        res.on("data", (chunk: Buffer) => chunks.push(chunk));
        res.on("error", reject);
        res.on("end", () => {
          const status = res.statusCode ?? 0;
          const text = Buffer.concat(chunks).toString();
          if (status >= 400) reject(new Error(`${method} ${path}: ${status} ${text.trim().slice(0, 300)}`));
          else resolve({ status, body: text });
        });
      });
      req.on("error", (error) => reject(new Error(`${method} ${path}: ${error.message}`)));
      req.end(data);
    });
  }

  async json<T>(method: string, path: string, body?: object): Promise<T> {
    return JSON.parse((await this.call(method, path, body)).body) as T;
  }

  async ping(): Promise<boolean> {
    return this.call("GET", "/_ping").then(
      () => true,
      () => false,
    );
  }

  close(): void {
    this.#agent.destroy();
  }
}

const contentType = (body: object) => (body instanceof Uint8Array ? "application/x-tar" : "application/json");
