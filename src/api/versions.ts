import type { ImageInspect, ImageSummary } from "../spec/docker-api.ts";

/** Objects as older versions of the API have them; without a word here, a version has them as the newest. */

/** Before 1.44 the size had a second name; before 1.51 containers were not counted. */
export function imageSummary(image: ImageSummary, version: number): object {
  return {
    ...image,
    ...(version < 1.51 ? { Containers: -1 } : {}),
    ...(version < 1.44 ? { VirtualSize: image.Size } : {}),
  };
}

/** Since 1.52 what an image does not have is left out; before, empty fields were there, and others that mean nothing. */
export function imageInspect(image: ImageInspect, version: number): object {
  if (version >= 1.52) {
    const optional = ["Parent", "Comment", "Author"] as const;
    return Object.fromEntries(
      Object.entries(image).filter(([name, value]) => value !== "" || !optional.includes(name as never)),
    );
  }
  return {
    ...image,
    DockerVersion: "",
    ...(version < 1.45 ? { Container: "", ContainerConfig: {} } : {}),
    ...(version < 1.44 ? { VirtualSize: image.Size } : {}),
  };
}
