import { section } from "../case.ts";
import { namespaces } from "./namespaces.ts";

const sysctl = section("config-linux.md#sysctl");
const set = (name: string, value: string) => ({ linux: { sysctl: { [name]: value } } });

export const sysctlCases = [
  sysctl.shows("linux.sysctl net.*", set("net.ipv4.ip_forward", "1"), "cat /proc/sys/net/ipv4/ip_forward", "1"),
  sysctl.shows("linux.sysctl kernel.msgmax", set("kernel.msgmax", "4096"), "cat /proc/sys/kernel/msgmax", "4096"),
  sysctl.shows(
    "linux.sysctl kernel.shm_rmid_forced",
    set("kernel.shm_rmid_forced", "1"),
    "cat /proc/sys/kernel/shm_rmid_forced",
    "1",
  ),
  sysctl.shows("linux.sysctl fs.mqueue.*", set("fs.mqueue.msg_max", "11"), "cat /proc/sys/fs/mqueue/msg_max", "11"),
  sysctl.shows(
    "linux.sysctl kernel.domainname",
    set("kernel.domainname", "d.example"),
    "cat /proc/sys/kernel/domainname",
    "d.example",
  ),
  sysctl.shows(
    "linux.sysctl: a name with slashes",
    set("net/ipv4/ip_forward", "1"),
    "cat /proc/sys/net/ipv4/ip_forward",
    "1",
  ),
  sysctl.refuses(
    "linux.sysctl: one of the whole machine",
    set("kernel.panic", "1"),
    /kernel\.panic is not in a separate kernel namespace/,
  ),
  sysctl.refuses("linux.sysctl kernel.hostname", set("kernel.hostname", "x"), /kernel\.hostname/),
  sysctl.refuses(
    "linux.sysctl: without the namespace it needs",
    (s) => {
      namespaces(["network"])(s);
      s.linux.sysctl = { "net.ipv4.ip_forward": "1" };
    },
    /not allowed in the hosts? network namespace/,
  ),
  sysctl.refuses(
    "linux.sysctl: with a path of the machine's own namespace",
    (s) => {
      namespaces(["network"], { type: "network", path: "/proc/self/ns/net" })(s);
      s.linux.sysctl = { "net.ipv4.ip_forward": "1" };
    },
    /network namespace/,
    { spec: "runc", differs: { crun: "sets it in the machine's namespace" } },
  ),
  sysctl.refuses("linux.sysctl: unknown to the kernel", set("net.ipv4.nope", "1"), /net\.ipv4\.nope|net\/ipv4\/nope/),
  sysctl.refuses("linux.sysctl: a value that the kernel refuses", set("net.ipv4.ip_forward", "nope"), /ip_forward/),
  sysctl.refuses("linux.sysctl: out of /proc/sys", set("net.ipv4.../../../../../kernel.panic", "1"), /sysctl/),
];
