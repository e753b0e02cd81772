export const greeting = (version, uid) => `node ${version} uid ${uid}\n`;
