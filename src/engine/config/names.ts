import { randomInt } from "node:crypto";
import { invalid } from "../../base/errors.ts";

const NAME = /^[a-zA-Z0-9][a-zA-Z0-9_.-]+$/;

/** A container's name without the leading slash that clients may send. Throws invalid. */
export function containerName(name: string): string {
  const bare = name.startsWith("/") ? name.slice(1) : name;
  if (bare.length > 255) throw invalid(`invalid container name: longer than 255 characters`);
  if (NAME.test(bare)) return bare;
  throw invalid(`Invalid container name (${name.slice(0, 255)}), only [a-zA-Z0-9][a-zA-Z0-9_.-] are allowed`);
}

const ADJECTIVES = (
  "amber bold brisk calm clear crisp dapper deft eager early even fair fleet frank gentle glad golden grand hardy hazel " +
  "honest humble ivory jolly keen kind level light lively lucid mellow merry mild modest neat nimble noble olive patient " +
  "placid plain polite proud quick quiet ready robust rosy rustic sable sage serene sharp silent silver simple sleek " +
  "sober solid spry stable steady still stout subtle sunny supple swift tacit tidy upright vivid warm wise witty zesty"
).split(" ");

// Lacquer work and what is made with it.
const CRAFTS = (
  "anvil awl basket beam bellows bobbin bowl box brush buckle burin cabinet candle canvas cask casket chest chisel clasp " +
  "clay comb cord cup drawer dye enamel fan file flute forge frame gilding glaze gouge hammer handle hinge inlay jar joint " +
  "kiln lacquer ladle lantern lathe leather lid loom mallet mortar needle netsuke panel paper parcel pestle plane pouch " +
  "reed ribbon ring saddle sash seal shears shuttle sieve silk spindle spool stitch tassel thread tile tray trowel varnish " +
  "vase vessel wax weave whistle wicker"
).split(" ");

const pick = (words: readonly string[]) => words[randomInt(words.length)] as string;

/** A fresh name, `adjective_craft`, with a number behind it when too many are taken. */
export function randomName(taken: (name: string) => boolean): string {
  for (let tries = 0; ; tries++) {
    const name = `${pick(ADJECTIVES)}_${pick(CRAFTS)}${tries < 6 ? "" : randomInt(10 ** Math.min(tries - 5, 9))}`;
    if (!taken(name)) return name;
  }
}
