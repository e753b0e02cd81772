import { containerPath, namesContents, splitEntry } from "../../archive/path.ts";
import type { Engine } from "../../client/engine.ts";
import type { PathStat } from "../../spec/docker-api.ts";
import { type Command, ExitError } from "../command.ts";
import { extractLocal, localDestination, localSource, packLocal } from "../cp/local.ts";
import { direction } from "../cp/places.ts";
import { type Destination, followed, planCopy, renaming } from "../cp/plan.ts";
import { fileStream } from "../files.ts";
import { humanSize } from "../human.ts";
import { stderr, stdout } from "../output.ts";
import { isTerminal } from "../terminal.ts";

export const command: Command = {
  usage: "[OPTIONS] CONTAINER:SRC_PATH DEST_PATH|-\n[OPTIONS] SRC_PATH|- CONTAINER:DEST_PATH",
  args: [2, 2],
  completes: "container",
  flags: [
    { name: "archive", short: "a", type: "bool", help: "Owners: into a container its user, out of it those inside" },
    { name: "follow-link", short: "L", type: "bool", help: "Copy what a symlink SRC_PATH leads to" },
    { name: "quiet", short: "q", type: "bool", help: "Do not say what was copied" },
  ],
  description: `
The container may run or not; its volumes and binds are there in either case.

  SRC      DEST                        what happens
  file     not there                   DEST is the copy
  file     not there, ends with /      an error: a file makes no directory
  file     a file                      is overwritten
  file     a directory                 the copy is in it
  DIR      not there                   DEST is made, with DIR's contents
  DIR      a directory                 DIR is in it
  DIR/.    a directory                 DIR's contents are in it
  DIR      a file                      an error

The directory above DEST must be there. - is a tar, on stdin or stdout. Out of a container, files
become yours, without setuid bits and devices unless -a is given.`,
  examples: [
    ["inro cp web:/etc/nginx/nginx.conf .", "A file out of a container"],
    ["inro cp site/. web:/usr/share/nginx/html", "The contents of a directory into one"],
    ["inro cp web:/var/log - | tar t", "As a tar"],
  ],
  async run({ options, args, engine }) {
    const { from, to } = direction(args[0]!, args[1]!);
    const copy: Copy = {
      engine: engine(),
      archive: options.bool("archive"),
      follow: options.bool("follow-link"),
      copied: 0,
    };
    if (from.kind === "container") {
      if (to.kind === "tar") {
        const { path } = copy.follow ? await followIn(copy, from.id, from.path) : from;
        for await (const chunk of (await copy.engine.getArchive(from.id, path)).response.body)
          await stdout.write(chunk);
        return 0;
      }
      if (to.kind === "here") await copyOut(copy, from.id, from.path, to.path);
    } else if (to.kind === "container") {
      await copyIn(copy, from.kind === "tar" ? undefined : from.path, to.id, to.path);
    }
    const quiet = options.has("quiet") ? options.bool("quiet") : !isTerminal(1);
    if (!quiet) {
      const place = to.kind === "container" ? `${to.id}:${to.path}` : args[1]!;
      await stderr.line(`Successfully copied ${humanSize(copy.copied)} to ${place}`);
    }
    return 0;
  },
};

interface Copy {
  engine: Engine;
  archive: boolean;
  follow: boolean;
  /** Bytes of the tar. */
  copied: number;
}

async function copyOut(copy: Copy, id: string, source: string, destination: string): Promise<void> {
  const to = localDestination(destination);
  const { path, rebase } = copy.follow ? await followIn(copy, id, source) : { path: source, rebase: undefined };
  const { stat, response } = await copy.engine.getArchive(id, path);
  try {
    const plan = planCopy({ path, directory: isDirectory(stat), rebase }, to);
    await extractLocal(response.body, plan.into, {
      rename: plan.name === undefined ? undefined : renaming(splitEntry(containerPath(path)).name, plan.name),
      keepOwners: copy.archive && process.getuid?.() === 0,
      warn: (message) => void stderr.line(`inro: ${message}`),
      count: (bytes) => {
        copy.copied += bytes;
      },
    });
  } finally {
    response.close();
  }
}

/** `source` undefined is a tar on stdin. */
async function copyIn(copy: Copy, source: string | undefined, id: string, destination: string): Promise<void> {
  const to = await containerDestination(copy, id, destination);
  const count = (bytes: number) => {
    copy.copied += bytes;
  };
  const put = (into: string, stream: AsyncIterable<Uint8Array>) =>
    copy.engine.putArchive(id, { path: into, noOverwriteDirNonDir: true, copyUIDGID: copy.archive }, stream);
  if (source === undefined) {
    if (!to.directory) throw new ExitError(1, `destination "${id}:${destination}" must be a directory`);
    await put(to.path, counted(fileStream("-"), count));
    return;
  }
  const from = localSource(source, copy.follow);
  const plan = planCopy(from, to);
  await put(plan.into, packLocal(from, plan.name, count));
}

async function* counted(stream: AsyncIterable<Uint8Array>, count: (bytes: number) => void) {
  for await (const chunk of stream) {
    count(chunk.length);
    yield chunk;
  }
}

/** A symlink at its end is followed; what cannot be looked at is taken for not there, and extracting says the rest. */
async function containerDestination({ engine }: Copy, id: string, asked: string): Promise<Destination> {
  let path = asked === "" ? "/" : asked;
  let stat = await engine.statArchive(id, path).catch(() => undefined);
  if (stat?.linkTarget) {
    path = stat.linkTarget;
    stat = await engine.statArchive(id, path).catch(() => undefined);
  }
  if (stat && !isDirectory(stat) && stat.mode >= GO_FIRST_TYPE) {
    throw new ExitError(1, `destination "${id}:${asked}" must be a directory or a regular file`);
  }
  return {
    path: path.startsWith("/") ? path : `/${path}`,
    exists: stat !== undefined,
    directory: !!stat && isDirectory(stat),
  };
}

/** Go's FileMode: ModeDir, and the least bit of what is no regular file (ModeSocket). */
const GO_DIRECTORY = 2 ** 31;
const GO_FIRST_TYPE = 2 ** 24;
const isDirectory = ({ mode }: PathStat) => mode >= GO_DIRECTORY;

/** Where a symlink of the container leads; the path itself if it is none, or is followed anyway. */
async function followIn(
  { engine }: Copy,
  id: string,
  path: string,
): Promise<{ path: string; rebase: string | undefined }> {
  if (path.endsWith("/") || namesContents(path)) return { path, rebase: undefined };
  const { linkTarget } = await engine.statArchive(id, path).catch(() => ({ linkTarget: "" }));
  return linkTarget ? followed(path, linkTarget) : { path, rebase: undefined };
}
