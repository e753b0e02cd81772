import { createServer, type IncomingMessage, request, type ServerResponse } from "node:http";
import type { AddressInfo } from "node:net";

export interface Interposer {
  /** `127.0.0.1:port` */
  host: string;
  /** `METHOD /path` of every request, with ` Range` where there was one. */
  requests: string[];
  stop(): Promise<void>;
}

/**
 * A server in front of a registry that answers itself what `meddle` takes (true), and passes on the rest. `upstream` ""
 * has nothing behind it: 404.
 */
export async function interpose(
  upstream: string,
  meddle: (req: IncomingMessage, res: ServerResponse, pass: (change?: (body: Buffer) => Buffer) => void) => boolean,
): Promise<Interposer> {
  const requests: string[] = [];
  const server = createServer((req, res) => {
    requests.push([`${req.method} ${req.url}`, req.headers.range].filter(Boolean).join(" "));
    const pass = (change?: (body: Buffer) => Buffer) => {
      if (upstream === "") {
        res.writeHead(404).end();
        return;
      }
      const [host, port] = upstream.split(":");
      const onward = request({ host, port, method: req.method, path: req.url, headers: req.headers }, (answer) => {
        if (!change) {
          res.writeHead(answer.statusCode!, answer.headers);
          answer.pipe(res);
          return;
        }
        const chunks: Buffer[] = [];
        answer.on("data", (chunk) => chunks.push(chunk));
        answer.on("end", () => {
          res.writeHead(answer.statusCode!, answer.headers);
          res.end(change(Buffer.concat(chunks)));
        });
      });
      onward.on("error", () => res.destroy());
      req.pipe(onward);
    };
    if (!meddle(req, res, pass)) pass();
  });
  await new Promise<void>((resolve) => server.listen(0, "127.0.0.1", resolve));
  return {
    host: `127.0.0.1:${(server.address() as AddressInfo).port}`,
    requests,
    stop: () =>
      new Promise((resolve) => {
        server.close(() => resolve());
        server.closeAllConnections();
      }),
  };
}
