import { isIP } from "node:net";
import { parseSocketFlag, type SocketSettings, socketSettings } from "../api/scope/policy.ts";
import { invalid } from "../base/errors.ts";
import { boolean, type Check, list, map, type Shape, text } from "../engine/config/fields.ts";
import { API_VERSION, MIN_API_VERSION } from "../spec/docker-api.ts";

/** The engine's settings, under the names of docker's daemon.json; those without an equal there are inro's own. */
export interface Settings {
  hosts?: string[];
  group?: string;
  "data-root"?: string;
  "exec-root"?: string;
  tlsverify?: boolean;
  tlscacert?: string;
  tlscert?: string;
  tlskey?: string;
  "access-log"?: string;
  "access-log-format"?: "text" | "json";
  "registry-mirrors"?: string[];
  /** The oldest version of the API that is served. */
  "min-api-version"?: string;
  /** The log of containers that ask for none, and its options; on the command line as `key=value`. */
  "log-driver"?: string;
  "log-opts"?: Record<string, string>;
  /** Further sockets, with limited rights; on the command line as `path=…,allow=…`. */
  sockets?: SocketSettings[];
  /** No default network: containers that name none have none. */
  bridge?: "none";
  /** Where ports are published that name no address; default 127.0.0.1. Docker's is 0.0.0.0. */
  ip?: string;
}

export const oneOf =
  <const T extends string>(...values: T[]): Check<T> =>
  (value, at) => {
    const word = text(value, at);
    if ((values as string[]).includes(word)) return word as T;
    throw invalid(`${at}: ${JSON.stringify(word.slice(0, 64))} is none of ${values.join(", ")}`);
  };

function keyValues(words: string[], at: string): Record<string, string> {
  return Object.fromEntries(
    words.map((word) => {
      const equals = word.indexOf("=");
      if (equals <= 0) throw invalid(`${at}: ${JSON.stringify(word.slice(0, 64))} is not key=value`);
      return [word.slice(0, equals), word.slice(equals + 1)];
    }),
  );
}
const address: Check<string> = (value, at) => {
  const given = text(value, at);
  if (isIP(given) === 4) return given;
  throw invalid(`${at}: ${JSON.stringify(given.slice(0, 64))} is no IPv4 address`);
};

const apiVersion: Check<string> = (value, at) => {
  const version = text(value, at);
  const [, minor] = /^1\.(\d{1,3})$/.exec(version) ?? [];
  const minorOf = (known: string) => Number(known.split(".")[1]);
  if (minor !== undefined && Number(minor) >= minorOf(MIN_API_VERSION) && Number(minor) <= minorOf(API_VERSION)) {
    return version;
  }
  throw invalid(
    `${at}: ${JSON.stringify(version.slice(0, 64))} is no version from ${MIN_API_VERSION} to ${API_VERSION}`,
  );
};

/** A key's check takes the value of the file and that of the flag alike. */
export const SETTINGS: Shape<Settings> = {
  hosts: list(text),
  group: text,
  "data-root": text,
  "exec-root": text,
  tlsverify: boolean,
  tlscacert: text,
  tlscert: text,
  tlskey: text,
  "access-log": text,
  "access-log-format": oneOf("text", "json"),
  "registry-mirrors": list(text),
  "min-api-version": apiVersion,
  "log-driver": text,
  "log-opts": (value, at) => (Array.isArray(value) ? keyValues(list(text)(value, at), at) : map(text)(value, at)),
  sockets: list((value, at) => (typeof value === "string" ? parseSocketFlag(value) : socketSettings(value, at))),
  bridge: oneOf("none"),
  ip: address,
};

/** Checks values by their keys. Throws invalid. */
export function readSettings(given: Record<string, unknown>): Settings {
  const settings: Record<string, unknown> = {};
  for (const [key, value] of Object.entries(given)) settings[key] = SETTINGS[key as keyof Settings](value, key);
  return settings as Settings;
}

/** The certificates of TCP, all three or none. Throws invalid. */
export function tlsFiles(settings: Settings): { ca: string; cert: string; key: string } | undefined {
  const { tlscacert: ca, tlscert: cert, tlskey: key, tlsverify } = settings;
  if (ca !== undefined && cert !== undefined && key !== undefined) {
    if (tlsverify === false)
      throw invalid("tlsverify: clients without a certificate are not served, it cannot be false");
    return { ca, cert, key };
  }
  if ([ca, cert, key, tlsverify || undefined].every((value) => value === undefined)) return undefined;
  throw invalid(
    "TLS needs all of tlscacert (who signs the clients' certificates), tlscert and tlskey (the engine's own)",
  );
}
