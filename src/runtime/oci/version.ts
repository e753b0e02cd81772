/** The newest version of the specification that this runtime knows. */
export const OCI_VERSION = "1.3.0";

/** As runc prints it: callers read the first line, `commit:` and `spec:`. */
export const VERSION = `inro-runtime version 0.1.0
commit: unknown
spec: ${OCI_VERSION}
`;
