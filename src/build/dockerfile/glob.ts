export * from "../../base/glob.ts";
