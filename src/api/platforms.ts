import { invalid, notFound, notImplemented } from "../base/errors.ts";
import { formatPlatform, hostPlatform, normalizePlatform, parsePlatform, satisfies } from "../images/platform.ts";
import type { Platform } from "../spec/oci-image.ts";
import type { Call } from "./call.ts";

const MAX_TEXT = 1024;

/** The platforms that a request asks for: JSON objects in `platform` or `platforms`, which may repeat (API 1.48). */
function askedPlatforms(call: Call): Platform[] {
  const texts = [...call.query.getAll("platform"), ...call.query.getAll("platforms")].filter((text) => text !== "");
  return texts.map((text) => {
    let value: unknown;
    try {
      value = text.length <= MAX_TEXT ? JSON.parse(text) : undefined;
    } catch {
      // Then it is none.
    }
    const { os, architecture, variant } = Object(value) as Record<string, unknown>;
    if (typeof os !== "string" || typeof architecture !== "string" || typeof (variant ?? "") !== "string") {
      throw invalid(`invalid platform ${JSON.stringify(text.slice(0, 100))}: expected {"os":…,"architecture":…}`);
    }
    return normalizePlatform({ os, architecture, ...(variant ? { variant: variant as string } : {}) });
  });
}

/** The one of a push: a JSON object (API 1.46), or text. */
export function askedPlatform(call: Call): Platform | undefined {
  const text = call.query.get("platform");
  if (!text) return undefined;
  return text.startsWith("{") ? askedPlatforms(call)[0] : parsePlatform(text);
}

/** Images have one platform here: another is not there. Throws invalid or notFound. */
export function checkPlatforms(call: Call, names: readonly string[]): void {
  const asked = askedPlatforms(call);
  if (asked.length === 0) return;
  for (const name of names) {
    const { config } = call.engine.images.find(name);
    const missing = asked.find((platform) => !satisfies(config, platform, true));
    if (!missing) continue;
    const found = `image with reference ${name.slice(0, 256)} was found but does not provide the specified platform`;
    throw notFound(`${found} (${formatPlatform(missing)})`);
  }
}

/** For what takes this machine's part of an archive, and no other. */
export function onlyHostPlatform(call: Call): void {
  for (const platform of askedPlatforms(call)) {
    if (!satisfies(hostPlatform(), platform, true)) {
      throw notImplemented(`loading images of another platform (${formatPlatform(platform)}) is not supported yet`);
    }
  }
}
