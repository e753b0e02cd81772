import { OCI_VERSION } from "./config.ts";

/** As runc prints it: callers read the first line, `commit:` and `spec:`. */
export const VERSION = `inro-runtime version 0.1.0
commit: unknown
spec: ${OCI_VERSION}
`;
