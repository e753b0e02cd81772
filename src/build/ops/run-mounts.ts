import {
  chmodSync,
  chownSync,
  createReadStream,
  createWriteStream,
  fstatSync,
  mkdirSync,
  readlinkSync,
  statSync,
} from "node:fs";
import { join } from "node:path";
import { pipeline } from "node:stream/promises";
import { invalid, notFound, notImplemented } from "../../base/errors.ts";
import { copyInChild } from "../../layers/apply-command.ts";
import * as k from "../../linux/constants.ts";
import { close, statat } from "../../linux/file.ts";
import { detachedFilesystem, PLAIN_OVERLAY } from "../../linux/mount.ts";
import { inUserNamespace } from "../../linux/rights.ts";
import { kernelAtLeast } from "../../runtime/rootfs.ts";
import type { Mount } from "../../spec/oci-runtime.ts";
import type { RunMount, StepContext } from "../step.ts";
import { secretFile } from "./secret-file.ts";
import { openInSource, pathOf } from "./source.ts";

type Of<T extends RunMount["type"]> = Extract<RunMount, { type: T }>;

/** In a step, whatever the image has there (seccomp and capabilities apart, which hold anyway). */
const FLAGS = ["nosuid", "nodev"];
const MOST_SECRET = 512_000;

/** Mounts of a RUN step, with all that they need open and leased until they are closed. */
export class RunMounts {
  readonly mounts: Mount[] = [];
  readonly env: string[] = [];
  readonly #open: number[] = [];
  readonly #ends: (() => void)[] = [];
  #made = 0;

  private constructor(
    private readonly directory: string,
    private readonly ctx: StepContext,
  ) {}

  /** `directory` is the step's own, on disk: what is written to read-write binds goes there, and with it. */
  static async open(mounts: readonly RunMount[], directory: string, ctx: StepContext): Promise<RunMounts> {
    const opened = new RunMounts(directory, ctx);
    try {
      for (const mount of mounts) await opened.#add(mount);
      // Parents first; the order of equals stays.
      const depth = ({ destination }: Mount) => destination.split("/").filter(Boolean).length;
      opened.mounts.sort((a, b) => depth(a) - depth(b));
      return opened;
    } catch (error) {
      opened.close();
      throw error;
    }
  }

  /** After the step has ended. */
  close(): void {
    for (const end of this.#ends.splice(0).reverse()) end();
    for (const fd of this.#open.splice(0)) close(fd);
  }

  async #add(mount: RunMount): Promise<void> {
    if (mount.type === "bind") await this.#bind(mount);
    else if (mount.type === "cache") await this.#cache(mount);
    else if (mount.type === "tmpfs") this.#tmpfs(mount);
    else if (mount.type === "secret") await this.#secret(mount);
    else await this.#agent(mount);
  }

  #keep(fd: number): number {
    this.#open.push(fd);
    return fd;
  }

