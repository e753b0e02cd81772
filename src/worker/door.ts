/**
 * The program itself behind a hidden door, in each of its forms: single binary, source files (then `source`, the path of
 * the door's module, is run), bundle. `main.ts` looks for doors before all else.
 */
export function doorCommand(door: string, source: string, work: string): [command: string, ...args: string[]] {
  if (Bun.isStandaloneExecutable) return [process.execPath, door, work];
  if (import.meta.path.endsWith(".ts")) return [process.execPath, source, work];
  return [process.execPath, Bun.main, door, work];
}
