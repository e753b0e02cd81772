import { sys } from "../../src/linux/call.ts";
import * as k from "../../src/linux/constants.ts";
import { scratch, str } from "../../src/linux/ffi.ts";

/** Turns two names into each other until it is ended: `swap.child.ts A B`. Says "up" first. */
const RENAME_EXCHANGE = 2;
const [one = "", two = ""] = process.argv.slice(2);
const swap = () => {
  scratch(() => sys("renameat2", one, k.AT_FDCWD, str(one), k.AT_FDCWD, str(two), RENAME_EXCHANGE));
};
swap();
console.log("up");
const again = () => {
  for (let i = 0; i < 200; i++) swap();
  setImmediate(again);
};
again();
