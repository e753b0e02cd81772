import { writeFileSync } from "node:fs";
import type { BuildBody, BuildDone, BuildOutput } from "../../spec/build-stream.ts";
import { attestationsOf } from "../build/attestations.ts";
import { cachesOf } from "../build/caches.ts";
import { BuildError, carryBuild } from "../build/connection.ts";
import { buildArgs, parseOutput, parseSecret, parseSsh } from "../build/options.ts";
import { type BuildProgress, NoProgress, PlainProgress, RawJsonProgress, TerminalProgress } from "../build/progress.ts";
import { findSources } from "../build/sources.ts";
import { type Command, type Context, ExitError } from "../command.ts";
import { parseUlimit } from "../create/devices.ts";
import { parseLabel, toMap } from "../create/environment.ts";
import { parseBytes } from "../create/sizes.ts";
import { findCredentials } from "../credentials.ts";
import type { Options } from "../flags.ts";
import { stderr, stdout } from "../output.ts";
import { isTerminal } from "../terminal.ts";

const list = { type: "list" } as const;
const string = { type: "string" } as const;

export const command: Command = {
  usage: "[OPTIONS] PATH | URL | -",
  args: [1, 1],
  completes: "file",
  flags: [
    { name: "add-host", ...list, value: "host:ip", help: "Add a line to /etc/hosts of RUN" },
    { name: "allow", ...list, value: "entitlement", help: "Allow network.host or security.insecure" },
    { name: "annotation", ...list, help: "Annotation of the image ([type:]key=value)" },
    { name: "attest", ...list, help: "Attest the pushed image (type=sbom, type=provenance[,mode=max])" },
    { name: "build-arg", ...list, value: "name[=value]", help: "Value of an ARG" },
    { name: "build-context", ...list, value: "name=path", help: "More files or images, by a name" },
    { name: "builder", ...string, hidden: true, help: "" },
    {
      name: "cache-from",
      ...list,
      value: "ref=name",
      help: "Use a cache: ref=NAME at a registry or an image's own, type=local,src=DIR (,mounts=true: RUN cache mounts too)",
    },
    {
      name: "cache-to",
      ...list,
      value: "ref=name",
      help: "Put the cache there: ref=NAME, type=local,dest=DIR, type=inline (,mode=max ,mounts=true ,ignore-error=true)",
    },
    { name: "call", ...string, default: "build", help: "Look only: check, outline, targets" },
    { name: "cgroup-parent", ...string, help: "Parent cgroup of RUN" },
    { name: "check", type: "bool", help: "Only the build checks (--call=check)" },
    { name: "compress", type: "bool", hidden: true, help: "" },
    { name: "cpu-period", type: "int", hidden: true, help: "" },
    { name: "cpu-quota", type: "int", hidden: true, help: "" },
    { name: "cpu-shares", short: "c", type: "int", hidden: true, help: "" },
    { name: "cpuset-cpus", ...string, hidden: true, help: "" },
    { name: "cpuset-mems", ...string, hidden: true, help: "" },
    { name: "disable-content-trust", type: "bool", hidden: true, help: "" },
    {
      name: "file",
      short: "f",
      ...string,
      completes: "file",
      help: 'The Dockerfile (default: "PATH/Dockerfile"; - is stdin)',
    },
    { name: "force-rm", type: "bool", hidden: true, help: "" },
    { name: "iidfile", ...string, completes: "file", help: "Write the image's id into this file" },
    { name: "isolation", ...string, hidden: true, help: "" },
    { name: "label", ...list, parse: parseLabel, help: "Label of the image" },
    { name: "load", type: "bool", help: "Put the image into the engine (the default)" },
    { name: "memory", short: "m", ...string, hidden: true, help: "" },
    { name: "memory-swap", ...string, hidden: true, help: "" },
    { name: "metadata-file", ...string, completes: "file", help: "Write what was built into this file, as JSON" },
    { name: "network", ...string, default: "default", choices: ["default", "none", "host"], help: "Network of RUN" },
    { name: "no-cache", type: "bool", help: "Do all steps again" },
    { name: "no-cache-filter", ...list, value: "stage", help: "Do all steps of these stages again" },
    {
      name: "output",
      short: "o",
      ...list,
      help: "Where it goes: a directory, -, type=docker|oci|tar|local|image,dest=…",
    },
    { name: "platform", ...list, help: "Platform (os/arch[/variant])" },
    { name: "policy", ...list, hidden: true, help: "" },
    {
      name: "progress",
      ...string,
      default: "auto",
      choices: ["auto", "plain", "tty", "rawjson", "quiet"],
      help: "How progress is shown",
    },
    {
      name: "provenance",
      ...string,
      value: "mode",
      help: "Attest how it was built (min, max): --attest type=provenance",
    },
    { name: "pull", type: "bool", help: "Look for newer base images" },
    { name: "push", type: "bool", help: "Push the image to its registry" },
    { name: "quiet", short: "q", type: "bool", help: "Print only the image's id" },
    { name: "rm", type: "bool", hidden: true, help: "" },
    { name: "sbom", ...string, value: "true", help: "Attest what is in it: --attest type=sbom" },
    { name: "secret", ...list, value: "id=id[,src=file]", help: "Secret for RUN --mount=type=secret (or ,env=NAME)" },
    { name: "security-opt", ...list, hidden: true, help: "" },
    { name: "shm-size", ...string, parse: parseBytes, help: "Size of /dev/shm of RUN" },
    { name: "squash", type: "bool", hidden: true, help: "" },
    { name: "ssh", ...list, value: "default|id[=socket]", help: "Agent for RUN --mount=type=ssh" },
    { name: "tag", short: "t", ...list, value: "name[:tag]", help: "Name of the image" },
    { name: "target", ...string, value: "stage", help: "Build this stage" },
    { name: "ulimit", ...list, value: "ulimit", parse: parseUlimit, help: "Resource limit of RUN (type=soft[:hard])" },
  ],
  description: `
Builds an image from a Dockerfile and its context: the files of PATH without those that .dockerignore
names, a git repository, or a tar from stdin. What has been built before comes out of the cache.`,
  examples: [
    ["inro build -t app .", "The Dockerfile of this directory"],
    ["inro build -o out --target artifacts .", "Files of a stage, into a directory"],
    ["inro build -t app --secret id=token,env=TOKEN .", "With a secret that is in no layer"],
  ],
  run,
};

