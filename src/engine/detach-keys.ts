import { invalid } from "../base/errors.ts";

const DEFAULT = "ctrl-p,ctrl-q";

/** The bytes of a key sequence in docker's notation: letters, and `ctrl-` with a letter or one of `@ [ \ ] ^ _`. */
export function parseDetachKeys(text: string | undefined): Uint8Array {
  const keys = (text ?? DEFAULT) === "" ? [] : (text ?? DEFAULT).split(",");
  return Uint8Array.from(keys, (key) => {
    if (key.length === 1) return key.charCodeAt(0);
    const control = /^ctrl-([a-z@[\\\]^_])$/.exec(key)?.[1];
    if (control === undefined)
      throw invalid(`invalid detach keys (${text?.slice(0, 100)}): unknown key '${key.slice(0, 20)}'`);
    return control === "@" ? 0 : control.toUpperCase().charCodeAt(0) & 0x1f;
  });
}

/** Finds the sequence in what a client types, also across writes. */
export class DetachKeys {
  #matched = 0;
  constructor(private readonly keys: Uint8Array) {}

  /**
   * What of `data` is for the process, and whether the sequence was completed. The beginning of a sequence is held back
   * until the next byte decides.
   */
  filter(data: Uint8Array): { data: Uint8Array; detach: boolean } {
    if (this.keys.length === 0) return { data, detach: false };
    const out: number[] = [];
    if (this.#matched === 0 && !data.includes(this.keys[0]!)) return { data, detach: false };
    for (const byte of data) {
      if (byte === this.keys[this.#matched]) {
        if (++this.#matched === this.keys.length) return { data: Uint8Array.from(out), detach: true };
        continue;
      }
      out.push(...this.keys.subarray(0, this.#matched));
      this.#matched = 0;
      if (byte === this.keys[0]) this.#matched = 1;
      else out.push(byte);
    }
    return { data: Uint8Array.from(out), detach: false };
  }
}
