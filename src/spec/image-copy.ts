/**
 * How images go from one engine to another, inro's own: the source names its blobs (`POST /inro/images/blobs`), the target
 * says which it has not (`POST /inro/images/missing`), the source writes an OCI layout without the others
 * (`POST /inro/images/get`), and the target loads it.
 */
export interface ImageTransfer {
  Names: string[];
  Blobs: string[];
  /** Digests that the target has. */
  Without: string[];
}

export interface ImageBlobs {
  Blobs: { digest: string; size: number }[];
}

export interface MissingBlobs {
  Missing: string[];
}
