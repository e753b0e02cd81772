/** First argument of the program that leads to `applyMain` of apply-process.ts; main.ts looks for it before all else. */
export const APPLY_DOOR = "--inro-apply-layer";
