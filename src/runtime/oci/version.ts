/** The newest version of the specification that this runtime knows. */
export const OCI_VERSION = "1.3.0";

export const PROGRAM_VERSION = "0.1.0";

/** Set by the build (build/build.ts). */
declare const INRO_COMMIT: string | undefined;

/** Of the source this was built from; a checkout that runs itself does not know. */
export const COMMIT = typeof INRO_COMMIT === "string" ? INRO_COMMIT : "unknown";

/** As runc prints it: callers read the first line, `commit:` and `spec:`. */
export const VERSION = `inro-runtime version ${PROGRAM_VERSION}
commit: ${COMMIT}
spec: ${OCI_VERSION}
`;
