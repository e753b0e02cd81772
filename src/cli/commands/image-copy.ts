import { isStatus } from "../../client/api-error.ts";
import { ContextStore, endpointOf } from "../../client/contexts.ts";
import { parseEndpoint } from "../../client/endpoint.ts";
import { Engine } from "../../client/engine.ts";
import { jsonStream } from "../../client/json-stream.ts";
import type { StreamMessage } from "../../spec/docker-api.ts";
import type { ImageBlobs, MissingBlobs } from "../../spec/image-copy.ts";
import { type Command, ExitError } from "../command.ts";
import { fileStream, writeFile } from "../files.ts";
import { humanSize } from "../human.ts";
import { stderr, stdout } from "../output.ts";
import { showProgress } from "../progress.ts";

const ENGINE = /^(ssh|unix|tcp|context):/;
const ARCHIVE = /^(?:docker|oci)-archive:(.+)$/;
const REGISTRY = /^docker:\/\/(.+)$/;

export const command: Command = {
  usage: "[OPTIONS] SOURCE [TARGET]",
  args: [1, 2],
  completes: "image",
  flags: [
    { name: "from", type: "string", value: "engine", help: "Engine that has the image (default: the one in use)" },
    { name: "quiet", short: "q", type: "bool", help: "No progress" },
  ],
  description: `Places are:
  NAME                      an image of the engine, under its name at the target too
  ssh://HOST, unix://PATH, tcp://HOST:PORT, context:NAME
                            another engine, as a target or with --from; only what it has not is sent
  docker://REFERENCE        at a registry; from one to another nothing is stored here, and all platforms go along
  docker-archive:FILE, oci-archive:FILE
                            a file, which is both`,
  examples: [
    ["inro image copy app:3 ssh://anna@prod.example.org", "The layers that the machine does not have"],
    ["inro image copy --from ssh://anna@prod.example.org app:3", "The other way round"],
    ["inro image copy docker://one.example/app:3 docker://two.example/app:3", "From registry to registry"],
  ],
  async run({ options, args, engine, choice }) {
    const [source, target] = args as [string, string?];
    const quiet = options.bool("quiet");
    const open = (place: string) =>
      new Engine({
        endpoint: place.startsWith("context:")
          ? endpointOf(new ContextStore(choice.directory).get(place.slice("context:".length)))
          : parseEndpoint(place),
      });
    const [from, to] = [REGISTRY.exec(source)?.[1], REGISTRY.exec(target ?? "")?.[1]];
    if (from !== undefined && to !== undefined) {
      await show(betweenRegistries(engine(), from, to), quiet);
      return 0;
    }
    if (from !== undefined || to !== undefined) {
      throw new ExitError(1, "a copy between a registry and another place is inro pull, or inro push");
    }
    const here = options.has("from") ? open(options.string("from")) : engine();
    const file = ARCHIVE.exec(source)?.[1];
    const there = target !== undefined && ENGINE.test(target) ? open(target) : undefined;
    if (file !== undefined) {
      if (target !== undefined && !there) throw new ExitError(1, `an archive is copied to an engine, not to ${target}`);
      await show((there ?? engine()).loadImages(fileStream(file), { quiet }), quiet);
      return 0;
    }
    const into = ARCHIVE.exec(target ?? "")?.[1];
    if (into !== undefined) {
      await writeFile(into, (await here.saveImages([source])).body);
      return 0;
    }
    if (target !== undefined && !there) throw new ExitError(1, `${JSON.stringify(target)} is no place to copy to`);
    if (!there && !options.has("from")) throw new ExitError(1, "where to? An engine, such as ssh://HOST, or a file");
    await betweenEngines(here, there ?? engine(), source, quiet);
    return 0;
  },
};

async function* betweenRegistries(engine: Engine, source: string, target: string): AsyncGenerator<StreamMessage> {
  const [auth, targetAuth] = [await engine.registryAuth(source), await engine.registryAuth(target)];
  const response = await engine.transport.request({
    method: "POST",
    path: "/inro/images/copy",
    query: { source, target },
    headers: {
      ...(auth ? { "X-Registry-Auth": auth } : {}),
      ...(targetAuth ? { "X-Registry-Auth-Target": targetAuth } : {}),
    },
  });
  yield* jsonStream<StreamMessage>(response.body);
}

async function betweenEngines(from: Engine, to: Engine, name: string, quiet: boolean): Promise<void> {
  const plan = await difference(from, to, name);
  // What the target had may be gone by the time it is needed; and an engine that is not inro takes all.
  const whole = async () => (await from.saveImages([name])).body;
  if (!plan) {
    await show(to.loadImages(await whole(), { quiet }), quiet);
    return;
  }
  const { without, sent, size } = plan;
  const archive = await from.transport.request({
    method: "POST",
    path: "/inro/images/get",
    json: { Names: [name], Without: without },
  });
  if (!quiet) await stderr.line(`${sent} of ${sent + without.length} blobs to send, ${humanSize(size)}`);
  try {
    await show(to.loadImages(archive.body, { quiet }), quiet);
  } catch (error) {
    if (without.length === 0 || !/image archive: no /.test(String(error))) throw error;
    await show(to.loadImages(await whole(), { quiet }), quiet);
  }
}

async function difference(from: Engine, to: Engine, name: string) {
  try {
    const { Blobs } = await from.json<ImageBlobs>("POST", "/inro/images/blobs", { json: { Names: [name] } });
    const all = Blobs.map(({ digest }) => digest);
    const { Missing } = await to.json<MissingBlobs>("POST", "/inro/images/missing", { json: { Blobs: all } });
    const missing = new Set(Missing);
    const size = Blobs.reduce((sum, blob) => sum + (missing.has(blob.digest) ? blob.size : 0), 0);
    return { without: all.filter((digest) => !missing.has(digest)), sent: missing.size, size };
  } catch (error) {
    if (isStatus(error, 404) && /page not found/.test(String(error))) return undefined;
    throw error;
  }
}

async function show(messages: AsyncIterable<StreamMessage>, quiet: boolean): Promise<void> {
  if (!quiet) return showProgress(messages, stdout);
  for await (const message of messages) {
    if (message.error !== undefined) throw new ExitError(1, message.errorDetail?.message ?? message.error);
  }
}
