/** POST /inro/debug, inro's own. */
export interface DebugRequest {
  /** A container, or else an image. */
  Target: string;
  /** The tools' image; "host" is the engine's machine. */
  Image?: string;
  /** A command of the tools; default bash, else sh. */
  Shell?: string;
  /** For the shell; absent: it is interactive. */
  Command?: string;
  User?: string;
  WorkingDir?: string;
  Env?: string[];
  Privileged?: boolean;
  Tty?: boolean;
  AttachStdin?: boolean;
  DetachKeys?: string;
}

/** Its answer. */
export interface DebugCreated {
  /** Of an exec instance, to be started within a minute. */
  Id: string;
  /** The container that it will be in: the target, or one that goes with it. */
  Container: string;
  Own: boolean;
}
