import { expect, test } from "bun:test";
import { imageTree } from "./image-tree.ts";

const image = (RepoTags: string[], more: object = {}) =>
  ({ Id: `sha256:${"a".repeat(64)}`, RepoTags, RepoDigests: [], Size: 7_830_000, Containers: -1, ...more }) as never;
const platform = (architecture: string, more: object = {}) => ({
  ID: `sha256:${"b".repeat(64)}`,
  Kind: "image",
  Available: true,
  Size: { Content: 1_000_000, Total: 7_830_000 },
  ImageData: { Platform: { os: "linux", architecture }, Containers: [] },
  ...more,
});

test("names, their platforms, what is in use", () => {
  const used = platform("amd64", {
    ImageData: { Platform: { os: "linux", architecture: "amd64" }, Containers: ["x"] },
  });
  const absent = platform("arm64", { Available: false });
  expect(
    imageTree([image(["alpine:3", "alpine:latest"], { Manifests: [used, absent] }), image(["<none>:<none>"])]),
  ).toBe(`IMAGE            ID             DISK USAGE   CONTENT SIZE   EXTRA
alpine:latest
alpine:3         aaaaaaaaaaaa       7.83MB            2MB   U
├─ linux/amd64   bbbbbbbbbbbb       7.83MB            1MB   U
└─ linux/arm64   bbbbbbbbbbbb            -              -
<untagged>       aaaaaaaaaaaa       7.83MB             0B
`);
});
