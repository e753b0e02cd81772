import { type Causes, CgroupDirectory } from "./directory.ts";

/** A directory that can take its writes back, as far as a file's text says what it was before. */
export class UndoDirectory extends CgroupDirectory {
  readonly #before: [file: string, value: string][] = [];

  override write(file: string, value: string | number, causes: Causes = {}): void {
    const before = this.tryRead(file);
    super.write(file, value, causes);
    if (before) this.#before.push([file, before]);
  }

  /** Latest first. What the kernel refuses now stays as it is. */
  undo(): void {
    for (const [file, value] of this.#before.splice(0).toReversed()) {
      for (const line of value.split("\n")) {
        try {
          super.write(file, line);
        } catch {
          // Such as a limit below what is in use by now.
        }
      }
    }
  }
}
