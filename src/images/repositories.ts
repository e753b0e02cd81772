import type { RegistryAuth } from "../registry/auth.ts";
import { endpoints, type Registries } from "../registry/endpoint.ts";
import type { Patience } from "../registry/http.ts";
import { Repository } from "../registry/repository.ts";
import type { Reference } from "./reference.ts";

/** Where a reference's repository is read, in the order to try. */
export function repositoriesOf(
  { domain, path }: Pick<Reference, "domain" | "path">,
  registries: Registries,
  auth: RegistryAuth | undefined,
  patience: Patience,
): Repository[] {
  return endpoints(domain, registries).map(
    // A mirror is not worth long waiting: its origin is next.
    (endpoint) => new Repository(endpoint, path, auth, endpoint.mirror ? { ...patience, attempts: 2 } : patience),
  );
}
