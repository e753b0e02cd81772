import { close } from "../../linux/file.ts";

/**
 * Descriptors of detached file systems that several containers share: a tmpfs lives as long as somebody holds it. Each
 * keeper holds those of its container too, so an engine that starts anew takes them from there.
 */
export class HeldMounts {
  readonly #held = new Map<string, { fd: number; users: Set<string> }>();

  /** The descriptor of a volume's file system, which stays this object's; `make` makes it for the first user. */
  take(volume: string, user: string, make: () => number): number {
    let held = this.#held.get(volume);
    if (!held) {
      held = { fd: make(), users: new Set() };
      this.#held.set(volume, held);
    }
    held.users.add(user);
    return held.fd;
  }

  get(volume: string): number | undefined {
    return this.#held.get(volume)?.fd;
  }

  /** A user is gone; what nobody uses any more goes with it. */
  release(user: string): void {
    for (const [volume, { fd, users }] of this.#held) {
      if (!users.delete(user) || users.size > 0) continue;
      this.#held.delete(volume);
      close(fd);
    }
  }

  rename(from: string, to: string): void {
    const held = this.#held.get(from);
    if (!held) return;
    this.#held.delete(from);
    this.#held.set(to, held);
  }
}
