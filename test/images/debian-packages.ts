import {
  existsSync,
  mkdirSync,
  mkdtempSync,
  readdirSync,
  renameSync,
  rmSync,
  symlinkSync,
  writeFileSync,
} from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";

const CACHE = "/var/cache/inro-test/debian-packages-1";

/** What a Debian that can install packages has. */
const BASE = [
  ...["apt", "base-files", "base-passwd", "bash", "coreutils", "dash", "debianutils", "diffutils", "dpkg", "findutils"],
  ...["grep", "gzip", "libc-bin", "mawk", "perl-base", "sed", "tar"],
];

/** What the builds ask for. */
const MORE = ["gcc", "libc6-dev", "make", "nodejs", "python3", "python3-venv", "python3-wheel-whl"];

/** Two images as tars: a Debian with apt, and a repository of packages for it. */
export interface DebianPackages {
  debian: string;
  packages: string;
}

/**
 * A Debian in which `apt-get install` works without a network: its packages and those for builds come by the machine's apt and
 * are kept for the next time. A text says why it cannot be had.
 */
export function debianPackages(): DebianPackages | string {
  const made = { debian: join(CACHE, "debian.tar"), packages: join(CACHE, "packages.tar") };
  if (existsSync(CACHE)) return made;
  for (const tool of ["apt-get", "dpkg-deb", "tar"]) if (!Bun.which(tool)) return `no ${tool}`;
  const work = mkdtempSync(join(tmpdir(), "inro-debian-"));
  try {
    const [base, all] = [download(work, "base", BASE), download(work, "all", [...BASE, ...MORE])];
    if (typeof base === "string") return base;
    if (typeof all === "string") return all;
    const more = all.filter((name) => !base.includes(name));
    const root = makeRoot(work, base);
    writeFileSync(join(work, "all/Packages"), more.map((name) => entry(join(work, "all"), name)).join("\n"));
    const parts = join(work, "tars");
    mkdirSync(parts);
    run("tar", "-C", root, "--numeric-owner", "--sort=name", "-cf", join(parts, "debian.tar"), ".");
    run("tar", "-C", join(work, "all"), "-cf", join(parts, "packages.tar"), "Packages", ...more);
    mkdirSync(join(CACHE, ".."), { recursive: true });
    run("cp", "-r", parts, `${CACHE}.part-${process.pid}`);
    renameSync(`${CACHE}.part-${process.pid}`, CACHE);
    return made;
  } catch (error) {
    return (error as Error).message;
  } finally {
    rmSync(work, { recursive: true, force: true });
  }
}

/** The files of packages and all that they need, on a machine that has none; a text says why not. */
function download(work: string, name: string, packages: string[]): string[] | string {
  const directory = join(work, name);
  mkdirSync(join(directory, "partial"), { recursive: true });
  writeFileSync(join(work, "status"), "");
  const options = [`Dir::State::status=${work}/status`, `Dir::Cache::archives=${directory}`, "APT::Sandbox::User=root"];
  const flags = ["-qq", "--yes", "--no-install-recommends", "--download-only", ...options.flatMap((o) => ["-o", o])];
  const { exitCode, stderr } = Bun.spawnSync(["apt-get", ...flags, "install", ...packages]);
  if (exitCode !== 0) return `apt-get install --download-only: ${stderr.toString().trim().split("\n").at(-1)}`;
  return readdirSync(directory).filter((file) => file.endsWith(".deb"));
}

/** A root with packages unpacked, and recorded as installed. */
function makeRoot(work: string, packages: string[]): string {
  const root = join(work, "root");
  // /bin and the others are links in Debian since 12, though packages still have files there.
  for (const name of ["bin", "sbin", "lib", "lib64"]) {
    mkdirSync(join(root, "usr", name), { recursive: true });
    symlinkSync(`usr/${name}`, join(root, name));
  }
  const state = join(root, "var/lib/dpkg");
  for (const name of ["info", "updates"]) mkdirSync(join(state, name), { recursive: true });
  const status: string[] = [];
  for (const name of packages) {
    const path = join(work, "base", name);
    const unpack =
      'set -o pipefail; dpkg-deb --fsys-tarfile "$1" | tar -C "$2" -xp --keep-directory-symlink --numeric-owner -f -';
    run("bash", "-c", unpack, "bash", path, root);
    const names = run("bash", "-c", 'dpkg-deb --fsys-tarfile "$1" | tar -t', "bash", path).trimEnd().split("\n");
    const files = names.map((file) => (file === "./" ? "/." : file.replace(/^\./, "").replace(/\/$/, "")));
    const control = run("dpkg-deb", "--field", path);
    const [title, multi] = [/^Package: (.+)$/m, /^Multi-Arch: same$/m].map((field) => control.match(field));
    const architecture = /^Architecture: (.+)$/m.exec(control)![1];
    const list = `${title![1]}${multi ? `:${architecture}` : ""}.list`;
    writeFileSync(join(state, "info", list), `${files.join("\n")}\n`);
    status.push(control.replace("\n", "\nStatus: install ok installed\n"));
  }
  writeFileSync(join(state, "status"), status.join("\n"));
  // What postinst scripts make.
  run("cp", join(root, "usr/share/base-passwd/passwd.master"), join(root, "etc/passwd"));
  run("cp", join(root, "usr/share/base-passwd/group.master"), join(root, "etc/group"));
  symlinkSync("mawk", join(root, "usr/bin/awk"));
  for (const name of ["doc", "man", "locale"]) rmSync(join(root, "usr/share", name), { recursive: true, force: true });
  writeFileSync(join(root, "etc/apt/apt.conf.d/local"), 'APT::Sandbox::User "root";\n');
  for (const name of ["sources.list.d", "sources.list"])
    rmSync(join(root, "etc/apt", name), { recursive: true, force: true });
  writeFileSync(join(root, "etc/apt/sources.list"), "deb [trusted=yes] copy:/packages ./\n");
  return root;
}

/** What a repository's index says of a package. */
function entry(directory: string, name: string): string {
  const path = join(directory, name);
  const hash = run("sha256sum", path).slice(0, 64);
  return `${run("dpkg-deb", "--field", path).trimEnd()}\nFilename: ./${name}\nSize: ${Bun.file(path).size}\nSHA256: ${hash}\n`;
}

function run(...argv: string[]): string {
  const { exitCode, stdout, stderr } = Bun.spawnSync(argv);
  if (exitCode !== 0) throw new Error(`${argv[0]}: ${stderr.toString().trim().split("\n").at(-1)}`);
  return stdout.toString();
}
