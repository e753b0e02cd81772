import { invalid } from "../../base/errors.ts";
import { PROPAGATIONS } from "./volume-spec.ts";

// Each word and the one it switches off (mount(8)); a later word wins over an earlier one of its pair.
const OPPOSITE: Record<string, string> = {
  ro: "rw",
  rw: "ro",
  exec: "noexec",
  noexec: "exec",
  suid: "nosuid",
  nosuid: "suid",
  dev: "nodev",
  nodev: "dev",
  sync: "async",
  async: "sync",
  dirsync: "",
  remount: "",
  defaults: "",
  atime: "noatime",
  noatime: "atime",
  diratime: "nodiratime",
  nodiratime: "diratime",
  relatime: "norelatime",
  norelatime: "relatime",
  strictatime: "nostrictatime",
  nostrictatime: "strictatime",
  bind: "",
  rbind: "",
};
const REFUSED = ["remount", "bind", "rbind"];

// tmpfs(5) parameters and the form of their values.
const DATA: Record<string, RegExp> = {
  size: /^[0-9]{1,19}[kKmMgGtT%]?$/,
  mode: /^[0-7]{1,4}$/,
  uid: /^[0-9]{1,10}$/,
  gid: /^[0-9]{1,10}$/,
  nr_inodes: /^[0-9]{1,19}[kKmMgG]?$/,
  nr_blocks: /^[0-9]{1,19}[kKmMgG]?$/,
  mpol: /^[a-z]+(=[a-z]+)?(:[0-9,-]+)?$/,
};

const BASE = ["noexec", "nosuid", "nodev", "rprivate"];

/** Mount options of a tmpfs: docker's safe base, overridden by `text` (comma-separated). Throws invalid. */
export const tmpfsOptions = (text: string): string[] => tmpfsWords(text, BASE);

/** As {@link tmpfsOptions}, on any base. */
export function tmpfsWords(text: string, base: readonly string[]): string[] {
  const options = [...base];
  const drop = (test: (option: string) => boolean) => {
    const at = options.findIndex(test);
    if (at >= 0) options.splice(at, 1);
  };
  for (const word of text.split(",")) {
    if (word === "") continue;
    const [name = "", value] = word.split(/=(.*)/s, 2);
    const form = Object.hasOwn(DATA, name) ? DATA[name] : undefined;
    if (value !== undefined && form?.test(value)) {
      drop((option) => option.startsWith(`${name}=`));
    } else if ((PROPAGATIONS as readonly string[]).includes(word)) {
      drop((option) => (PROPAGATIONS as readonly string[]).includes(option));
    } else if (Object.hasOwn(OPPOSITE, word) && !REFUSED.includes(word)) {
      drop((option) => option === word);
      drop((option) => option === OPPOSITE[word]);
    } else {
      throw invalid(`invalid tmpfs option ${JSON.stringify(word.slice(0, 64))}`);
    }
    options.push(word);
  }
  return options;
}
