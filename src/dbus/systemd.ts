import { existsSync } from "node:fs";
import { unavailable } from "../base/errors.ts";
import { type Call, Connection, DbusError } from "./connection.ts";
import type { Value, Variant } from "./marshal.ts";

/** A unit's property (org.freedesktop.systemd1(5)). */
export type Property = [name: string, value: Variant];

const SERVICE = "org.freedesktop.systemd1";
const MANAGER = { destination: SERVICE, path: "/org/freedesktop/systemd1", interface: `${SERVICE}.Manager` };
const JOB_MS = 30_000;

/** sd_booted(3). */
export const BOOTED = "/run/systemd/system";

/** systemd's manager, of the system or of a user. The creator closes it. */
export class Systemd {
  private constructor(readonly connection: Connection) {}

  /** Over the system's bus, as root else systemd's own socket; with `user` over that user's bus. */
  static open(user: boolean): Systemd {
    if (!existsSync(BOOTED)) {
      throw unavailable(`the systemd cgroup driver needs systemd, which does not run here (no ${BOOTED})`);
    }
    const { DBUS_SYSTEM_BUS_ADDRESS, DBUS_SESSION_BUS_ADDRESS, XDG_RUNTIME_DIR } = process.env;
    if (user) {
      const address = DBUS_SESSION_BUS_ADDRESS || (XDG_RUNTIME_DIR && `unix:path=${XDG_RUNTIME_DIR}/bus`);
      if (!address) {
        throw unavailable(
          "the systemd cgroup driver needs the user's bus: set DBUS_SESSION_BUS_ADDRESS or XDG_RUNTIME_DIR",
        );
      }
      return Systemd.on(Connection.open(address));
    }
    try {
      return Systemd.on(Connection.open(DBUS_SYSTEM_BUS_ADDRESS || "unix:path=/run/dbus/system_bus_socket"));
    } catch (error) {
      const own = "/run/systemd/private";
      if (process.geteuid?.() !== 0 || !existsSync(own)) throw error;
      return Systemd.on(Connection.open(`unix:path=${own}`, false), false);
    }
  }

  static on(connection: Connection, bus = true): Systemd {
    const systemd = new Systemd(connection);
    if (bus) connection.match(`type='signal',sender='${SERVICE}',interface='${SERVICE}.Manager',member='JobRemoved'`);
    systemd.#ignoring("AlreadySubscribed", { member: "Subscribe" });
    return systemd;
  }

  close(): void {
    this.connection.close();
  }

  /** Starts a transient unit (a scope, a slice) and waits for it. A failed one of that name is taken away first. */
  start(unit: string, properties: readonly Property[]): void {
    const body: Value[] = [unit, "replace", properties as unknown as Value, []];
    const start = () => this.#job(unit, { member: "StartTransientUnit", signature: "ssa(sv)a(sa(sv))", body });
    let result: string;
    try {
      result = start();
    } catch (error) {
      if (!(error instanceof DbusError) || !error.dbusName.endsWith(".UnitExists")) throw error;
      this.resetFailed(unit);
      result = start();
    }
    if (result === "done") return;
    this.resetFailed(unit);
    throw unavailable(`systemd: start ${unit}: the job ended as ${result}`);
  }

  /** Stops a unit and waits until it is gone; one that is not there is fine. */
  stop(unit: string): void {
    try {
      this.#job(unit, { member: "StopUnit", signature: "ss", body: [unit, "replace"] });
    } catch (error) {
      if (!(error instanceof DbusError) || !error.dbusName.endsWith(".NoSuchUnit")) throw error;
    }
    this.resetFailed(unit);
  }

  /** Sets properties until the next start of the unit. */
  set(unit: string, properties: readonly Property[]): void {
    const body: Value[] = [unit, true, properties as unknown as Value];
    this.#manager({ member: "SetUnitProperties", signature: "sba(sv)", body });
  }

  resetFailed(unit: string): void {
    this.#ignoring("NoSuchUnit", { member: "ResetFailedUnit", signature: "s", body: [unit] });
  }

  /** A property of the manager that is text. */
  property(name: string): string {
    const [value] = this.connection.call({
      ...MANAGER,
      interface: "org.freedesktop.DBus.Properties",
      member: "Get",
      signature: "ss",
      body: [MANAGER.interface, name],
    });
    return String((value as Variant).value);
  }

  /** 252 of `v252.5-2`; 0 where it does not say. */
  version(): number {
    return Number(/\d+/.exec(this.property("Version"))?.[0] ?? 0);
  }

  #manager(call: Pick<Call, "member" | "signature" | "body">): Value[] {
    return this.connection.call({ ...MANAGER, ...call });
  }

  #ignoring(error: string, call: Pick<Call, "member" | "signature" | "body">): void {
    try {
      this.#manager(call);
    } catch (thrown) {
      if (!(thrown instanceof DbusError) || !thrown.dbusName.endsWith(`.${error}`)) throw thrown;
    }
  }

  /** Queues a job and waits for its end: `done`, `failed`, `canceled`, … */
  #job(unit: string, call: Pick<Call, "member" | "signature" | "body">): string {
    const [job] = this.#manager(call);
    const removed = this.connection.signal(
      `end of the job for ${unit}`,
      JOB_MS,
      ({ member, body }) => member === "JobRemoved" && body[1] === job,
    );
    return String(removed.body[3]);
  }
}
