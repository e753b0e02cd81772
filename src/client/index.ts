/** The client library: `import { Engine } from "inro"`. */
export { ApiError, isStatus } from "./api-error.ts";
export { type Endpoint, parseEndpoint, resolveEndpoint } from "./endpoint.ts";
export { type AttachOptions, Engine, type Filters, type LogOptions } from "./engine.ts";
export { jsonStream } from "./json-stream.ts";
export { Demultiplexer, type StreamName } from "./stdcopy.ts";
export type { Hijacked, Request, Response } from "./transport.ts";
