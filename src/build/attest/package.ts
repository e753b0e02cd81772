/** A package as the metadata in an image tells of it. */
export interface Package {
  type: "deb" | "apk" | "rpm" | "npm" | "pypi" | "golang" | "cargo";
  name: string;
  version: string;
  /** Of npm the scope with its @, of golang what stands in front of the last part. */
  namespace?: string;
  architecture?: string;
  epoch?: string;
  /** As the metadata has it: no licence expression of any standard. */
  license?: string;
  /** The file of the image that says so. */
  source: string;
}

/** Of /etc/os-release: `debian` and `12`. */
export interface Distribution {
  id: string;
  version: string;
  name: string;
}

/** What is in an image. */
export interface Inventory {
  /** In order of their purl. */
  packages: Package[];
  distribution?: Distribution;
  /** Files that would say more, and why they were not read. */
  unread: { path: string; why: string }[];
}

/** Everything in metadata is hostile: one line, so long at most. */
export function short(value: unknown, limit = 512): string | undefined {
  if (typeof value !== "string") return undefined;
  const text = value.replace(/[\x00-\x1f\x7f]+/g, " ").trim();
  return text === "" || text.length > limit ? undefined : text;
}

const encode = (text: string) =>
  encodeURIComponent(text)
    .replace(/[!'()*]/g, (one) => `%${one.charCodeAt(0).toString(16).toUpperCase()}`)
    .replaceAll("%3A", ":");

/** The package's URL (package-url/purl-spec, with the rules of each type in its PURL-TYPES). */
export function purl(one: Package, distribution?: Distribution): string {
  const system = one.type === "deb" || one.type === "apk" || one.type === "rpm";
  let { name } = one;
  let namespace = system ? (distribution?.id ?? fallbackOf(one.type)) : (one.namespace ?? "");
  if (one.type === "pypi") name = name.toLowerCase().replaceAll("_", "-");
  if (one.type === "deb" || one.type === "apk") name = name.toLowerCase();
  if (one.type === "golang") [name, namespace] = [name.toLowerCase(), namespace.toLowerCase()];
  const distro = distribution && `${distribution.id}${distribution.version === "" ? "" : `-${distribution.version}`}`;
  const qualifiers = system
    ? Object.entries({ arch: one.architecture, distro, epoch: one.epoch }).filter(([, value]) => value)
    : [];
  const path = [...namespace.split("/").filter(Boolean), name].map(encode).join("/");
  const version = one.version === "" ? "" : `@${encode(one.version)}`;
  const query = qualifiers.map(([key, value]) => `${key}=${encode(value!)}`).join("&");
  return `pkg:${one.type}/${path}${version}${query === "" ? "" : `?${query}`}`;
}

const fallbackOf = (type: string) => (type === "deb" ? "debian" : type === "apk" ? "alpine" : "");
