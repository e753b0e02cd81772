/** Fields of message criu_opts (CRIU's images/rpc.proto). */
export const OPTION = {
  imagesDirFd: 1,
  pid: 2,
  leaveRunning: 3,
  extUnixSk: 4,
  tcpEstablished: 5,
  evasiveDevices: 6,
  shellJob: 7,
  fileLocks: 8,
  logLevel: 9,
  logFile: 10,
  pageServer: 11,
  notifyScripts: 12,
  root: 13,
  parentImg: 14,
  trackMem: 15,
  autoDedup: 16,
  workDirFd: 17,
  linkRemap: 18,
  manageCgroups: 24,
  cgroupRoot: 25,
  rstSibling: 26,
  inheritFd: 27,
  manageCgroupsMode: 34,
  external: 37,
  emptyNs: 38,
  joinNs: 39,
  freezeCgroup: 44,
  tcpSkipInFlight: 46,
  lazyPages: 48,
  orphanPtsMaster: 50,
  configFile: 51,
  lsmProfile: 53,
  lsmMountContext: 63,
} as const;

/** `--image-path` and `--work-path`, absolute, and where the log goes. */
export interface Directories {
  images: string;
  work: string | undefined;
  log: string;
}
