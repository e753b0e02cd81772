import { notFound, notImplemented, unavailable } from "../base/errors.ts";
import { type Handler, json } from "./call.ts";

/** What the Engine API has and inro does not: no path of it is a 404, and none a wrong 200. */

const NOT_A_MANAGER =
  'This node is not a swarm manager. Use "docker swarm init" or "docker swarm join" to connect this node to swarm and try again.';

const throwing =
  (error: () => Error): Handler =>
  async () => {
    throw error();
  };

function all(error: () => Error, patterns: string): Record<string, Handler> {
  const lines = patterns.trim().split(/\s*\n\s*/);
  return Object.fromEntries(lines.map((pattern) => [pattern, throwing(error)]));
}

const swarm = all(
  () => unavailable(NOT_A_MANAGER),
  `
  GET /swarm
  POST /swarm/update
  POST /swarm/unlock
  GET /swarm/unlockkey
  GET /nodes
  GET /nodes/*
  DELETE /nodes/*
  POST /nodes/*/update
  GET /services
  POST /services/create
  GET /services/*
  DELETE /services/*
  POST /services/*/update
  GET /services/*/logs
  GET /tasks
  GET /tasks/*
  GET /tasks/*/logs
  GET /secrets
  POST /secrets/create
  GET /secrets/*
  DELETE /secrets/*
  POST /secrets/*/update
  GET /configs
  POST /configs/create
  GET /configs/*
  DELETE /configs/*
  POST /configs/*/update
  PUT /volumes/*
  `,
);

const sentence = (text: string, patterns: string) => all(() => notImplemented(text), patterns);

export const unbuiltRoutes: Record<string, Handler> = {
  ...swarm,
  "POST /swarm/leave": throwing(() => unavailable("This node is not part of a swarm")),
  ...sentence(
    "swarm is not supported: this engine is a single machine's",
    `
    POST /swarm/init
    POST /swarm/join
    `,
  ),
  ...sentence("BuildKit's control API is not supported yet", "POST /grpc"),
  ...sentence("attestations of images are not supported yet", "GET /images/*/attestations"),
  ...sentence(
    "checkpoints of containers are not supported: inro-runtime has checkpoint and restore",
    `
    GET /containers/*/checkpoints
    POST /containers/*/checkpoints
    DELETE /containers/*/checkpoints/*
    `,
  ),
  // None can be installed, so there are none.
  "GET /plugins": async () => json(200, []),
  "GET /plugins/*/json": async (call) => {
    throw notFound(`plugin ${JSON.stringify(call.params[0]!.slice(0, 256))} not found`);
  },
  ...sentence(
    "plugins are not supported",
    `
    GET /plugins/privileges
    POST /plugins/pull
    POST /plugins/create
    DELETE /plugins/*
    POST /plugins/*/enable
    POST /plugins/*/disable
    POST /plugins/*/upgrade
    POST /plugins/*/push
    POST /plugins/*/set
    `,
  ),
};
