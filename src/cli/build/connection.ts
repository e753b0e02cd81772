import { mkdirSync } from "node:fs";
import { connect, type Socket } from "node:net";
import { writeTar } from "../../archive/tar.ts";
import { Incoming } from "../../base/incoming.ts";
import type { Hijacked } from "../../client/transport.ts";
import type { BuildEvent } from "../../spec/build.ts";
import {
  BUILD_FRAME,
  type BuildAsk,
  type BuildDone,
  type BuildFailure,
  type BuildOutput,
  FrameReader,
  frame,
} from "../../spec/build-stream.ts";
import { extractLocal } from "../cp/local.ts";
import { writeFile } from "../files.ts";
import { stderr, stdout } from "../output.ts";
import { takeCache } from "./caches.ts";
import type { LocalFiles } from "./sources.ts";
import { type ContextEntry, gathered, members, walkContext } from "./walk.ts";

/** A build that failed; its message is the engine's. */
export class BuildError extends Error {
  constructor(readonly failure: BuildFailure) {
    super(failure.message);
  }
}

export interface BuildClient {
  files: readonly LocalFiles[];
  tar: AsyncIterable<Uint8Array> | undefined;
  secrets: ReadonlyMap<string, () => Uint8Array>;
  agents: ReadonlyMap<string, string>;
  outputs: readonly BuildOutput[];
  /** Directories of `cacheTo`, by its index. */
  caches: ReadonlyMap<number, string>;
  event(event: BuildEvent): void;
}

const LISTING_PIECE = 1 << 20;

/** Answers what the engine asks until the build is done. Rejects with BuildError. */
export async function carryBuild(connection: Hijacked, client: BuildClient): Promise<BuildDone> {
  const reader = new FrameReader();
  const listings: ContextEntry[][] = [];
  const incoming = new Map<number, Incoming>();
  const agents = new Map<number, Socket>();
  let failure: unknown;
  const fail = (error: unknown) => {
    failure ??= error;
    connection.close();
  };
  // Where the engine has closed it, what it said last is still to be read.
  const send = (type: number, id: number, payload: Uint8Array | string = "") =>
    connection.write(frame(type, id, payload)).catch(() => {});
  const refuse = (id: number, error: unknown) =>
    send(BUILD_FRAME.refuse, id, error instanceof Error ? error.message : String(error));

  const list = async (number: number) => {
    const { directory, rules } = client.files[number]!;
    const entries = walkContext(directory, rules);
    listings[number] = entries;
    const bytes = Buffer.from(JSON.stringify(entries.map(({ path, stamp }) => [path, stamp])));
    for (let at = 0; at < bytes.length; at += LISTING_PIECE) {
      await send(BUILD_FRAME.listing, number, bytes.subarray(at, at + LISTING_PIECE));
    }
    await send(BUILD_FRAME.listing, number);
  };
  const stream = async (id: number, bytes: AsyncIterable<Uint8Array>) => {
    try {
      for await (const chunk of bytes) await send(BUILD_FRAME.data, id, chunk);
      await send(BUILD_FRAME.end, id);
    } catch (error) {
      await refuse(id, error);
    }
  };
  const answer = async (ask: BuildAsk) => {
    switch (ask.ask) {
      case "files": {
        const entries = ask.entries.flatMap((at) => listings[ask.context]?.[at] ?? []);
        await stream(ask.id, gathered(writeTar(members(client.files[ask.context]!.directory, entries))));
        break;
      }
      case "secret": {
        const read = client.secrets.get(ask.secret);
        if (!read) return await refuse(ask.id, new Error(`secret ${ask.secret} not found`));
        await stream(ask.id, pieces(read));
        break;
      }
      case "agent": {
        const path = client.agents.get(ask.agent);
        if (!path) return await refuse(ask.id, new Error(`ssh agent ${ask.agent} not found`));
        const socket = connect(path);
        agents.set(ask.id, socket);
        socket.on("data", (data) => void send(BUILD_FRAME.data, ask.id, data).catch(fail));
        socket.on("error", (error) => void refuse(ask.id, error).catch(fail));
        socket.on("end", () => void send(BUILD_FRAME.end, ask.id).catch(fail));
        break;
      }
      case "cache":
      case "output": {
        const input = new Incoming();
        incoming.set(ask.id, input);
        try {
          if (ask.ask === "output") await take(client.outputs[ask.index], ask.kind, input.read());
          else await takeCache(directoryOf(client.caches, ask.index), input.read());
          await send(BUILD_FRAME.end, ask.id);
        } catch (error) {
          await refuse(ask.id, error);
        }
      }
    }
  };

  const begin = async () => {
    for (const number of client.files.keys()) await list(number);
    if (client.tar) await stream(0, client.tar);
  };
  begin().catch(fail);
  for (;;) {
    const chunk = await connection.read();
    if (failure !== undefined) throw failure;
    if (!chunk) throw new Error("the connection to the engine broke off in the middle of the build");
    for (const { type, id, payload } of reader.push(chunk)) {
      const json = <T>() => JSON.parse(new TextDecoder().decode(payload)) as T;
      if (type === BUILD_FRAME.event) client.event(json<BuildEvent>());
      else if (type === BUILD_FRAME.done) return json<BuildDone>();
      else if (type === BUILD_FRAME.failed) throw new BuildError(json<BuildFailure>());
      else if (type === BUILD_FRAME.ask) answer(json<BuildAsk>()).catch(fail);
      else if (type === BUILD_FRAME.data) {
        agents.get(id)?.write(payload);
        await incoming.get(id)?.push(payload);
      } else if (type === BUILD_FRAME.end) {
        agents.get(id)?.end();
        incoming.get(id)?.end();
      }
    }
  }
}

async function* pieces(read: () => Uint8Array): AsyncGenerator<Uint8Array> {
  const bytes = read();
  if (bytes.length > 0) yield bytes;
}

function directoryOf(caches: BuildClient["caches"], index: number): string {
  const directory = caches.get(index);
  if (directory === undefined) throw new Error("a cache has no place to go");
  return directory;
}

/** What comes of the engine is put where the user said. */
async function take(
  output: BuildOutput | undefined,
  kind: "file" | "files",
  bytes: AsyncIterable<Uint8Array>,
): Promise<void> {
  const dest = output?.dest;
  if (dest === undefined) throw new Error("an output has no place to go");
  if (kind === "file") {
    if (dest !== "-") return await writeFile(dest, bytes);
    for await (const chunk of bytes) await stdout.write(chunk);
    return;
  }
  mkdirSync(dest, { recursive: true });
  const warn = (text: string) => void stderr.line(`WARNING: ${text}`);
  await extractLocal(bytes, dest, { keepOwners: false, warn, count: () => {} });
}
