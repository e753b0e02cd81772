import { appendFileSync, cpSync, mkdirSync, readdirSync, readFileSync, writeFileSync } from "node:fs";

// A bundler in small: sources, dependencies, the version, and a cache of what it has seen.
const cache = "/root/.cache/answer";
mkdirSync("dist", { recursive: true });
for (const name of readdirSync("src")) {
  const text = readFileSync(`src/${name}`, "utf8").replaceAll("__VERSION__", process.env.VERSION ?? "dev");
  writeFileSync(`dist/${name}`, text);
  appendFileSync(`${cache}/seen`, `${name}\n`);
}
cpSync("node_modules", "dist/node_modules", { recursive: true });