const UNSUPPORTED = [
  "squash",
  "isolation",
  "memory",
  "memory-swap",
  "cpu-period",
  "cpu-quota",
  "cpu-shares",
  "cpuset-cpus",
  "cpuset-mems",
  "security-opt",
  "policy",
];

async function run(context: Context): Promise<number> {
  const { options, args } = context;
  for (const name of UNSUPPORTED)
    if (options.has(name)) throw new ExitError(1, `--${name} is not supported for builds`);
  const attestations = attestationsOf(options);
  const sources = await findSources(args[0]!, options.string("file"), options.list("build-context"));
  const caches = await cachesOf(options.list("cache-from"), options.list("cache-to"), sources.files);
  const secrets = new Map(options.list("secret").map(parseSecret));
  const agents = new Map(options.list("ssh").map(parseSsh));
  const outputs = outputsOf(options);
  const call = callOf(options);
  const body: BuildBody = {
    ...(sources.dockerfile === undefined ? {} : { dockerfile: sources.dockerfile }),
    dockerfileName: sources.dockerfileName,
    ...(sources.context ? { context: sources.context } : {}),
    contexts: sources.contexts,
    tags: options.list("tag"),
    ...(options.string("target") ? { target: options.string("target") } : {}),
    args: buildArgs(options.list("build-arg"), proxies(context)),
    labels: toMap(options.list("label")),
    annotations: options.list("annotation"),
    platforms: platforms(options),
    noCache: options.bool("no-cache"),
    noCacheFilter: options.list("no-cache-filter").flatMap((text) => text.split(",")),
    pull: options.bool("pull"),
    network: options.string("network") || "default",
    extraHosts: options.list("add-host"),
    ...(options.has("shm-size") ? { shmSize: options.value<number>("shm-size")! } : {}),
    ulimits: options.list("ulimit"),
    ...(options.string("cgroup-parent") ? { cgroupParent: options.string("cgroup-parent") } : {}),
    secrets: [...secrets.keys()],
    agents: [...agents.keys()],
    outputs,
    cacheFrom: caches.from,
    cacheTo: caches.to,
    allow: options.list("allow").flatMap((text) => text.split(",")),
    ...(attestations.sbom || attestations.provenance ? { attestations } : {}),
    ...(call ? { call } : {}),
    auths: await auths(context, sources.dockerfile ?? "", [...options.list("tag"), ...caches.references]),
  };
  const quiet = options.bool("quiet") || call !== undefined;
  const progress = progressOf(options, quiet);
  const connection = await context.engine().build(body as unknown as Record<string, unknown>);
  try {
    const client = {
      files: sources.files,
      tar: sources.tar,
      secrets,
      agents,
      outputs,
      caches: caches.directories,
      event: progress.event.bind(progress),
    };
    const done = await carryBuild(connection, client);
    await progress.finish();
    return await finished(done, options);
  } catch (error) {
    if (!(error instanceof BuildError)) throw error;
    const { step, excerpt, message } = error.failure;
    await progress.finish(step);
    if (excerpt) await stderr.line(excerpt);
    throw new ExitError(1, `ERROR: ${message}`);
  } finally {
    connection.close();
  }
}

