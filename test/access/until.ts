import { readFileSync, watch } from "node:fs";

/** The text of a file as soon as it fits. */
export async function until(path: string, fits: (text: string) => boolean): Promise<string> {
  for (;;) {
    const changed = new Promise<void>((resolve) => {
      const watcher = watch(path, () => {
        watcher.close();
        resolve();
      });
    });
    const text = readFileSync(path, "utf8");
    if (fits(text)) return text;
    await changed;
  }
}
