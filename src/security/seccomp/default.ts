import type { SeccompArg, SeccompOperator } from "../../spec/oci-runtime.ts";
import type { Condition, Profile, Rule } from "./read-profile.ts";

/** Calls that every container may make. */
const ALWAYS = `
  accept accept4 access adjtimex alarm bind brk cachestat capget capset chdir chmod chown chown32 clock_adjtime
  clock_adjtime64 clock_getres clock_getres_time64 clock_gettime clock_gettime64 clock_nanosleep
  clock_nanosleep_time64 close close_range connect copy_file_range creat dup dup2 dup3 epoll_create epoll_create1
  epoll_ctl epoll_ctl_old epoll_pwait epoll_pwait2 epoll_wait epoll_wait_old eventfd eventfd2 execve execveat exit
  exit_group faccessat faccessat2 fadvise64 fadvise64_64 fallocate fanotify_mark fchdir fchmod fchmodat fchmodat2
  fchown fchown32 fchownat fcntl fcntl64 fdatasync fgetxattr flistxattr flock fork fremovexattr fsetxattr fstat
  fstat64 fstatat64 fstatfs fstatfs64 fsync ftruncate ftruncate64 futex futex_requeue futex_time64 futex_wait
  futex_waitv futex_wake futimesat getcpu getcwd getdents getdents64 getegid getegid32 geteuid geteuid32 getgid
  getgid32 getgroups getgroups32 getitimer getpeername getpgid getpgrp getpid getppid getpriority getrandom
  getresgid getresgid32 getresuid getresuid32 getrlimit get_robust_list getrusage getsid getsockname getsockopt
  get_thread_area gettid gettimeofday getuid getuid32 getxattr getxattrat inotify_add_watch inotify_init
  inotify_init1 inotify_rm_watch io_cancel ioctl io_destroy io_getevents io_pgetevents io_pgetevents_time64
  ioprio_get ioprio_set io_setup io_submit ipc kill landlock_add_rule landlock_create_ruleset landlock_restrict_self
  lchown lchown32 lgetxattr link linkat listen listmount listxattr listxattrat llistxattr _llseek lremovexattr lseek
  lsetxattr lstat lstat64 madvise map_shadow_stack membarrier memfd_create memfd_secret mincore mkdir mkdirat mknod
  mknodat mlock mlock2 mlockall mmap mmap2 mprotect mq_getsetattr mq_notify mq_open mq_timedreceive
  mq_timedreceive_time64 mq_timedsend mq_timedsend_time64 mq_unlink mremap mseal msgctl msgget msgrcv msgsnd msync
  munlock munlockall munmap name_to_handle_at nanosleep newfstatat _newselect open openat openat2 pause pidfd_open
  pidfd_send_signal pipe pipe2 pkey_alloc pkey_free pkey_mprotect poll ppoll ppoll_time64 prctl pread64 preadv
  preadv2 prlimit64 process_mrelease pselect6 pselect6_time64 pwrite64 pwritev pwritev2 read readahead readlink
  readlinkat readv recv recvfrom recvmmsg recvmmsg_time64 recvmsg remap_file_pages removexattr removexattrat rename
  renameat renameat2 restart_syscall riscv_hwprobe rmdir rseq rt_sigaction rt_sigpending rt_sigprocmask
  rt_sigqueueinfo rt_sigreturn rt_sigsuspend rt_sigtimedwait rt_sigtimedwait_time64 rt_tgsigqueueinfo
  sched_getaffinity sched_getattr sched_getparam sched_get_priority_max sched_get_priority_min sched_getscheduler
  sched_rr_get_interval sched_rr_get_interval_time64 sched_setaffinity sched_setattr sched_setparam
  sched_setscheduler sched_yield seccomp select semctl semget semop semtimedop semtimedop_time64 send sendfile
  sendfile64 sendmmsg sendmsg sendto setfsgid setfsgid32 setfsuid setfsuid32 setgid setgid32 setgroups setgroups32
  setitimer setpgid setpriority setregid setregid32 setresgid setresgid32 setresuid setresuid32 setreuid setreuid32
  setrlimit set_robust_list setsid setsockopt set_thread_area set_tid_address setuid setuid32 setxattr setxattrat
  shmat shmctl shmdt shmget shutdown sigaltstack signalfd signalfd4 sigprocmask sigreturn socketcall socketpair
  splice stat stat64 statfs statfs64 statmount statx symlink symlinkat sync sync_file_range syncfs sysinfo tee
  tgkill time timer_create timer_delete timer_getoverrun timer_gettime timer_gettime64 timer_settime timer_settime64
  timerfd_create timerfd_gettime timerfd_gettime64 timerfd_settime timerfd_settime64 times tkill truncate truncate64
  ugetrlimit umask uname unlink unlinkat uretprobe utime utimensat utimensat_time64 utimes vfork vmsplice wait4
  waitid waitpid write writev
`;

const NEW_NAMESPACES = 0x7e02_0000;

/**
 * The profile of containers that name none: Docker's default (moby/profiles seccomp), which allows what ordinary
 * programs use and answers the rest with EPERM, and two denials of its own for socket. See resolveProfile for how the
 * conditions are decided.
 */
