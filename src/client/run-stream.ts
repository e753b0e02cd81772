import { RUN_MESSAGE, type RunCreated, type RunExited, type RunFailed } from "../spec/run-stream.ts";
import { Demultiplexer } from "./stdcopy.ts";

/** Reads the stream of `POST /inro/run`: output as {@link Demultiplexer}, and what became of the container. */
export class RunStream extends Demultiplexer {
  created: RunCreated | undefined;
  failed: RunFailed | undefined;
  exited: RunExited | undefined;

  /** `onCreated` is told once, when the container exists and has been started (or could not be). */
  constructor(onCreated: (created: RunCreated) => void) {
    super((stream, payload) => {
      const value = () => JSON.parse(new TextDecoder().decode(payload));
      if (stream === RUN_MESSAGE.created) {
        this.created = value() as RunCreated;
        onCreated(this.created);
      } else if (stream === RUN_MESSAGE.failed) this.failed = value() as RunFailed;
      else if (stream === RUN_MESSAGE.exited) this.exited = value() as RunExited;
    });
  }

  /** Nothing more will come. */
  override get ended(): boolean {
    return this.failed !== undefined || this.exited !== undefined;
  }
}
