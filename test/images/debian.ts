import {
  chmodSync,
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
import { gzipSync } from "node:zlib";

const CACHE = "/var/cache/inro-test/debian-userland-1.tar.gz";
const PACKAGES =
  "apt base-files base-passwd bash coreutils dash dpkg gpgv grep libacl1 libapt-pkg6.0 libattr1 libaudit1 libbz2-1.0 " +
  "libc6 libcap-ng0 libcap2 libcap2-bin libcrypt1 libexpat1 libffi8 libgcc-s1 libgcrypt20 libgmp10 libgnutls30 " +
  "libgpg-error0 libhogweed6 libidn2-0 liblz4-1 liblzma5 libmd0 libnettle8 libp11-kit0 libpam0g libpcre2-8-0 " +
  "libpython3.11-minimal libseccomp2 libselinux1 libsemanage2 libsepol2 libssl3 libstdc++6 libsystemd0 libtasn1-6 " +
  "libtinfo6 libudev1 libunistring2 libxxhash0 libzstd1 passwd perl-base python3-minimal python3.11-minimal sed zlib1g";

/**
 * The layer (a gzip tar) of a small Debian userland, made of Debian's own packages and kept for the next time. A text
 * says why it cannot be had.
 */
export function debianUserland(): { path: string } | string {
  if (existsSync(CACHE)) return { path: CACHE };
  for (const tool of ["apt-get", "dpkg-deb", "tar", "setcap"]) if (!Bun.which(tool)) return `no ${tool}`;
  const work = mkdtempSync(join(tmpdir(), "inro-debian-"));
  try {
    chmodSync(work, 0o777);
    const fetched = Bun.spawnSync(["apt-get", "download", "-q", ...PACKAGES.split(" ")], { cwd: work });
    if (fetched.exitCode !== 0) return `apt-get download: ${fetched.stderr.toString().trim().split("\n").at(-1)}`;
    const root = join(work, "root");
    // /bin and the others are links in Debian since 12, though packages still have files there.
    for (const name of ["bin", "sbin", "lib", "lib64"]) {
      mkdirSync(join(root, "usr", name), { recursive: true });
      symlinkSync(`usr/${name}`, join(root, name));
    }
    for (const name of readdirSync(work).filter((file) => file.endsWith(".deb"))) {
      const unpack = `dpkg-deb --fsys-tarfile '${name}' | tar -C root -xp --keep-directory-symlink --numeric-owner -f -`;
      const { exitCode, stderr } = Bun.spawnSync(["sh", "-c", unpack], { cwd: work });
      if (exitCode !== 0) return `${name}: ${stderr}`;
    }
    writeFileSync(join(root, "etc/passwd"), "root:x:0:0:root:/root:/bin/bash\nnobody:x:65534:65534:nobody:/:/bin/sh\n");
    writeFileSync(join(root, "etc/group"), "root:x:0:\nshadow:x:42:\nnogroup:x:65534:\n");
    for (const name of ["usr/share/doc", "usr/share/man", "usr/share/locale"])
      rmSync(join(root, name), { recursive: true, force: true });
    // What postinst scripts do: python3's link, and a file with capabilities.
    if (!existsSync(join(root, "usr/bin/python3"))) symlinkSync("python3.11", join(root, "usr/bin/python3"));
    const cap = Bun.spawnSync(
      ["sh", "-c", "cp root/usr/bin/cat root/usr/bin/capable && setcap cap_net_raw,cap_chown+ep root/usr/bin/capable"],
      { cwd: work },
    );
    if (cap.exitCode !== 0) return `setcap: ${cap.stderr}`;
    const tar = Bun.spawnSync([
      "tar",
      "-C",
      root,
      "--xattrs",
      "--xattrs-include=*",
      "--numeric-owner",
      "--sort=name",
      "-cf",
      "-",
      ".",
    ]);
    if (tar.exitCode !== 0) return `tar: ${tar.stderr}`;
    mkdirSync("/var/cache/inro-test", { recursive: true });
    writeFileSync(`${CACHE}.part-${process.pid}`, gzipSync(tar.stdout, { level: 6 }));
    renameSync(`${CACHE}.part-${process.pid}`, CACHE);
    return { path: CACHE };
  } finally {
    rmSync(work, { recursive: true, force: true });
  }
}
