/** Cuts to `length` characters, the last one an ellipsis. */
export function truncate(text: string, length: number): string {
  const characters = [...text];
  return characters.length <= length ? text : `${characters.slice(0, length - 1).join("")}…`;
}

const ZONE = new Intl.DateTimeFormat("en-US", { timeZoneName: "short" });

/** A Unix time as Go prints one, in the local zone: `2026-01-02 15:04:05 +0100 CET`. */
export function goTime(unixSeconds: number): string {
  const date = new Date(unixSeconds * 1000);
  const two = (value: number) => String(value).padStart(2, "0");
  const offset = -date.getTimezoneOffset();
  const sign = offset < 0 ? "-" : "+";
  const zone = `${sign}${two(Math.floor(Math.abs(offset) / 60))}${two(Math.abs(offset) % 60)}`;
  const name = ZONE.formatToParts(date).find((part) => part.type === "timeZoneName")?.value ?? "UTC";
  const day = `${date.getFullYear()}-${two(date.getMonth() + 1)}-${two(date.getDate())}`;
  return `${day} ${two(date.getHours())}:${two(date.getMinutes())}:${two(date.getSeconds())} ${zone} ${name}`;
}

/** Nanoseconds since the epoch in the local zone, RFC 3339 with all nine digits. */
export function localTime(nanoseconds: number): string {
  const date = new Date(nanoseconds / 1e6);
  const two = (value: number) => String(value).padStart(2, "0");
  const offset = -date.getTimezoneOffset();
  const zone = `${offset < 0 ? "-" : "+"}${two(Math.floor(Math.abs(offset) / 60))}:${two(Math.abs(offset) % 60)}`;
  const day = `${date.getFullYear()}-${two(date.getMonth() + 1)}-${two(date.getDate())}`;
  const fraction = String(nanoseconds % 1e9).padStart(9, "0");
  const time = `${two(date.getHours())}:${two(date.getMinutes())}:${two(date.getSeconds())}.${fraction}`;
  return `${day}T${time}${zone}`;
}
