import { mkdtemp, rm } from "node:fs/promises";
import { createServer } from "node:net";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { codeOf } from "../../base/errors.ts";
import type { RegistryAuth } from "../../registry/auth.ts";
import { callOnce, GRPC, GrpcError, type GrpcStream, openCall } from "./grpc.ts";
import { MessageReader, MessageWriter } from "./protobuf.ts";
import type { Session } from "./sessions.ts";

/** What a client has besides files: secrets, an ssh agent, credentials. Each asks the client anew; nothing is kept. */

const absent = (error: unknown) =>
  error instanceof GrpcError && (error.status === GRPC.notFound || error.status === GRPC.unimplemented);

/** Undefined when the client has none of this id. */
export async function secretOf(session: Session, id: string, signal: AbortSignal): Promise<Uint8Array | undefined> {
  try {
    const request = new MessageWriter().text(1, id).finish();
    const answer = await callOnce(session.http2, "/moby.buildkit.secrets.v1.Secrets/GetSecret", request, signal);
    return new MessageReader(answer).bytes(1);
  } catch (error) {
    if (absent(error)) return undefined;
    throw error;
  }
}

/** Credentials for a registry's host, as the client's configuration has them. */
export async function credentialsOf(
  session: Session,
  host: string,
  signal: AbortSignal,
): Promise<RegistryAuth | undefined> {
  try {
    const request = new MessageWriter().text(1, host).finish();
    const answer = await callOnce(session.http2, "/moby.filesync.v1.Auth/Credentials", request, signal);
    const credentials = new MessageReader(answer);
    const [username, secret] = [credentials.text(1), credentials.text(2)];
    if (secret === "") return undefined;
    return username === "" ? { identitytoken: secret } : { username, password: secret };
  } catch (error) {
    if (absent(error)) return undefined;
    throw error;
  }
}

/** The client's agent as a socket here. */
export interface AgentSocket {
  readonly path: string;
  close(): Promise<void>;
}

/** Undefined when the client forwards none of this id. The caller closes it, when nobody uses it any more. */
export async function agentOf(session: Session, id: string, signal: AbortSignal): Promise<AgentSocket | undefined> {
  try {
    const request = new MessageWriter().text(1, id).finish();
    await callOnce(session.http2, "/moby.sshforward.v1.SSH/CheckAgent", request, signal);
  } catch (error) {
    if (absent(error)) return undefined;
    throw error;
  }
  const directory = await mkdtemp(join(tmpdir(), "inro-agent-"));
  const path = join(directory, "agent");
  const server = createServer((socket) => {
    socket.on("error", () => socket.destroy());
    let stream: GrpcStream;
    try {
      stream = openCall(session.http2, "/moby.sshforward.v1.SSH/ForwardAgent", { "buildkit.ssh.id": id }, signal);
    } catch {
      // The client has left; the build is about to hear of it.
      socket.destroy();
      return;
    }
    socket.on("data", (data: Buffer) => {
      socket.pause();
      stream.send(new MessageWriter().bytes(1, data).finish()).then(
        () => socket.resume(),
        () => socket.destroy(),
      );
    });
    socket.on("end", () => stream.end());
    socket.on("close", () => stream.cancel());
    (async () => {
      for await (const message of stream.messages()) socket.write(new MessageReader(message).bytes(1));
      socket.end();
    })().catch(() => socket.destroy());
  });
  await new Promise<void>((resolve, reject) => {
    server.once("error", reject);
    server.listen(path, resolve);
  });
  return {
    path,
    async close() {
      server.close();
      await rm(directory, { recursive: true, force: true }).catch((error) => {
        if (codeOf(error) !== "ENOENT") throw error;
      });
    },
  };
}
