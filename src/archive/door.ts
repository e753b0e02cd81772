/** First argument of the program that leads to `archiveMain` of process.ts; main.ts looks for it before all else. */
export const ARCHIVE_DOOR = "--inro-archive";
