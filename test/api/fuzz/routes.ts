/**
 * The routes of the Engine API with their parameters and bodies, in a notation of our own: `name:type` after `?` for the
 * query, `< Type` for a JSON body (schemas.ts), `< tar` for bytes. `{x}` is a name from the pool of kind x. A route with
 * `~` streams, or waits for what may never come: the client leaves after a moment.
 */
export const ROUTES = `
GET /_ping
GET /version
GET /info
POST /auth < AuthConfig
~ GET /events ? since:time until:time filters:filters
GET /system/df ? type:dfType verbose:bool
GET /distribution/{image}/json
GET /containers/json ? all:bool limit:int size:bool filters:filters
POST /containers/create ? name:container platform:platform < Create
GET /containers/{container}/json ? size:bool
GET /containers/{container}/top ? ps_args:psArgs
~ GET /containers/{container}/logs ? follow:bool stdout:bool stderr:bool since:time until:time timestamps:bool details:bool tail:int
GET /containers/{container}/changes
~ GET /containers/{container}/export
~ GET /containers/{container}/stats ? stream:bool one-shot:bool
POST /containers/{container}/resize ? h:int w:int
POST /containers/{container}/start ? detachKeys:keys
POST /containers/{container}/stop ? t:seconds signal:signal
POST /containers/{container}/restart ? t:seconds signal:signal
POST /containers/{container}/kill ? signal:signal
POST /containers/{container}/update < Update
POST /containers/{container}/rename ? name:container
POST /containers/{container}/pause
POST /containers/{container}/unpause
~ POST /containers/{container}/attach ? detachKeys:keys logs:bool stream:bool stdin:bool stdout:bool stderr:bool
~ GET /containers/{container}/attach/ws ? detachKeys:keys logs:bool stream:bool stdin:bool stdout:bool stderr:bool
~ POST /containers/{container}/wait ? condition:condition
DELETE /containers/{container} ? v:bool force:bool link:bool
HEAD /containers/{container}/archive ? path:path
~ GET /containers/{container}/archive ? path:path
PUT /containers/{container}/archive ? path:path noOverwriteDirNonDir:bool copyUIDGID:bool < tar
POST /containers/prune ? filters:filters
POST /containers/{container}/exec < ExecConfig
~ POST /exec/{exec}/start < ExecStart
POST /exec/{exec}/resize ? h:int w:int
GET /exec/{exec}/json
GET /containers/{container}/checkpoints ? dir:path
POST /commit ? container:container repo:repo tag:tag comment:text author:text pause:bool changes:change < Config
GET /images/json ? all:bool filters:filters shared-size:bool digests:bool manifests:bool
~ POST /images/create ? fromImage:remote fromSrc:dash repo:repo tag:tag message:text changes:change platform:platform < tar
GET /images/{image}/json ? manifests:bool platform:platformJson
GET /images/{image}/history ? platform:platformJson
POST /images/{image}/tag ? repo:repo tag:tag
DELETE /images/{lostImage} ? force:bool noprune:bool platforms:platformJson
GET /images/search ? term:remote limit:int filters:filters
POST /images/prune ? filters:pruneNone
~ GET /images/{image}/get
~ GET /images/get ? names:image
~ POST /images/load ? quiet:bool < tar
POST /images/{image}/push ? tag:tag
POST /build ? dockerfile:path t:repo < tar
GET /volumes ? filters:filters
POST /volumes/create < VolumeCreate
GET /volumes/{volume}
DELETE /volumes/{volume} ? force:bool
POST /volumes/prune ? filters:filters
GET /networks ? filters:filters
GET /networks/{network} ? verbose:bool scope:text
POST /networks/create < NetworkCreate
POST /networks/{network}/connect < NetworkConnect
POST /networks/{network}/disconnect < NetworkDisconnect
DELETE /networks/{lostNetwork}
GET /plugins ? filters:filters
GET /plugins/{volume}/json
POST /swarm/init
GET /nodes ? filters:filters
GET /services/{container}/logs
OPTIONS /containers/{container}
~ POST /inro/run ? name:container detachKeys:keys platform:platform < Create
POST /inro/explain ? trace:bool < Create
GET /inro/check
POST /inro/volumes/{volume}/snapshot ? live:bool < VolumeCopy
POST /inro/volumes/{volume}/clone ? live:bool < VolumeCopy
POST /inro/volumes/{volume}/restore ? live:bool < VolumeCopy
POST /inro/volumes/{volume}/rename < VolumeCopy
`;

export interface Parameter {
  name: string;
  type: string;
}

export interface Route {
  method: string;
  /** With `{kind}` where a name goes. */
  path: string;
  query: Parameter[];
  body: string | undefined;
  streams: boolean;
}

export function parseRoutes(text: string): Route[] {
  return text
    .trim()
    .split("\n")
    .map((line) => {
      const [, tilde, method, path, query = "", body] =
        /^(~ )?([A-Z]+) (\S+)(?: \?((?: [\w-]+:\w+)+))?(?: < (\w+))?$/.exec(line) ?? [];
      if (!method || !path) throw new Error(`no route: ${line}`);
      return { method, path, query: parameters(query), body, streams: tilde !== undefined };
    });
}

export function parameters(text: string): Parameter[] {
  const words = text.split(" ").filter(Boolean);
  return words.map((word) => {
    const at = word.indexOf(":");
    return { name: word.slice(0, at), type: word.slice(at + 1) };
  });
}