async function finished(done: BuildDone, options: Options): Promise<number> {
  if (done.printed !== undefined) await stdout.write(done.printed);
  const { imageId } = done;
  if (imageId && options.string("iidfile")) writeFileSync(options.string("iidfile"), imageId);
  if (options.string("metadata-file")) {
    const metadata = {
      ...(imageId ? { "containerimage.config.digest": imageId } : {}),
      ...(done.descriptor ? { "containerimage.descriptor": done.descriptor } : {}),
      ...(done.digest ? { "containerimage.digest": done.digest } : {}),
      ...(done.names.length > 0 ? { "image.name": done.names.join(",") } : {}),
    };
    writeFileSync(options.string("metadata-file"), `${JSON.stringify(metadata, undefined, 2)}\n`);
  }
  if (options.bool("quiet") && imageId) await stdout.line(imageId);
  return done.exitCode ?? 0;
}

function outputsOf(options: Options): BuildOutput[] {
  const outputs = options.list("output").map(parseOutput);
  if (options.bool("push")) outputs.push({ type: "image", attributes: { push: "true" } });
  if (options.bool("load")) outputs.push({ type: "docker", attributes: {} });
  if (outputs.length === 0) outputs.push({ type: "docker", attributes: {} });
  return outputs;
}

function callOf(options: Options): BuildBody["call"] {
  const call = options.bool("check") ? "check" : options.string("call") || "build";
  if (call === "build") return undefined;
  const [name] = call.split(",");
  if (name === "check" || name === "lint") return "check";
  if (name === "outline" || name === "targets") return name;
  throw new ExitError(1, `unsupported call: ${call}`);
}

function progressOf(options: Options, quiet: boolean): BuildProgress {
  const form = quiet ? "quiet" : options.string("progress") || process.env.BUILDKIT_PROGRESS || "auto";
  if (form === "quiet" || form === "none") return new NoProgress(stderr);
  if (form === "plain") return new PlainProgress(stderr);
  if (form === "rawjson") return new RawJsonProgress(stderr);
  if (form === "tty") return new TerminalProgress(stderr);
  if (form === "auto") return isTerminal(2) ? new TerminalProgress(stderr) : new PlainProgress(stderr);
  throw new ExitError(1, `invalid progress mode: ${form}`);
}

function platforms(options: Options): string[] {
  const given = options.list("platform").flatMap((text) => text.split(","));
  const fallback = process.env.DOCKER_DEFAULT_PLATFORM;
  return given.length > 0 || !fallback ? given : [fallback];
}

/** Proxies of the configuration, as every new container has them. */
function proxies({ config }: Context): Record<string, string> {
  const found = config.proxies?.default;
  if (!found) return {};
  const pairs: [string, string | undefined][] = [
    ["HTTP_PROXY", found.httpProxy],
    ["HTTPS_PROXY", found.httpsProxy],
    ["NO_PROXY", found.noProxy],
    ["FTP_PROXY", found.ftpProxy],
    ["ALL_PROXY", found.allProxy],
  ];
  return Object.fromEntries(
    pairs.flatMap(([name, value]) =>
      value
        ? [
            [name, value],
            [name.toLowerCase(), value],
          ]
        : [],
    ),
  );
}

/** Credentials of the registries that the build may ask: all that are kept here, and those of a helper as far as they are named. */
async function auths(
  { config }: Context,
  dockerfile: string,
  references: readonly string[],
): Promise<Record<string, unknown>> {
  const registries = new Set(Object.keys(config.auths ?? {}));
  for (const key of Object.keys(config.credHelpers ?? {})) registries.add(key);
  if (config.credsStore) {
    const bases = [...dockerfile.matchAll(/^\s*FROM\s+(?:--\S+\s+)*(\S+)/gim)].map(([, reference]) => reference!);
    for (const reference of [...bases, ...references]) {
      const first = reference.split("/")[0]!;
      registries.add(reference.includes("/") && /[.:]/.test(first) ? first : "https://index.docker.io/v1/");
    }
  }
  const found: Record<string, unknown> = {};
  for (const registry of registries) {
    try {
      const credentials = await findCredentials(config, registry);
      if (credentials) found[registry] = credentials;
    } catch (error) {
      await stderr.line(`WARNING: no credentials for ${registry}: ${(error as Error).message}`);
    }
  }
  return found;
}
