import { splitCsv } from "../../base/csv.ts";
import type { DeviceRequest } from "../../spec/docker-api.ts";
import { parseInteger } from "../flags.ts";
import { toMap } from "./environment.ts";

/** One --gpus: `all`, a number, or `driver=…,count=…,"device=0,1","capabilities=…",options=…`. */
export function parseGpus(text: string): DeviceRequest {
  const request: DeviceRequest = {};
  const seen = new Set<string>();
  for (const field of splitCsv(text)) {
    const equals = field.indexOf("=");
    const key = equals < 0 ? field : field.slice(0, equals);
    const value = equals < 0 ? "" : field.slice(equals + 1);
    if (seen.has(key)) throw new Error(`gpu request key '${key}' can be specified only once`);
    seen.add(key);
    if (equals < 0) request.Count = count(key);
    else if (key === "driver") request.Driver = value;
    else if (key === "count") request.Count = count(value);
    else if (key === "device") request.DeviceIDs = value.split(",");
    else if (key === "capabilities") request.Capabilities = [[...value.split(","), "gpu"]];
    else if (key === "options") request.Options = toMap(splitCsv(value));
    else throw new Error(`unexpected key '${key}' in '${field}'`);
  }
  if (request.Count === undefined && !request.DeviceIDs) request.Count = 1;
  request.Capabilities ??= [["gpu"]];
  return request;
}

function count(text: string): number {
  if (text === "all") return -1;
  try {
    return parseInteger(text);
  } catch {
    throw new Error(`invalid count (${text}): value must be either "all" or an integer: invalid syntax`);
  }
}

/** Devices of the Container Device Interface among --device: `VENDOR/CLASS=NAME`. */
export const isCdiDevice = (text: string): boolean =>
  /^[a-zA-Z][\w.-]*\/[a-zA-Z][\w.-]*=[a-zA-Z0-9][\w.:-]*$/.test(text);
