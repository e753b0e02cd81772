/** Packets of fsutil's protocol (types/wire.proto). */
export const PACKET = { stat: 0, request: 1, data: 2, end: 3, error: 4 } as const;

/** Bits of Go's os.FileMode. */
export const GO_DIRECTORY = 0x8000_0000;
export const GO_SYMLINK = 0x0800_0000;
/** Devices, sockets, pipes. */
export const GO_OTHER = 0x0728_0000;

const SPECIAL: readonly (readonly [go: number, unix: number])[] = [
  [0x0080_0000, 0o4000],
  [0x0040_0000, 0o2000],
  [0x0010_0000, 0o1000],
];

/** Permission bits (07777) of a mode of Go's. */
export function permissions(mode: number): number {
  return SPECIAL.reduce((all, [go, unix]) => ((mode & go) === 0 ? all : all | unix), mode & 0o777);
}

/** The other way round; a number without a sign. */
export function goMode(mode: number): number {
  return SPECIAL.reduce((all, [go, unix]) => ((mode & unix) === 0 ? all : all | go), mode & 0o777);
}
