import { invalid, notFound } from "../base/errors.ts";
import type { Descriptor, Platform } from "../spec/oci-image.ts";

/** `linux/arm64/v8`. */
export function formatPlatform({ os, architecture, variant }: Platform): string {
  return [os, architecture, variant].filter(Boolean).join("/");
}

/** Go's names (GOARCH), which containerd's platforms package knows. */
const GO_ARCHITECTURES: ReadonlySet<string> = new Set(
  (
    "386 amd64 amd64p32 arm armbe arm64 arm64be loong64 mips mipsle mips64 mips64le mips64p32 mips64p32le ppc ppc64 " +
    "ppc64le riscv riscv64 s390 s390x sparc sparc64 wasm"
  ).split(" "),
);

const OPERATING_SYSTEMS = new Set(["linux", "windows", "darwin", "freebsd", "netbsd", "openbsd", "wasip1", "js"]);

/** Reads `os[/arch[/variant]]` or an architecture alone; what is left out is this machine's. */
export function parsePlatform(text: string): Platform {
  const parts = text.toLowerCase().split("/");
  if (parts.length > 3 || !parts.every((part) => /^[a-z0-9_.-]{1,64}$/.test(part))) {
    throw invalid(`invalid platform ${JSON.stringify(text.slice(0, 200))}: expected os[/arch[/variant]]`);
  }
  const [first, second, third] = parts as [string, string?, string?];
  const host = hostPlatform();
  if (second === undefined) {
    const isOs = OPERATING_SYSTEMS.has(first) || first === "macos";
    if (!isOs && !GO_ARCHITECTURES.has(normalizePlatform({ os: host.os, architecture: first }).architecture))
      throw invalid(`${JSON.stringify(first)}: unknown operating system or architecture`);
    return isOs ? normalizePlatform({ ...host, os: first }) : normalizePlatform({ os: host.os, architecture: first });
  }
  return normalizePlatform({ os: first, architecture: second, ...(third ? { variant: third } : {}) });
}

/** One spelling for the many of operating systems and architectures, as containerd's platforms package has it. */
export function normalizePlatform(platform: Platform): Platform {
  let { os, architecture, variant } = {
    os: platform.os.toLowerCase(),
    architecture: platform.architecture.toLowerCase(),
    variant: platform.variant?.toLowerCase() || undefined,
  };
  if (os === "macos") os = "darwin";
  if (variant && /^\d/.test(variant)) variant = `v${variant}`;
  if (architecture === "i386") [architecture, variant] = ["386", undefined];
  else if (architecture === "x86_64" || architecture === "x86-64") architecture = "amd64";
  else if (architecture === "aarch64") architecture = "arm64";
  else if (architecture === "armhf") [architecture, variant] = ["arm", "v7"];
  else if (architecture === "armel") [architecture, variant] = ["arm", "v6"];
  if (architecture === "amd64" && variant === "v1") variant = undefined;
  if (architecture === "arm64" && (variant === "v8" || variant === "v8.0")) variant = undefined;
  if (architecture === "arm" && variant === undefined) variant = "v7";
  return { os, architecture, ...(variant ? { variant } : {}) };
}

const ARCHITECTURES: Record<string, string> = { x64: "amd64", ia32: "386", ppc64: "ppc64le", mipsel: "mipsle" };

/** This machine. */
export function hostPlatform(): Platform {
  return normalizePlatform({ os: "linux", architecture: ARCHITECTURES[process.arch] ?? process.arch });
}

/** What runs on `platform`, best first: its variant, lower ones, and with `related` the 32-bit sibling. */
function runnable(platform: Platform, related: boolean): Platform[] {
  const { os, architecture, variant } = normalizePlatform(platform);
  const level = Number(/^v(\d+)/.exec(variant ?? "")?.[1] ?? Number.NaN);
  const lower = (from: number, to: number) =>
    Array.from({ length: Math.max(0, from - to + 1) }, (_, i) => ({ os, architecture, variant: `v${from - i}` }));
  if (architecture === "amd64") {
    const levels = [...(level > 1 ? lower(level, 2) : []), { os, architecture }];
    return related ? [...levels, { os, architecture: "386" }] : levels;
  }
  if (architecture === "arm") return lower(level, 5);
  if (architecture === "arm64") {
    const own = [...(variant ? [{ os, architecture, variant }] : []), { os, architecture }];
    return related ? [...own, ...["v8", "v7", "v6", "v5"].map((v) => ({ os, architecture: "arm", variant: v }))] : own;
  }
  return [...(variant ? [{ os, architecture, variant }] : []), { os, architecture }];
}

/** Same operating system, architecture and variant. */
export function samePlatform(a: Platform, b: Platform): boolean {
  return formatPlatform(normalizePlatform(a)) === formatPlatform(normalizePlatform(b));
}

/** Whether an image for `image` runs where `wanted` does; `explicit` is false when it is just this machine's. */
export function satisfies(image: Platform, wanted: Platform, explicit: boolean): boolean {
  return runnable(wanted, !explicit).some((candidate) => samePlatform(candidate, image));
}

/**
 * The entry of an index to use: the first of the best platform. Entries without a platform come last. notFound, naming
 * what there is, when none fits.
 */
export function choosePlatform(entries: Descriptor[], wanted: Platform, explicit: boolean): Descriptor {
  const images = entries.filter((entry) => entry.platform?.os !== "unknown" && !isAttestation(entry));
  for (const candidate of runnable(wanted, !explicit)) {
    const match = images.find((entry) => entry.platform && samePlatform(entry.platform, candidate));
    if (match) return match;
  }
  const unnamed = images.filter((entry) => !entry.platform);
  if (unnamed.length === 1) return unnamed[0]!;
  const available = [...new Set(images.flatMap((entry) => (entry.platform ? [formatPlatform(entry.platform)] : [])))];
  const listed = available.length > 0 ? available.slice(0, 50).join(", ") : "none";
  throw notFound(
    `no matching manifest for ${formatPlatform(wanted)} in the manifest list entries (available: ${listed})`,
  );
}

function isAttestation(entry: Descriptor): boolean {
  return entry.annotations?.["vnd.docker.reference.type"] !== undefined;
}
