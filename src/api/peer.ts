/** Who sends the requests of a connection. */
export type Peer =
  | { kind: "unix"; uid: number; gid: number; pid: number }
  /** `name` is the CN of the certificate that the client proved to have. */
  | { kind: "tls"; name: string; address: string };

/** The peers of open connections, by socket; an entry goes with its socket. */
export type Peers = WeakMap<object, Peer>;