export const DEFAULT_PROFILE: Profile = {
  defaultAction: "SCMP_ACT_ERRNO",
  defaultErrnoRet: 1,
  archMap: [
    archs("X86_64 X86 X32"),
    archs("AARCH64 ARM"),
    archs("MIPS64 MIPS MIPS64N32"),
    archs("MIPS64N32 MIPS MIPS64"),
    archs("MIPSEL64 MIPSEL MIPSEL64N32"),
    archs("MIPSEL64N32 MIPSEL MIPSEL64"),
    archs("S390X S390"),
    archs("RISCV64"),
    archs("LOONGARCH64"),
  ],
  rules: [
    allow(ALWAYS),
    // Before 4.8 a tracer could change a call after seccomp had judged it.
    { ...allow("process_vm_readv process_vm_writev ptrace"), includes: when({ minKernel: { major: 4, minor: 8 } }) },

    // Not AF_ALG (38), a wide door into the kernel's crypto, and not AF_VSOCK (40), which leaves the machine.
    allow("socket", is(0, "LT", 38)),
    allow("socket", is(0, "EQ", 39)),
    allow("socket", is(0, "GT", 40)),
    // The kernel reads the family as an int: with bits above it set, both would pass as "greater than 40", as they do in Docker.
    { ...allow("socket", is(0, "MASKED_EQ", 0xffff_ffff, 38)), action: "SCMP_ACT_ERRNO" },
    { ...allow("socket", is(0, "MASKED_EQ", 0xffff_ffff, 40)), action: "SCMP_ACT_ERRNO" },

    // PER_LINUX, PER_LINUX32, each with UNAME26, and the question which one is set.
    allow("personality", is(0, "EQ", 0x0)),
    allow("personality", is(0, "EQ", 0x8)),
    allow("personality", is(0, "EQ", 0x2_0000)),
    allow("personality", is(0, "EQ", 0x2_0008)),
    allow("personality", is(0, "EQ", 0xffff_ffff)),

    onArch("ppc64le", "sync_file_range2 swapcontext"),
    onArch("arm arm64", "arm_fadvise64_64 arm_sync_file_range sync_file_range2 breakpoint cacheflush set_tls"),
    onArch("amd64 x32", "arch_prctl"),
    onArch("amd64 x32 x86", "modify_ldt"),
    onArch("s390 s390x", "s390_pci_mmio_read s390_pci_mmio_write s390_runtime_instr"),
    onArch("riscv64", "riscv_flush_icache"),

    withCap("DAC_READ_SEARCH", "open_by_handle_at"),
    withCap(
      "SYS_ADMIN",
      `bpf clone clone3 fanotify_init fsconfig fsmount fsopen fspick lookup_dcookie lsm_get_self_attr lsm_list_modules
      lsm_set_self_attr mount mount_setattr move_mount open_tree perf_event_open quotactl quotactl_fd setdomainname
      sethostname setns syslog umount umount2 unshare`,
    ),
    {
      ...allow("clone", is(0, "MASKED_EQ", NEW_NAMESPACES)),
      excludes: when({ caps: ["CAP_SYS_ADMIN"], arches: ["s390", "s390x"] }),
    },
    {
      ...allow("clone", is(1, "MASKED_EQ", NEW_NAMESPACES)),
      includes: when({ arches: ["s390", "s390x"] }),
      excludes: when({ caps: ["CAP_SYS_ADMIN"] }),
    },
    // Its flags lie in memory, out of a filter's sight. ENOSYS makes libc fall back to clone.
    { ...allow("clone3"), action: "SCMP_ACT_ERRNO", errnoRet: 38, excludes: when({ caps: ["CAP_SYS_ADMIN"] }) },

    withCap("SYS_BOOT", "reboot"),
    withCap("SYS_CHROOT", "chroot"),
    withCap("SYS_MODULE", "delete_module init_module finit_module"),
    withCap("SYS_PACCT", "acct"),
    withCap("SYS_PTRACE", "kcmp pidfd_getfd process_madvise process_vm_readv process_vm_writev ptrace"),
    withCap("SYS_RAWIO", "iopl ioperm"),
    withCap("SYS_TIME", "settimeofday stime clock_settime clock_settime64"),
    withCap("SYS_TTY_CONFIG", "vhangup"),
    withCap("SYS_NICE", "get_mempolicy mbind set_mempolicy set_mempolicy_home_node"),
    withCap("SYSLOG", "syslog"),
    withCap("BPF", "bpf"),
    withCap("PERFMON", "perf_event_open"),
  ],
};

function archs(names: string) {
  const [architecture, ...subArchitectures] = names.split(" ").map((name) => `SCMP_ARCH_${name}`);
  return { architecture: architecture!, subArchitectures };
}

function when(condition: Partial<Condition>): Condition {
  return { caps: [], arches: [], ...condition };
}

function allow(names: string, ...args: SeccompArg[]): Rule {
  return { names: names.trim().split(/\s+/), action: "SCMP_ACT_ALLOW", args, includes: when({}), excludes: when({}) };
}

function onArch(arches: string, names: string): Rule {
  return { ...allow(names), includes: when({ arches: arches.split(" ") }) };
}

function withCap(cap: string, names: string): Rule {
  return { ...allow(names), includes: when({ caps: [`CAP_${cap}`] }) };
}

function is(index: number, op: string, value: number, valueTwo = 0): SeccompArg {
  return { index, op: `SCMP_CMP_${op}` as SeccompOperator, value, valueTwo };
}
