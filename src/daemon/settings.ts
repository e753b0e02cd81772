import { isIP } from "node:net";
import { parseSocketFlag, type SocketSettings, socketSettings } from "../api/scope/policy.ts";
import { parseBytes } from "../base/bytes.ts";
import { parseDuration } from "../base/duration.ts";
import { invalid, messageOf } from "../base/errors.ts";
import { boolean, type Check, integer, list, map, record, type Shape, text } from "../engine/config/fields.ts";
import { readPolicy } from "../images/signature-policy.ts";
import { parseNetwork, splitMirror } from "../registry/endpoint.ts";
import { API_VERSION, MIN_API_VERSION, type Ulimit } from "../spec/docker-api.ts";

/** The engine's settings, under the names of docker's daemon.json; those without an equal there are inro's own. */
export interface Settings {
  hosts?: string[];
  group?: string;
  "data-root"?: string;
  "exec-root"?: string;
  pidfile?: string;
  tlsverify?: boolean;
  tlscacert?: string;
  tlscert?: string;
  tlskey?: string;
  "access-log"?: string;
  "access-log-format"?: "text" | "json";
  /** Further sockets, with limited rights; on the command line as `path=…,allow=…`. */
  sockets?: SocketSettings[];
  /** The oldest version of the API that is served. */
  "min-api-version"?: string;
  /** `key=value`, shown by `info`. */
  labels?: string[];
  "registry-mirrors"?: string[];
  "insecure-registries"?: string[];
  /** PEM files of authorities, for one registry as `HOST=FILE`; and directories as docker's certs.d. */
  "registry-ca"?: string[];
  "registry-certs"?: string[];
  /** Which images may be pulled, and whose signatures they need: a file as containers-policy.json(5). */
  "signature-policy"?: string;
  /** The log of containers that ask for none, and its options; on the command line as `key=value`. */
  "log-driver"?: string;
  "log-opts"?: Record<string, string>;
  /** By name; on the command line as `nofile=1024:2048`. */
  "default-ulimits"?: Ulimit[];
  /** Bytes, or text such as 64m. */
  "default-shm-size"?: number;
  "default-ipc-mode"?: "private" | "shareable";
  "default-cgroupns-mode"?: "private" | "host";
  "cgroup-parent"?: string;
  "no-new-privileges"?: boolean;
  "seccomp-profile"?: "builtin";
  init?: boolean;
  /** Seconds. */
  "default-stop-timeout"?: number;
  "live-restore"?: true;
  /** No default network: containers that name none have none. */
  bridge?: "none";
  /** Bytes, or text such as 20g, that images may take; those that no container has go, longest unused first. */
  "image-gc-max-size"?: number;
  /** Seconds, or text such as 720h, after which an image goes that no container has. */
  "image-gc-max-age"?: number;
  /** How layers of images are kept: overlay2 is unpacked, erofs is as tars; default erofs where that works. */
  "storage-driver"?: "overlay2" | "erofs";
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

const bytes: Check<number> = (value, at) => {
  if (typeof value === "number") return integer(value, at);
  try {
    return parseBytes(text(value, at));
  } catch (error) {
    throw invalid(`${at}: ${messageOf(error)}`, error);
  }
};

const seconds: Check<number> = (value, at) => {
  if (typeof value === "number") return integer(value, at);
  const given = text(value, at);
  const parsed = parseDuration(given);
  if (parsed === undefined) throw invalid(`${at}: ${JSON.stringify(given.slice(0, 64))} is no duration, such as 720h`);
  return parsed;
};

/** 0 would be all of them, at once. */
const positive =
  (check: Check<number>): Check<number> =>
  (value, at) => {
    const number = check(value, at);
    if (number > 0) return number;
    throw invalid(`${at}: must be more than 0`);
  };

/** `{"nofile":{"Name":"nofile","Soft":1,"Hard":2}}`, as docker has them, or `nofile=1:2` of the command line. */
const ulimits: Check<Ulimit[]> = (value, at) => {
  if (Array.isArray(value)) {
    return list(text)(value, at).map((word) => {
      const [, name, soft, hard = soft] = /^([a-z]+)=(-?\d+)(?::(-?\d+))?$/.exec(word) ?? [];
      if (name === undefined) throw invalid(`${at}: ${JSON.stringify(word.slice(0, 64))} is not NAME=SOFT[:HARD]`);
      return { Name: name, Soft: Number(soft), Hard: Number(hard) };
    });
  }
  return Object.entries(record(value, at)).map(([name, one]) => {
    const { Soft, Hard } = record(one, `${at}.${name}`);
    return { Name: name, Soft: integer(Soft, `${at}.${name}.Soft`), Hard: integer(Hard, `${at}.${name}.Hard`) };
  });
};

const mirrors: Check<string[]> = (value, at) => {
  const urls = list(text)(value, at);
  for (const url of urls) splitMirror(url);
  return urls;
};

const plainRegistries: Check<string[]> = (value, at) =>
  list(text)(value, at).map((name) => {
    if (parseNetwork(name)) return name;
    if (/^[\w.-]+(:\d+)?$|^\[[0-9a-fA-F:]+\](:\d+)?$/.test(name)) return name;
    throw invalid(`${at}: ${JSON.stringify(name.slice(0, 100))} is neither HOST[:PORT] nor a network`);
  });

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

const stopTimeout: Check<number> = (value, at) => {
  const seconds = integer(value, at);
  if (seconds < -1) throw invalid(`${at}: ${seconds} is no timeout, use -1 to wait for ever`);
  return seconds;
};

const seccompProfile: Check<"builtin"> = (value, at) => {
  if (value === "builtin" || value === "") return "builtin";
  throw invalid(`${at}: only builtin is supported for all; a container has its own with --security-opt seccomp=FILE`);
};

const liveRestore: Check<true> = (value, at) => {
  if (boolean(value, at)) return true;
  throw invalid(`${at}: containers outlive the engine, it cannot be false`);
};

const address: Check<string> = (value, at) => {
  const given = text(value, at);
  if (isIP(given) === 4) return given;
  throw invalid(`${at}: ${JSON.stringify(given.slice(0, 64))} is no IPv4 address`);
};

/** A key's check takes the value of the file and that of the flag alike. */
export const SETTINGS: Shape<Settings> = {
  hosts: list(text),
  group: text,
  "data-root": text,
  "exec-root": text,
  pidfile: text,
  tlsverify: boolean,
  tlscacert: text,
  tlscert: text,
  tlskey: text,
  "access-log": text,
  "access-log-format": oneOf("text", "json"),
  sockets: list((value, at) => (typeof value === "string" ? parseSocketFlag(value) : socketSettings(value, at))),
  "min-api-version": apiVersion,
  labels: (value, at) => {
    const labels = list(text)(value, at);
    keyValues(labels, at);
    return labels;
  },
  "registry-mirrors": mirrors,
  "insecure-registries": plainRegistries,
  "registry-ca": list(text),
  "registry-certs": list(text),
  "signature-policy": (value, at) => {
    const path = text(value, at);
    readPolicy(path);
    return path;
  },
  "log-driver": text,
  "log-opts": (value, at) => (Array.isArray(value) ? keyValues(list(text)(value, at), at) : map(text)(value, at)),
  "default-ulimits": ulimits,
  "default-shm-size": bytes,
  "default-ipc-mode": oneOf("private", "shareable"),
  "default-cgroupns-mode": oneOf("private", "host"),
  "cgroup-parent": text,
  "no-new-privileges": boolean,
  "seccomp-profile": seccompProfile,
  init: boolean,
  "default-stop-timeout": stopTimeout,
  "live-restore": liveRestore,
  bridge: oneOf("none"),
  "image-gc-max-size": positive(bytes),
  "image-gc-max-age": positive(seconds),
  "storage-driver": oneOf("overlay2", "erofs"),
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
