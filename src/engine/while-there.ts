import { InroError, notFound } from "../base/errors.ts";
import type { Container } from "./container.ts";

/** Work on a container's files, which go when it is removed: then that is the error, and not what the work came to. */
export async function whileThere<T>(container: Container, work: Promise<T>): Promise<T> {
  try {
    return await work;
  } catch (error) {
    throw orRemoved(error, container);
  }
}

/** The error to throw for `error`. */
export function orRemoved(error: unknown, container: Container): unknown {
  const isOwn = error instanceof InroError && error.kind !== "internal";
  return container.removed && !isOwn ? notFound(`No such container: ${container.id}`, error) : error;
}
