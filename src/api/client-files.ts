import type { ClientFiles } from "../engine/build/cache-layout.ts";
import { parseListing } from "../engine/build/contexts.ts";
import { TarParser } from "../layers/tar-read.ts";
import type { BuildConnection } from "./build-connection.ts";

/** A directory of a build's client, file by file, as it listed it. */
export async function clientFiles(connection: BuildConnection, number: number): Promise<ClientFiles> {
  const numbers = new Map(parseListing(await connection.listing(number)).map(([path], at) => [path, at]));
  return {
    read(path) {
      const at = numbers.get(path);
      return at === undefined ? undefined : bodies(connection.ask({ ask: "files", context: number, entries: [at] }));
    },
  };
}

/** What is in the members of a tar. */
async function* bodies(tar: AsyncIterable<Uint8Array>): AsyncGenerator<Uint8Array> {
  const parser = new TarParser();
  for await (const chunk of tar) for (const event of parser.push(chunk)) if ("data" in event) yield event.data;
  parser.end();
}
