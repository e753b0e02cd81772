/** Tar as streams of members, for the command line, which knows no layers. */
export { readTar } from "../layers/tar-read.ts";
export { type TarMember, writeTar } from "../layers/tar-write.ts";
