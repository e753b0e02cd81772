import { dirSize } from "../layers/tree-size.ts";
import type {
  ContainerConfig,
  ContainerInspect,
  ContainerState,
  ContainerSummary,
  HostConfig,
  MountPoint,
} from "../spec/docker-api.ts";
import { hostFacts } from "./config/host-facts.ts";
import { hostnameOf } from "./config/hosts.ts";
import { isTmpfsOption } from "./config/mount-plan.ts";
import type { Container } from "./container.ts";
import type { Context } from "./context.ts";
import { statusText } from "./human-time.ts";
import { CONFIG_DEFAULTS, HOST_DEFAULTS } from "./inspect-defaults.ts";
import { healthStatus, shownStatus } from "./list-filters.ts";
import { networkSettings, portSummaries, shownNetworks } from "./networks/shown.ts";
import { layersOf } from "./rootfs.ts";
import type { ContainerRecord } from "./store.ts";

/** GET /containers/{id}/json. */
export async function inspectContainer(ctx: Context, container: Container, size: boolean): Promise<ContainerInspect> {
  const { record, id } = container;
  const { config, host } = record;
  const [path = "", ...args] = [...(config.Entrypoint ?? []), ...(config.Cmd ?? [])];
  const { paths } = ctx;
  return {
    Id: id,
    Created: record.created,
    Path: path,
    Args: args,
    State: inspectState(container),
    Image: record.imageId,
    ResolvConfPath: paths.inContainer(id, "resolv.conf"),
    HostnamePath: paths.inContainer(id, "hostname"),
    HostsPath: paths.inContainer(id, "hosts"),
    LogPath: container.record.host.LogConfig?.Type === "json-file" ? (container.log?.file?.path ?? "") : "",
    Name: `/${record.name}`,
    RestartCount: container.state.restarts?.count ?? 0,
    Driver: "overlay2",
    Platform: "linux",
    MountLabel: "",
    ProcessLabel: "",
    AppArmorProfile: "",
    ExecIDs: container.execs.size > 0 ? [...container.execs] : null,
    HostConfig: { ...(HOST_DEFAULTS as unknown as HostConfig), ...host },
    GraphDriver: { Name: "overlay2", Data: graphData(ctx, container) },
    Mounts: mountPoints(ctx, record),
    Config: {
      ...(CONFIG_DEFAULTS as unknown as ContainerConfig),
      ...config,
      Hostname: hostnameOf(id, config, host, hostFacts()),
      Image: record.image,
    },
    NetworkSettings: networkSettings(ctx, container),
    ...(size ? await sizes(ctx, container) : {}),
  };
}

/** One of GET /containers/json. */
export async function summarize(ctx: Context, container: Container, size: boolean): Promise<ContainerSummary> {
  const { record, id, state, isRunning } = container;
  const { config } = record;
  return {
    Id: id,
    Names: [`/${record.name}`],
    Image: record.image,
    ImageID: record.imageId,
    Command: [...(config.Entrypoint ?? []), ...(config.Cmd ?? [])].map(quoted).join(" "),
    Created: Math.floor(Date.parse(record.created) / 1000),
    Ports: portSummaries(container),
    Labels: config.Labels ?? {},
    State: shownStatus(state),
    Status: statusText(state),
    Health: {
      Status: healthStatus(state),
      FailingStreak: isRunning ? (state.health?.failingStreak ?? 0) : 0,
    },
    HostConfig: {
      NetworkMode: record.host.NetworkMode ?? "none",
      ...(record.host.Annotations ? { Annotations: record.host.Annotations } : {}),
    },
    NetworkSettings: { Networks: shownNetworks(ctx, container) },
    Mounts: mountPoints(ctx, record),
    ...(size ? await sizes(ctx, container) : {}),
  };
}

const quoted = (argument: string) => (/[\s"']/.test(argument) ? `'${argument}'` : argument);

function inspectState({ state, isRunning, isUp }: Container): ContainerState {
  return {
    Status: shownStatus(state),
    Running: isUp,
    Paused: state.status === "paused",
    Restarting: shownStatus(state) === "restarting",
    OOMKilled: state.oomKilled,
    Dead: false,
    Pid: isRunning ? state.pid : 0,
    ExitCode: state.exitCode,
    Error: state.error,
    StartedAt: state.startedAt,
    FinishedAt: state.finishedAt,
    ...(state.health
      ? { Health: { Status: state.health.status, FailingStreak: state.health.failingStreak, Log: state.health.log } }
      : {}),
  };
}

function graphData(ctx: Context, container: Container): Record<string, string> {
  try {
    const { upper, lower } = layersOf(ctx, container);
    return { UpperDir: upper, LowerDir: lower.join(":"), WorkDir: ctx.paths.inContainer(container.id, "work") };
  } catch {
    // The image was removed by force.
    return {};
  }
}

async function sizes(ctx: Context, container: Container): Promise<{ SizeRw: number; SizeRootFs: number }> {
  const own = await dirSize(ctx.paths.inContainer(container.id, "upper"));
  let image = 0;
  try {
    image = ctx.images.find(container.record.imageId).size;
  } catch {
    // As above.
  }
  return { SizeRw: own, SizeRootFs: own + image };
}

/** All but those of HostConfig.Tmpfs, as in docker. */
function mountPoints(ctx: Context, { mounts, host }: ContainerRecord): MountPoint[] {
  const shown = mounts.filter((mount) => !isTmpfsOption(mount, host));
  return shown.map(({ type, source, destination, mode, readOnly, propagation }) => ({
    Type: type,
    ...(type === "volume" ? { Name: source } : {}),
    Source: type === "volume" ? ctx.paths.volumeData(source) : source,
    Destination: destination,
    ...(type === "volume" ? { Driver: "local" } : {}),
    Mode: mode,
    RW: !readOnly,
    Propagation: type === "bind" ? propagation : "",
  }));
}