  #push(destination: string, source: string, readOnly: boolean): void {
    this.mounts.push({
      destination,
      type: "bind",
      source,
      options: ["rbind", "rprivate", ...FLAGS, ...(readOnly ? ["rro"] : [])],
    });
  }

  /** What is written to a bind goes with the step: the source may be another stage's, or in the cache (CVE-2024-23651). */
  async #bind({ target, source, path, readOnly }: Of<"bind">): Promise<void> {
    const opened = openInSource(source, path, this.ctx);
    this.#ends.push(() => opened.close());
    const { fd } = opened;
    if (readOnly) {
      this.#push(target, pathOf(fd), true);
      return;
    }
    const own = join(this.directory, `bind-${this.#made++}`);
    mkdirSync(own, { mode: 0o700 });
    const { mode, uid, gid } = statat(fd, "");
    if ((mode & k.S_IFMT) !== k.S_IFDIR) {
      if ((mode & k.S_IFMT) !== k.S_IFREG) throw invalid(`mount ${target}: ${path} is no file or directory`);
      const copy = join(own, "file");
      await pipeline(createReadStream(pathOf(fd)), createWriteStream(copy, { flags: "wx", mode: 0o600 }), {
        signal: this.ctx.signal,
      });
      chownSync(copy, uid, gid);
      chmodSync(copy, mode & 0o7777);
      this.#push(target, copy, false);
      return;
    }
    for (const name of ["upper", "work"]) mkdirSync(join(own, name), { mode: 0o755 });
    chownSync(join(own, "upper"), uid, gid);
    chmodSync(join(own, "upper"), mode & 0o7777);
    const overlay: (readonly [string, string | undefined])[] = [
      ["upperdir", join(own, "upper")],
      ["workdir", join(own, "work")],
      ["volatile", undefined],
      ...(inUserNamespace() ? PLAIN_OVERLAY : []),
    ];
    const place = placeOf(fd);
    if (place !== undefined) {
      const words = overlay.map(([key, value]) => (value === undefined ? key : `${key}=${value}`));
      const options = [...FLAGS, `lowerdir=${escaped(place)}`, ...words];
      this.mounts.push({ destination: target, type: "overlay", source: "overlay", options });
      return;
    }
    if (!kernelAtLeast(6, 15)) throw notImplemented(`a read-write mount of ${path} in several layers needs Linux 6.15`);
    this.#push(
      target,
      pathOf(this.#keep(detachedFilesystem("overlay", "overlay", [["lowerdir+", pathOf(fd)], ...overlay]))),
      false,
    );
  }

  async #cache({ target, id, sharing, from, readOnly, mode, uid, gid }: Of<"cache">): Promise<void> {
    const { ctx } = this;
    const fill = async (directory: string): Promise<void> => {
      if (from) {
        const opened = openInSource(from.source, from.path, ctx);
        try {
          const request = {
            from: { layers: [pathOf(opened.fd)], path: "." },
            to: directory,
            options: { what: `fill cache mount ${target}` },
          };
          await copyInChild(request, ctx.signal);
        } finally {
          opened.close();
        }
        return;
      }
      chownSync(directory, uid, gid);
      chmodSync(directory, mode);
    };
    const lease = await ctx.cacheMount(id, sharing, fill);
    this.#ends.push(() => lease.release());
    this.#push(target, lease.path, readOnly);
  }

  #tmpfs({ target, size }: Of<"tmpfs">): void {
    const options = [...FLAGS, "mode=1777", ...(size === undefined ? [] : [`size=${size}`])];
    this.mounts.push({ destination: target, type: "tmpfs", source: "tmpfs", options });
  }

  async #secret({ id, target, env, required, mode, uid, gid }: Of<"secret">): Promise<void> {
    const value = await this.ctx.secret(id);
    if (value === undefined) {
      if (required) throw notFound(`secret ${id}: not found`);
      return;
    }
    if (value.length > MOST_SECRET) throw invalid(`secret ${id}: ${value.length} bytes, at most ${MOST_SECRET}`);
    if (env !== undefined) {
      const text = new TextDecoder().decode(value);
      if (text.includes("\0")) throw invalid(`secret ${id}: a variable cannot hold a NUL`);
      this.env.push(`${env}=${text}`);
    }
    if (target !== undefined) {
      const file = secretFile(value, { mode, uid, gid });
      this.#ends.push(() => file.close());
      this.#push(target, file.path, true);
    }
  }

  async #agent({ id, target, required, mode, uid, gid }: Of<"ssh">): Promise<void> {
    const socket = await this.ctx.agent(id);
    if (socket === undefined) {
      if (required) throw notFound(`ssh agent ${id}: the client forwards none of that name`);
      return;
    }
    chownSync(socket, uid, gid);
    chmodSync(socket, mode);
    this.#push(target, socket, false);
    if (!this.env.some((entry) => entry.startsWith("SSH_AUTH_SOCK="))) this.env.push(`SSH_AUTH_SOCK=${target}`);
  }
}

/** Where a directory is in our mount namespace; undefined when it is in a mount that is attached nowhere. */
function placeOf(fd: number): string | undefined {
  const place = readlinkSync(`/proc/self/fd/${fd}`);
  const [there, here] = [statSync(place, { throwIfNoEntry: false }), fstatSync(fd)];
  return there && there.dev === here.dev && there.ino === here.ino ? place : undefined;
}

/** In `lowerdir` a colon ends a path, and a comma an option (overlayfs.rst). */
const escaped = (path: string) => path.replace(/[\\:,]/g, "\\$&");
