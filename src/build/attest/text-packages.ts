import { type Distribution, type Package, short } from "./package.ts";

/** Packages of the files that are text: dpkg, apk, pip, npm, Cargo. What is wrong in them is passed over. */

const MAX_PACKAGES = 100_000;

/** /var/lib/dpkg/status, and status.d/* of images without a package manager (deb-control(5)). */
export function dpkgPackages(text: string, source: string): Package[] {
  return paragraphs(text).flatMap((fields): Package[] => {
    const [name, version] = [short(fields.get("Package")), short(fields.get("Version"))];
    const status = fields.get("Status");
    if (!name || !version || (status !== undefined && !status.endsWith(" installed"))) return [];
    return [{ type: "deb", name, version, source, ...defined({ architecture: short(fields.get("Architecture")) }) }];
  });
}

/** /lib/apk/db/installed (apk-package(5)). */
export function apkPackages(text: string, source: string): Package[] {
  return paragraphs(text, true).flatMap((fields): Package[] => {
    const [name, version] = [short(fields.get("P")), short(fields.get("V"))];
    if (!name || !version) return [];
    const more = defined({ architecture: short(fields.get("A")), license: short(fields.get("L")) });
    return [{ type: "apk", name, version, source, ...more }];
  });
}

/** METADATA of a .dist-info, PKG-INFO of an .egg-info (Python's core metadata). */
export function pythonPackages(text: string, source: string): Package[] {
  const fields = paragraphs(text)[0];
  const [name, version] = [short(fields?.get("Name")), short(fields?.get("Version"))];
  if (!name || !version) return [];
  const license = short(fields?.get("License-Expression")) ?? short(fields?.get("License"));
  return [{ type: "pypi", name, version, source, ...defined({ license }) }];
}

/** package.json of an installed package. */
export function npmPackage(text: string, source: string): Package[] {
  const root = jsonObject(text);
  const found = npm(root.name, root.version, source);
  if (!found) return [];
  const license = short(root.license) ?? short(Object(root.license).type);
  return [{ ...found, ...defined({ license }) }];
}

/** package-lock.json, versions 1 to 3. */
export function npmLock(text: string, source: string): Package[] {
  const root = jsonObject(text);
  const result: Package[] = [];
  for (const [path, entry] of Object.entries(Object(root.packages))) {
    const at = path.lastIndexOf("node_modules/");
    if (at < 0 || Object(entry).link === true || result.length >= MAX_PACKAGES) continue;
    const found = npm(Object(entry).name ?? path.slice(at + "node_modules/".length), Object(entry).version, source);
    if (found) result.push(found);
  }
  if (root.packages === undefined) {
    const left = [Object(root.dependencies)];
    for (let level = left.pop(); level && result.length < MAX_PACKAGES; level = left.pop()) {
      for (const [name, entry] of Object.entries(level)) {
        const found = npm(name, Object(entry).version, source);
        if (found) result.push(found);
        if (Object(entry).dependencies) left.push(Object(Object(entry).dependencies));
      }
    }
  }
  return result;
}

function npm(name: unknown, version: unknown, source: string): Package | undefined {
  const [whole, number] = [short(name), short(version)];
  const parts = /^(?:(@[^/@]+)\/)?([^/@]+)$/.exec(whole ?? "");
  if (!parts || !number) return undefined;
  return { type: "npm", name: parts[2]!, version: number, source, ...defined({ namespace: parts[1] }) };
}

/** Cargo.lock: of its TOML only what cargo writes there. */
export function cargoLock(text: string, source: string): Package[] {
  return text
    .split(/^\[\[package\]\]$/m)
    .slice(1, MAX_PACKAGES)
    .flatMap((block): Package[] => {
      const field = (key: string) => short(new RegExp(`^${key} = "([^"\\n]*)"$`, "m").exec(block)?.[1]);
      const [name, version] = [field("name"), field("version")];
      return name && version ? [{ type: "cargo", name, version, source }] : [];
    });
}

/** os-release(5). */
export function osRelease(text: string): Distribution | undefined {
  const field = (key: string) =>
    short(new RegExp(`^${key}=(?:"([^"\\n]*)"|'([^'\\n]*)'|([^\\s"']*))$`, "m").exec(text)?.slice(1).find(Boolean));
  const id = field("ID");
  if (!id) return undefined;
  return { id, version: field("VERSION_ID") ?? "", name: field("PRETTY_NAME") ?? id };
}

/** Fields by paragraph; lines that go on are no part of what is needed here. apk's keys are one letter without a blank. */
function paragraphs(text: string, apk = false): Map<string, string>[] {
  const result: Map<string, string>[] = [];
  let current = new Map<string, string>();
  for (const line of text.split("\n")) {
    if (line.trim() === "") {
      if (current.size > 0) result.push(current);
      current = new Map();
      if (result.length >= MAX_PACKAGES) break;
      continue;
    }
    const colon = line.indexOf(":");
    if (colon < 1 || line.startsWith(" ") || line.startsWith("\t")) continue;
    const key = line.slice(0, colon);
    if (!current.has(key)) current.set(key, apk ? line.slice(colon + 1) : line.slice(colon + 1).trim());
  }
  if (current.size > 0) result.push(current);
  return result;
}

function jsonObject(text: string): Record<string, unknown> {
  try {
    return Object(JSON.parse(text));
  } catch {
    return {};
  }
}

function defined<T extends object>(values: T): { [K in keyof T]?: Exclude<T[K], undefined> } {
  return Object.fromEntries(Object.entries(values).filter(([, value]) => value !== undefined)) as never;
}
