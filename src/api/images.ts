import { invalid } from "../base/errors.ts";
import type { RegistryAuth } from "../registry/auth.ts";
import { type Call, empty, flag, type Handler, json } from "./call.ts";
import { messageStream } from "./messages.ts";

const name = (call: Call) => call.params[0]!;

export const imageRoutes: Record<string, Handler> = {
  "GET /images/json": async (call) => json(200, call.engine.listImages(flag(call.query, "all"), call.query.get("filters") ?? "")),
  "POST /images/create": async (call) => {
    const { query } = call;
    const optional = (key: string) => query.get(key) || undefined;
    const source = query.get("fromSrc");
    const platform = optional("platform");
    if (source !== null && source !== "") {
      if (source !== "-") throw invalid("import from a URL is not supported: send the archive as the request's body");
      return messageStream(async (report) => {
        const id = await call.engine.images.importTar({
          source: call.request,
          changes: query.getAll("changes"),
          ...defined({ repo: optional("repo"), tag: optional("tag"), message: optional("message"), platform }),
        });
        report({ status: id });
      });
    }
    const reference = query.get("fromImage");
    if (!reference) throw invalid("fromImage or fromSrc is required");
    return messageStream((report) =>
      call.engine.images.pull({
        reference,
        onMessage: report,
        signal: call.signal,
        ...defined({ tag: optional("tag"), platform, auth: registryAuth(call) }),
      }),
    );
  },
  "POST /images/load": async (call) =>
    messageStream((report) => call.engine.images.load({ source: call.request, onMessage: report })),
  "GET /images/get": async (call) => {
    const names = call.query.getAll("names").flatMap((value) => value.split(","));
    if (names.length === 0) throw invalid("names is required");
    return tar(call, names);
  },
  "GET /images/**/get": async (call) => tar(call, [name(call)]),
  "GET /images/**/json": async (call) => json(200, call.engine.inspectImage(name(call))),
  "POST /images/**/tag": async (call) => {
    call.engine.images.tag(name(call), call.query.get("repo") ?? "", call.query.get("tag") ?? "");
    return empty(201);
  },
  "DELETE /images/**": async (call) =>
    json(200, call.engine.removeImage(name(call), { force: flag(call.query, "force"), noprune: flag(call.query, "noprune") })),
};

function tar(call: Call, names: string[]) {
  return { status: 200, type: "application/x-tar", stream: call.engine.images.save(names) };
}

/** Drops what is undefined: an absent property and an undefined one are different things to the engine. */
function defined<T extends object>(values: T): { [K in keyof T]?: Exclude<T[K], undefined> } {
  return Object.fromEntries(Object.entries(values).filter(([, value]) => value !== undefined)) as never;
}

const MAX_AUTH = 1 << 16;

/** X-Registry-Auth: base64url of JSON. Docker ignores one that it cannot decode, and so do we. */
function registryAuth(call: Call): RegistryAuth | undefined {
  const header = call.request.headers["x-registry-auth"];
  if (typeof header !== "string" || header.length > MAX_AUTH) return undefined;
  try {
    const value = JSON.parse(Buffer.from(header, "base64url").toString()) as Record<string, unknown>;
    const auth: Record<string, string> = {};
    for (const key of ["username", "password", "serveraddress", "identitytoken", "registrytoken"]) {
      if (typeof value[key] === "string" && value[key] !== "") auth[key] = value[key] as string;
    }
    return Object.keys(auth).length > 0 ? (auth as RegistryAuth) : undefined;
  } catch {
    return undefined;
  }
}
