import type { RegistryAuth } from "../../registry/auth.ts";
import type { AgentChannel } from "../build-agents.ts";
import { callOnce, GRPC, GrpcError, openCall } from "./grpc.ts";
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

/** Whether the client forwards an agent of this id. */
export async function hasAgent(session: Session, id: string, signal: AbortSignal): Promise<boolean> {
  try {
    const request = new MessageWriter().text(1, id).finish();
    await callOnce(session.http2, "/moby.sshforward.v1.SSH/CheckAgent", request, signal);
    return true;
  } catch (error) {
    if (absent(error)) return false;
    throw error;
  }
}

/** A connection to it. */
export function agentChannel(session: Session, id: string): AgentChannel {
  const stream = openCall(
    session.http2,
    "/moby.sshforward.v1.SSH/ForwardAgent",
    { "buildkit.ssh.id": id },
    session.gone,
  );
  return {
    read: (async function* () {
      for await (const message of stream.messages()) yield new MessageReader(message).bytes(1);
    })(),
    write: (data) => stream.send(new MessageWriter().bytes(1, data).finish()),
    end: () => stream.end(),
    cancel: () => stream.cancel(),
  };
}
