/**
 * JavaScriptCore compiles what has run a few hundred times, and reads its options from the environment when it starts. A
 * request of an engine runs everything once, and the next may be seconds away: with the usual thresholds it would take
 * hundreds of requests to be at full speed. The last compiler stage, and threads for it, would take memory for loops that
 * there are none of.
 */
export const COMPILER_OPTIONS: Readonly<Record<string, string>> = {
  BUN_JSC_jitPolicyScale: "0.1",
  BUN_JSC_useFTLJIT: "0",
  BUN_JSC_numberOfDFGCompilerThreads: "1",
};
