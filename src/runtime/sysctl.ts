/** Where a sysctl is below /proc/sys. As in sysctl(8), the first separator, `.` or `/`, is the one; the other is a name's. */
export function sysctlPath(key: string): string {
  if (/^[^./]*\//.test(key)) return key;
  return key.replace(/[./]/g, (c) => (c === "." ? "/" : "."));
}
