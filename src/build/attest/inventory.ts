import type { TarEntry } from "../../layers/tar-read.ts";
import { auditedCrates, goModules, rpmPackages } from "./binary-packages.ts";
import { type LayerFile, readLayers } from "./layer-reader.ts";
import { type Distribution, type Inventory, type Package, purl } from "./package.ts";
import {
  apkPackages,
  cargoLock,
  dpkgPackages,
  npmLock,
  npmPackage,
  osRelease,
  pythonPackages,
} from "./text-packages.ts";

const MB = 1024 * 1024;

interface Reader {
  matches: RegExp;
  /** Bytes of a file from which on it is not read. */
  limit: number;
  packages(content: Buffer, path: string): Package[];
}

const text = (packages: (text: string, path: string) => Package[]) => (content: Buffer, path: string) =>
  packages(content.toString(), path);

const READERS: readonly Reader[] = [
  { matches: /^var\/lib\/dpkg\/status$/, limit: 64 * MB, packages: text(dpkgPackages) },
  { matches: /^var\/lib\/dpkg\/status\.d\/(?!.*\.md5sums$)[^/]+$/, limit: MB, packages: text(dpkgPackages) },
  { matches: /^(?:usr\/)?lib\/apk\/db\/installed$/, limit: 64 * MB, packages: text(apkPackages) },
  { matches: /^(?:var\/lib|usr\/lib\/sysimage)\/rpm\/rpmdb\.sqlite$/, limit: 256 * MB, packages: rpmPackages },
  { matches: /(?:^|\/)node_modules\/(?:@[^/]+\/)?[^/]+\/package\.json$/, limit: 2 * MB, packages: text(npmPackage) },
  { matches: /(?:^|\/)package-lock\.json$/, limit: 32 * MB, packages: text(npmLock) },
  { matches: /\.dist-info\/METADATA$|\.egg-info\/PKG-INFO$|\.egg-info$/, limit: MB, packages: text(pythonPackages) },
  { matches: /(?:^|\/)Cargo\.lock$/, limit: 16 * MB, packages: text(cargoLock) },
];
const UNREAD: readonly { matches: RegExp; why: string }[] = [
  { matches: /^(?:var\/lib|usr\/lib\/sysimage)\/rpm\/Packages$/, why: "rpm's Berkeley DB form is not read" },
  { matches: /^(?:var\/lib|usr\/lib\/sysimage)\/rpm\/Packages\.db$/, why: "rpm's ndb form is not read" },
];
const OS_RELEASE = /^(?:etc|usr\/lib)\/os-release$/;
const EXECUTABLE_LIMIT = 256 * MB;
const MIN_EXECUTABLE = 4096;
const ELF = Buffer.from("\x7fELF", "latin1");
/** Of all files together. */
const MAX_PACKAGES = 200_000;
const MAX_UNREAD = 1000;

/** What packages the image of these layers has, by the files that it shows. Errors: invalid for a wrong archive. */
export async function takeInventory(layers: readonly LayerFile[]): Promise<Inventory> {
  const found = new Map<string, Package[]>();
  const unread = new Map<string, string>();
  const releases = new Map<string, Distribution>();
  const everything = [found, unread, releases] as Map<string, unknown>[];
  /** Paths of this layer, which its own whiteouts are not about. */
  let own = new Set<string>();
  let counted = 0;
  const drop = (path: string) => {
    for (const map of everything) if (!own.has(path)) map.delete(path);
  };
  const dropBelow = (directory: string) => {
    const prefix = directory === "" ? "" : `${directory}/`;
    for (const map of everything) for (const path of map.keys()) if (path.startsWith(prefix)) drop(path);
  };
  const skip = (path: string, why: string) => {
    if (unread.size < MAX_UNREAD) unread.set(path, why);
  };
  await readLayers(layers, {
    layer() {
      own = new Set();
    },
    whiteout(path) {
      drop(path);
      dropBelow(path);
    },
    opaque: dropBelow,
    entry(path, entry) {
      own.delete(path);
      drop(path);
      if (entry.type !== "directory" && path !== "") dropBelow(path);
    },
    body(path, entry) {
      const give = (packages: Package[]) => {
        own.add(path);
        counted += packages.length;
        if (counted > MAX_PACKAGES) skip(path, `more than ${MAX_PACKAGES} packages`);
        else if (packages.length > 0) found.set(path, packages);
      };
      if (OS_RELEASE.test(path) && entry.size < MB) {
        return gather((content) => {
          own.add(path);
          const distribution = osRelease(content.toString());
          if (distribution) releases.set(path, distribution);
        });
      }
      const no = UNREAD.find(({ matches }) => matches.test(path));
      if (no) {
        own.add(path);
        skip(path, no.why);
        return undefined;
      }
      const reader = READERS.find(({ matches }) => matches.test(path));
      if (reader && entry.size > reader.limit) {
        own.add(path);
        skip(path, `larger than ${reader.limit} bytes`);
        return undefined;
      }
      if (reader) return gather((content) => give(reader.packages(content, path)));
      return executable(path, entry, give);
    },
  });
  const distribution = releases.get("etc/os-release") ?? releases.get("usr/lib/os-release");
  const byPurl = new Map<string, Package>();
  for (const path of [...found.keys()].sort()) {
    for (const one of found.get(path)!) {
      const key = purl(one, distribution);
      if (!byPurl.has(key)) byPurl.set(key, { ...one, source: `/${one.source}` });
    }
  }
  return {
    packages: [...byPurl.keys()].sort().map((key) => byPurl.get(key)!),
    ...(distribution ? { distribution } : {}),
    unread: [...unread.keys()].sort().map((path) => ({ path: `/${path}`, why: unread.get(path)! })),
  };
}

function gather(done: (content: Buffer) => void) {
  const chunks: Uint8Array[] = [];
  return {
    data: (chunk: Uint8Array) => void chunks.push(Buffer.from(chunk)),
    end: () => done(Buffer.concat(chunks)),
  };
}

/** Executables of Go and Rust are told by what is in them; others are let go at their first bytes. */
function executable(path: string, entry: TarEntry, give: (packages: Package[]) => void) {
  if ((entry.mode & 0o111) === 0 || entry.size < MIN_EXECUTABLE || entry.size > EXECUTABLE_LIMIT) return undefined;
  let content: Buffer | undefined;
  let length = 0;
  return {
    data(chunk: Uint8Array) {
      if (length === 0) {
        const begins = chunk.length < ELF.length || ELF.equals(chunk.subarray(0, ELF.length));
        if (begins) content = Buffer.alloc(entry.size);
      }
      content?.set(chunk, length);
      length += chunk.length;
    },
    end() {
      if (content && ELF.equals(content.subarray(0, ELF.length))) {
        give([...goModules(content, path), ...auditedCrates(content, path)]);
      }
    },
  };
}
