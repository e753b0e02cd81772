import { sha256 } from "../../base/digest.ts";
import { type Inventory, type Package, purl } from "./package.ts";

export type SbomFormat = "spdx" | "cyclonedx";

/** The image that a bill of materials is about. */
export interface SbomSubject {
  name: string;
  /** Of its manifest or configuration. */
  digest: string;
  /** RFC 3339; the documents carry it in place of a time of their own, so that equal images have equal documents. */
  created: string;
}

const TOOL = { name: "inro", version: "0.1.0" } as const;

/** SPDX 2.3 as JSON (spdx.github.io/spdx-spec/v2.3). */
export function spdx(inventory: Inventory, subject: SbomSubject): object {
  const root = "SPDXRef-Image";
  const { distribution } = inventory;
  const packages = inventory.packages.map((one) => {
    const locator = purl(one, distribution);
    return {
      SPDXID: `SPDXRef-Package-${one.type}-${sha256(locator).slice(7, 23)}`,
      name: fullName(one),
      versionInfo: one.version,
      downloadLocation: "NOASSERTION",
      filesAnalyzed: false,
      licenseConcluded: "NOASSERTION",
      licenseDeclared: "NOASSERTION",
      ...(one.license === undefined ? {} : { licenseComments: `The package says: ${one.license}` }),
      copyrightText: "NOASSERTION",
      sourceInfo: `found in ${one.source}`,
      externalRefs: [{ referenceCategory: "PACKAGE-MANAGER", referenceType: "purl", referenceLocator: locator }],
    };
  });
  const [algorithm, checksumValue] = subject.digest.split(":");
  const image = {
    SPDXID: root,
    name: subject.name,
    versionInfo: subject.digest,
    primaryPackagePurpose: "CONTAINER",
    downloadLocation: "NOASSERTION",
    filesAnalyzed: false,
    licenseConcluded: "NOASSERTION",
    licenseDeclared: "NOASSERTION",
    copyrightText: "NOASSERTION",
    checksums: [{ algorithm: algorithm!.toUpperCase(), checksumValue }],
  };
  const unread = inventory.unread.map(({ path, why }) => `${path}: ${why}`).join("; ");
  const relation = (spdxElementId: string, relationshipType: string, relatedSpdxElement: string) => ({
    spdxElementId,
    relationshipType,
    relatedSpdxElement,
  });
  return {
    spdxVersion: "SPDX-2.3",
    dataLicense: "CC0-1.0",
    SPDXID: "SPDXRef-DOCUMENT",
    name: subject.name,
    documentNamespace: `https://spdx.org/spdxdocs/inro-${uuidOf(JSON.stringify([subject, inventory]))}`,
    creationInfo: { created: seconds(subject.created), creators: [`Tool: ${TOOL.name}-${TOOL.version}`] },
    ...(unread === "" ? {} : { comment: `Not read: ${unread}` }),
    packages: [image, ...packages],
    relationships: [
      relation("SPDXRef-DOCUMENT", "DESCRIBES", root),
      ...packages.map(({ SPDXID }) => relation(root, "CONTAINS", SPDXID)),
    ],
  };
}

/** CycloneDX 1.6 as JSON (cyclonedx.org/docs/1.6/json). */
export function cyclonedx(inventory: Inventory, subject: SbomSubject): object {
  const { distribution } = inventory;
  const components = inventory.packages.map((one) => {
    const locator = purl(one, distribution);
    return {
      type: "library",
      "bom-ref": locator,
      ...(one.namespace === undefined ? {} : { group: one.namespace }),
      name: one.name,
      version: one.version,
      ...(one.license === undefined ? {} : { licenses: [{ license: { name: one.license } }] }),
      purl: locator,
      properties: [{ name: "inro:source", value: one.source }],
    };
  });
  const system = distribution && {
    type: "operating-system",
    "bom-ref": "operating-system",
    name: distribution.id,
    version: distribution.version,
    description: distribution.name,
  };
  const [algorithm, content] = subject.digest.split(":");
  return {
    $schema: "http://cyclonedx.org/schema/bom-1.6.schema.json",
    bomFormat: "CycloneDX",
    specVersion: "1.6",
    serialNumber: `urn:uuid:${uuidOf(JSON.stringify([subject, inventory]))}`,
    version: 1,
    metadata: {
      timestamp: seconds(subject.created),
      tools: { components: [{ type: "application", ...TOOL }] },
      component: {
        type: "container",
        "bom-ref": "image",
        name: subject.name,
        version: subject.digest,
        hashes: [{ alg: algorithm === "sha512" ? "SHA-512" : "SHA-256", content }],
      },
      ...(inventory.unread.length === 0
        ? {}
        : { properties: inventory.unread.map(({ path, why }) => ({ name: "inro:unread", value: `${path}: ${why}` })) }),
    },
    components: [...(system ? [system] : []), ...components],
  };
}

export const fullName = ({ namespace, name }: Package) => (namespace === undefined ? name : `${namespace}/${name}`);

/** Both standards have times without fractions. */
function seconds(time: string): string {
  const date = new Date(time);
  const known = Number.isNaN(date.getTime()) ? new Date(0) : date;
  return `${known.toISOString().slice(0, 19)}Z`;
}

/** A UUID that is the content's (RFC 9562, version 8). */
function uuidOf(content: string): string {
  const hex = sha256(content).slice(7);
  const variant = ((Number.parseInt(hex[16]!, 16) & 3) | 8).toString(16);
  return `${hex.slice(0, 8)}-${hex.slice(8, 12)}-8${hex.slice(13, 16)}-${variant}${hex.slice(17, 20)}-${hex.slice(20, 32)}`;
}
