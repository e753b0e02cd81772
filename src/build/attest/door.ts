/** First argument of the program that leads to `readLayersMain` of process.ts; main.ts looks for it before all else. */
export const READ_LAYERS_DOOR = "--inro-read-layers";
