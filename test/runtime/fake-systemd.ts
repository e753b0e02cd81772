import { appendFileSync, existsSync, mkdirSync, rmdirSync, writeFileSync } from "node:fs";
import { detectHierarchy } from "../../src/cgroups/hierarchy.ts";
import { Connection } from "../../src/dbus/connection.ts";
import type { Value, Variant } from "../../src/dbus/marshal.ts";
import { ERROR, METHOD_RETURN, type Message, SIGNAL } from "../../src/dbus/message.ts";
import { expandSlice } from "../../src/runtime/oci/systemd/names.ts";

/**
 * What a service manager on a real bus does for units with processes: makes their cgroups, in the hierarchies that
 * systemd keeps, moves the processes there, tells of the jobs. Arguments: address, log, its own cgroup. Each call is a
 * line of the log.
 */
const [address = "", log = "", base = ""] = process.argv.slice(2);
const bus = Connection.open(address);
const call = (member: string, signature: string, body: Value[]) =>
  bus.call({
    ...{ destination: "org.freedesktop.DBus", path: "/org/freedesktop/DBus", interface: "org.freedesktop.DBus" },
    ...{ member, signature, body },
  });
call("RequestName", "su", ["org.freedesktop.systemd1", 4]);

const hierarchy = detectHierarchy();
const kept = [hierarchy.unified, hierarchy.controllers.get("name=systemd")].filter((root) => root !== undefined);
const units = new Map<string, string>();
let jobs = 0;

const text = (value: unknown) => JSON.stringify(value, (_, v: unknown) => (typeof v === "bigint" ? `${v}` : v));

function answer(request: Message, signature: string, body: Value[]): void {
  if (request.sender === undefined) return;
  bus.send({
    ...{ type: METHOD_RETURN, replySerial: request.serial, destination: request.sender, body },
    ...(signature && { signature }),
  });
}

function fail(request: Message, name: string, why: string): void {
  bus.send({
    ...{ type: ERROR, replySerial: request.serial, destination: request.sender!, signature: "s", body: [why] },
    errorName: `org.freedesktop.systemd1.${name}`,
  });
}

function job(request: Message, unit: string, result: string): void {
  const path = `/org/freedesktop/systemd1/job/${++jobs}`;
  // As the real one may: the signal can come before the answer.
  const signal = () =>
    bus.send({
      ...{ type: SIGNAL, path: "/org/freedesktop/systemd1", interface: "org.freedesktop.systemd1.Manager" },
      ...{ member: "JobRemoved", signature: "uoss", body: [jobs, path, unit, result] },
    });
  if (jobs % 2) signal();
  answer(request, "o", [path]);
  if (jobs % 2 === 0) signal();
}

function start(request: Message): void {
  const [unit, , given] = request.body as [string, string, [string, Variant][]];
  const properties = new Map(given.map(([name, { value }]) => [name, value]));
  const problem = units.has(unit) ? "UnitExists" : unit.includes("refused") ? "Refused" : undefined;
  if (problem !== undefined) {
    fail(request, problem, "no such luck");
    return;
  }
  if (unit.includes("broken")) {
    job(request, unit, "failed");
    return;
  }
  const path = `${base}${expandSlice(String(properties.get("Slice")))}/${unit}`;
  for (const root of kept) {
    mkdirSync(root + path, { recursive: true });
    for (const pid of properties.get("PIDs") as number[]) writeFileSync(`${root}${path}/cgroup.procs`, String(pid));
  }
  units.set(unit, path);
  job(request, unit, "done");
}

function stop(request: Message): void {
  const unit = String(request.body[0]);
  const path = units.get(unit);
  if (path === undefined) {
    fail(request, "NoSuchUnit", `Unit ${unit} not loaded.`);
    return;
  }
  units.delete(unit);
  for (const root of kept) {
    try {
      rmdirSync(root + path);
    } catch {
      // The runtime's to remove.
    }
  }
  job(request, unit, "done");
}

writeFileSync(`${log}.ready`, "");
while (existsSync(log)) {
  let request: Message;
  try {
    request = bus.request(1000);
  } catch {
    continue;
  }
  appendFileSync(log, `${text([request.member, request.body])}\n`);
  if (request.member === "StartTransientUnit") start(request);
  else if (request.member === "StopUnit") stop(request);
  else if (request.member === "Get") {
    const value = request.body[1] === "Version" ? "252.39-1~deb12u1" : base;
    answer(request, "v", [{ signature: "s", value }]);
  } else if (request.member === "ResetFailedUnit") fail(request, "NoSuchUnit", "not loaded");
  else answer(request, "", []);
}
