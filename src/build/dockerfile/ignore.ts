export * from "../../base/ignore.ts";
