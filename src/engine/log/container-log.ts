import { newId } from "../../base/digest.ts";
import { invalid, messageOf, unavailable } from "../../base/errors.ts";
import { nowNanoseconds } from "../clock.ts";
import { bufferSize, cacheOptions, isCached, jsonFileLimits, localLimits } from "../config/log-config.ts";
import type { OutputChunk, StreamId } from "../requests.ts";
import type { ContainerRecord } from "../store.ts";
import { bounded, extraAttributes, logTag } from "./attributes.ts";
import { blockFormat } from "./block-format.ts";
import { jsonFormat } from "./json-format.ts";
import { LogFile } from "./log-file.ts";
import { Journal } from "./remote/journald.ts";
import { RemoteLog } from "./remote/remote-log.ts";
import { Syslog } from "./remote/syslog.ts";
import { checkSyslogOptions } from "./remote/syslog-options.ts";

export interface LogPlace {
  /** The container's, where its files go. */
  directory: string;
  /** journald's socket. */
  journal: string;
  onError(error: unknown): void;
}

/** Where a container's output goes: files of its own (json-file, local), elsewhere (journald, syslog), or both. */
export class ContainerLog {
  constructor(
    /** What can be read back. */
    readonly file: LogFile | undefined,
    private readonly remote?: RemoteLog,
  ) {}

  /** Before a run starts: who receives it elsewhere is there. Throws unavailable. */
  connect(): Promise<void> | undefined {
    return this.remote && this.#connect(this.remote);
  }

  async #connect(remote: RemoteLog): Promise<void> {
    try {
      await remote.connect();
    } catch (error) {
      throw unavailable(`failed to initialize logging driver: ${messageOf(error)}`, error);
    }
  }

  /** A run starts, or with `adopted` is taken over from an earlier engine. */
  begin(adopted = false): undefined {
    this.remote?.begin();
    this.file?.begin(adopted);
  }

  /**
   * Takes one stream's output. The promise, if there is one, resolves when the next may come. Errors (a full disk) are
   * thrown.
   */
  write(stream: StreamId, data: Uint8Array): Promise<void> | undefined {
    const time = nowNanoseconds();
    const sent = this.remote?.write(stream, data, time);
    this.file?.write(stream, data, time);
    return sent;
  }

  /** What was written last has left the pipe: an engine that comes later does not get it again. */
  taken(): undefined {
    this.file?.taken();
  }

  /** The run ended. */
  async end(): Promise<void> {
    await this.remote?.end(nowNanoseconds());
    this.file?.end();
  }

  /** Output taken, but not yet to be read back. */
  pending(): OutputChunk[] {
    return this.file?.pending() ?? [];
  }

  /** Lets every waiting reader look again. */
  wake(): void {
    this.file?.wake();
  }
}

/** The log that a container's record asks for; undefined for the driver `none`. `record` is asked at each run. */
export function openLog(record: () => ContainerRecord, place: LogPlace): ContainerLog | undefined {
  const { id, host } = record();
  const { Type: type = "json-file", Config: options = {} } = host.LogConfig ?? {};
  const attributes = wantsAttributes(options) ? () => attributesOf(record()) : undefined;
  const common = { ...(attributes ? { attributes } : {}), onError: place.onError };
  switch (type) {
    case "none":
      return undefined;
    case "local": {
      const path = `${place.directory}/local-logs/container.log`;
      return new ContainerLog(new LogFile(path, { ...common, format: blockFormat, limits: localLimits(options) }));
    }
    case "journald":
    case "syslog": {
      const receiver = type === "journald" ? new Journal(record, place.journal) : new Syslog(record);
      const remote = new RemoteLog({ receiver, buffer: bufferSize(options), onError: place.onError, newId });
      if (!isCached(options)) return new ContainerLog(undefined, remote);
      const limits = localLimits(cacheOptions(options));
      const path = `${place.directory}/container-cached.log`;
      return new ContainerLog(new LogFile(path, { ...common, format: blockFormat, limits }), remote);
    }
    default: {
      const path = `${place.directory}/${id}-json.log`;
      return new ContainerLog(new LogFile(path, { ...common, format: jsonFormat, limits: jsonFileLimits(options) }));
    }
  }
}

const wantsAttributes = (options: Record<string, string>) =>
  ["labels", "labels-regex", "env", "env-regex", "tag"].some((name) => options[name]);

function attributesOf(record: ContainerRecord): Record<string, string> {
  const tag = logTag(record, "");
  return bounded({ ...extraAttributes(record), ...(tag === "" ? {} : { tag }) });
}

/** The part of a log's options that only a container's own facts can show to be wrong. Throws invalid. */
export function checkLog(record: ContainerRecord): void {
  const { Type: type, Config: options = {} } = record.host.LogConfig ?? {};
  if (type === "none") return;
  if (type === "syslog") checkSyslogOptions(options);
  if (!wantsAttributes(options)) return;
  try {
    attributesOf(record);
  } catch (error) {
    throw invalid(`failed to initialize logging driver: ${messageOf(error)}`, error);
  }
}
