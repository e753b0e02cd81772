import { isDigest, sha256 } from "../../base/digest.ts";
import type { BuildEvent, BuildVertex } from "../../spec/build.ts";
import { MessageWriter } from "./protobuf.ts";

/** Progress as BuildKit's `StatusResponse` (api/services/control/control.proto). */
export function encodeStatus({ vertexes, statuses, logs, warnings }: BuildEvent): Buffer {
  const message = new MessageWriter();
  for (const vertex of vertexes ?? []) message.message(1, encodeVertex(vertex));
  for (const { id, vertex, name, current, total, timestamp: at, started, completed } of statuses ?? []) {
    const status = new MessageWriter()
      .text(1, id)
      .text(2, digestOf(vertex))
      .text(3, name)
      .uint(4, current)
      .uint(5, total);
    message.message(
      2,
      status.message(6, timestamp(at)).message(7, timestamp(started)).message(8, timestamp(completed)).finish(),
    );
  }
  for (const { vertex, timestamp: at, stream, data } of logs ?? []) {
    message.message(
      3,
      new MessageWriter().text(1, digestOf(vertex)).message(2, timestamp(at)).uint(3, stream).bytes(4, data).finish(),
    );
  }
  for (const { vertex, short, detail, url } of warnings ?? []) {
    // A warning belongs to a vertex: without one clients do not show it.
    if (!vertex) continue;
    const warning = new MessageWriter()
      .text(1, digestOf(vertex))
      .uint(2, 1)
      .text(3, short)
      .text(4, detail)
      .text(5, url);
    message.message(4, warning.finish());
  }
  return message.finish();
}

function encodeVertex({ digest, inputs, name, cached, started, completed, error }: BuildVertex): Buffer {
  const message = new MessageWriter().text(1, digestOf(digest));
  for (const input of inputs) message.text(2, digestOf(input));
  return message
    .text(3, name)
    .bool(4, cached)
    .message(5, timestamp(started))
    .message(6, timestamp(completed))
    .text(7, error)
    .finish();
}

/** Clients show digests alone; what goes on beside the graph has other names. */
const digestOf = (name: string) => (isDigest(name) ? name : sha256(name));

/** google.protobuf.Timestamp of milliseconds since 1970. */
export function timestamp(ms: number | undefined): Buffer | undefined {
  if (ms === undefined) return undefined;
  const seconds = Math.floor(ms / 1000);
  return new MessageWriter()
    .uint(1, seconds)
    .uint(2, Math.floor((ms - seconds * 1000) * 1e6))
    .finish();
}
