import { invalid } from "../base/errors.ts";

/**
 * The paths of unix sockets in a D-Bus address (specification, "Server Addresses"), an abstract one with NUL first; in
 * the order to try. One that names none is an invalid-argument error.
 */
export function socketPaths(address: string): string[] {
  const found: string[] = [];
  for (const one of address.split(";")) {
    if (!one.startsWith("unix:")) continue;
    const keys = new Map(
      one
        .slice("unix:".length)
        .split(",")
        .map((pair) => {
          const equals = pair.indexOf("=");
          return [pair.slice(0, equals), unescaped(pair.slice(equals + 1))] as const;
        }),
    );
    const [path, abstract] = [keys.get("path"), keys.get("abstract")];
    if (path) found.push(path);
    else if (abstract) found.push(`\0${abstract}`);
  }
  if (found.length === 0) throw invalid(`D-Bus address ${JSON.stringify(address.slice(0, 200))} has no unix socket`);
  return found;
}

function unescaped(text: string): string {
  return text.replace(/%([0-9A-Fa-f]{2})/g, (_, hex: string) => String.fromCharCode(Number.parseInt(hex, 16)));
}
