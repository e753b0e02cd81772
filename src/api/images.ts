import { invalid } from "../base/errors.ts";
import { applyChanges } from "../build/changes.ts";
import { parseFilters, readBoolean } from "../engine/filters.ts";
import { IMAGE_FILTERS, listImages } from "../engine/image-list.ts";
import { IMAGE_PRUNE_FILTERS, pruneImages } from "../engine/image-prune.ts";
import type { Filters } from "../engine/requests.ts";
import type { CompressedForm } from "../layers/compress.ts";
import { parseRegistryAuth, type RegistryAuth } from "../registry/auth.ts";
import { MAX_MANIFEST } from "../registry/repository.ts";
import { MAX_RESULTS } from "../registry/search.ts";
import type { SearchResult } from "../spec/docker-api.ts";
import { type Call, empty, flag, type Handler, json, readBody } from "./call.ts";
import { messageStream } from "./messages.ts";
import { askedPlatform, checkPlatforms, onlyHostPlatform } from "./platforms.ts";
import { imageInspect, imageSummary } from "./versions.ts";

const name = (call: Call) => call.params[0]!;

const DEFAULT_RESULTS = 25;

/** A URL without a scheme is one of http, as in docker. */
function importSource(source: string): URL {
  const url = URL.parse(/^[a-z]+:\/\//i.test(source) ? source : `http://${source}`);
  if (url?.protocol === "http:" || url?.protocol === "https:") return url;
  throw invalid(
    `import from ${JSON.stringify(source.slice(0, 200))}: only - and URLs of http and https are understood`,
  );
}

/** `is-official`, `is-automated`, `stars` (at least so many), as docker takes them. */
function searchFilter(filters: Filters): (result: SearchResult) => boolean {
  const official = readBoolean(filters, "is-official");
  const automated = readBoolean(filters, "is-automated");
  const stars = Math.max(
    0,
    ...(filters.get("stars") ?? []).map((value) => {
      if (!/^\d{1,9}$/.test(value)) throw invalid(`invalid filter 'stars=${value.slice(0, 100)}'`);
      return Number(value);
    }),
  );
  return ({ is_official, is_automated, star_count }) =>
    (official === undefined || is_official === official) &&
    (automated === undefined || is_automated === automated) &&
    star_count >= stars;
}

export const imageRoutes: Record<string, Handler> = {
  "GET /images/json": async (call) => {
    const filters = parseFilters(call.query.get("filters") ?? "", IMAGE_FILTERS);
    const images = listImages(call.engine, filters, { sharedSize: flag(call.query, "shared-size") });
    return json(
      200,
      images.map((image) => imageSummary(image, call.version)),
    );
  },
  "POST /images/prune": async (call) => {
    const filters = parseFilters(call.query.get("filters") ?? "", IMAGE_PRUNE_FILTERS);
    return json(200, await pruneImages(call.engine.images, filters, (id) => call.engine.imageUsers(id)));
  },
  "POST /images/create": async (call) => {
    const { query } = call;
    const optional = (key: string) => query.get(key) || undefined;
    const source = query.get("fromSrc");
    const platform = optional("platform");
    if (source !== null && source !== "") {
      const url = source === "-" ? undefined : importSource(source);
      return messageStream(async (report) => {
        if (url) report({ status: `Downloading from ${url.origin}${url.pathname}` });
        const id = await call.engine.images.importTar({
          source: url ?? call.request,
          config: applyChanges({}, query.getAll("changes")),
          signal: call.signal,
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
        // Without tag and digest docker means all tags.
        all: !query.get("tag") && !/[:@][^/]*$/.test(reference),
        ...defined({
          tag: optional("tag"),
          platform,
          auth: registryAuth(call),
        }),
      }),
    );
  },
  "POST /images/load": async (call) =>
    messageStream(async (report) => {
      onlyHostPlatform(call);
      await call.engine.images.load({ source: call.request, onMessage: report, signal: call.signal });
    }),
  "GET /images/get": async (call) => {
    const names = call.query.getAll("names").flatMap((value) => value.split(","));
    if (names.length === 0) throw invalid("names is required");
    return tar(call, names);
  },
  "GET /images/**/get": async (call) => tar(call, [name(call)]),
  "GET /images/**/history": async (call) => {
    checkPlatforms(call, [name(call)]);
    return json(200, call.engine.images.history(name(call)));
  },
  "GET /images/**/json": async (call) => {
    if (flag(call.query, "manifests") && call.query.get("platform")) {
      throw invalid("conflicting options: manifests and platform options cannot both be set");
    }
    checkPlatforms(call, [name(call)]);
    return json(200, imageInspect(call.engine.images.inspect(name(call)), call.version));
  },
  "POST /images/**/tag": async (call) => {
    call.engine.images.tag(name(call), call.query.get("repo") ?? "", call.query.get("tag") ?? "");
    return empty(201);
  },
  "POST /images/**/push": async (call) => {
    const platform = askedPlatform(call);
    const auth = registryAuth(call);
    return messageStream((report) =>
      call.engine.images.push({
        reference: name(call),
        onMessage: report,
        signal: call.signal,
        ...defined({ tag: call.query.get("tag") || undefined, platform, auth, compression: compression(call) }),
      }),
    );
  },
  "GET /images/search": async (call) => {
    const { query, signal } = call;
    const limit = query.get("limit") || String(DEFAULT_RESULTS);
    if (!/^\d{1,4}$/.test(limit)) throw invalid(`invalid limit ${JSON.stringify(limit.slice(0, 100))}`);
    const most = Number(limit) || DEFAULT_RESULTS;
    if (most > MAX_RESULTS) throw invalid(`limit ${most} is outside the range of [1, ${MAX_RESULTS}]`);
    const wanted = searchFilter(parseFilters(query.get("filters") ?? "", ["is-automated", "is-official", "stars"]));
    const auth = registryAuth(call);
    const found = await call.engine.images.search(query.get("term") ?? "", most, { auth, signal });
    return json(200, found.filter(wanted));
  },
  "GET /distribution/**/json": async (call) =>
    json(
      200,
      await call.engine.images.distribution({ reference: name(call), auth: registryAuth(call), signal: call.signal }),
    ),
  "GET /inro/distribution/**/manifest": async (call) => {
    const asked = { reference: name(call), auth: registryAuth(call), signal: call.signal };
    return json(200, await call.engine.images.registryManifest(asked));
  },
  "PUT /inro/distribution/**/manifest": async (call) => {
    const manifest = await readBody(call, MAX_MANIFEST);
    const asked = { reference: name(call), auth: registryAuth(call), signal: call.signal, manifest };
    return json(201, await call.engine.images.putRegistryManifest(asked));
  },
  "GET /inro/distribution/**/referrers": async (call) => {
    const artifactType = call.query.get("artifactType") || undefined;
    const asked = { reference: name(call), auth: registryAuth(call), signal: call.signal, artifactType };
    return json(200, await call.engine.images.referrers(asked));
  },
  "DELETE /images/**": async (call) => {
    checkPlatforms(call, [name(call)]);
    const removal = call.engine.images.remove(name(call), {
      force: flag(call.query, "force"),
      noprune: flag(call.query, "noprune"),
      users: (id) => call.engine.imageUsers(id),
    });
    return json(200, removal);
  },
};

function tar(call: Call, names: string[]) {
  checkPlatforms(call, names);
  return { status: 200, type: "application/x-tar", stream: call.engine.images.save(names) };
}

const registryAuth = (call: Call): RegistryAuth | undefined =>
  parseRegistryAuth(call.request.headers["x-registry-auth"]?.toString() ?? "");

/** Of layers that are here as plain tars; not in docker's API. */
function compression(call: Call): CompressedForm | undefined {
  const form = call.query.get("compression");
  if (form === null || form === "" || form === "gzip" || form === "zstd") return form || undefined;
  throw invalid(`invalid compression ${JSON.stringify(form.slice(0, 50))}: gzip or zstd`);
}

/** Drops what is undefined: an absent property and an undefined one are different things to the engine. */
function defined<T extends object>(values: T): { [K in keyof T]?: Exclude<T[K], undefined> } {
  return Object.fromEntries(Object.entries(values).filter(([, value]) => value !== undefined)) as never;
}
