/** First argument of the program that leads to `buildMain` of process.ts; main.ts looks for it before all else. */
export const BUILD_DOOR = "--inro-build-files";
