import type { Command } from "./command.ts";

/** A command in the overview; its file is loaded when it is chosen. */
export interface Entry {
  name: string;
  summary: string;
  load(): Promise<{ command: Command }>;
  common?: boolean;
  hidden?: boolean;
}

const entry = (name: string, summary: string, load: Entry["load"], extra: Partial<Entry> = {}): Entry => ({
  name,
  summary,
  load,
  ...extra,
});
const common = { common: true };

const all: Entry[] = [
  entry("run", "Create and run a new container from an image", () => import("./commands/run.ts"), common),
  entry("exec", "Execute a command in a running container", () => import("./commands/exec.ts"), common),
  entry("ps", "List containers", () => import("./commands/ps.ts"), common),
  entry("pull", "Download an image from a registry", () => import("./commands/pull.ts"), common),
  entry("push", "Upload an image to a registry", () => import("./commands/push.ts"), common),
  entry("build", "Build an image from a Dockerfile", () => import("./commands/build.ts"), common),
  entry("images", "List images", () => import("./commands/images.ts"), common),
  entry("login", "Log in to a registry", () => import("./commands/login.ts"), common),
  entry("logout", "Log out from a registry", () => import("./commands/logout.ts"), common),
  entry("search", "Search a registry for images", () => import("./commands/search.ts"), common),
  entry("version", "Show the version of client and engine", () => import("./commands/version.ts"), common),
  entry("info", "Display system-wide information", () => import("./commands/info.ts"), common),
  entry("explain", "Show the system calls that start a container", () => import("./commands/explain.ts"), common),
  entry("attach", "Attach to a running container's streams", () => import("./commands/attach.ts")),
  entry("commit", "Make an image of a container's changes", () => import("./commands/commit.ts")),
  entry("completion", "Print a shell's completion script", () => import("./commands/completion.ts")),
  entry("cp", "Copy files between a container and here", () => import("./commands/cp.ts")),
  entry("create", "Create a new container", () => import("./commands/create.ts")),
  entry("debug", "A shell with tools in a container or image", () => import("./commands/debug.ts")),
  entry("diff", "Show what changed in a container's filesystem", () => import("./commands/diff.ts")),
  entry("events", "Show what happens in the engine", () => import("./commands/events.ts")),
  entry("history", "Show what an image was made of", () => import("./commands/history.ts")),
  entry("export", "Write a container's filesystem to a tar archive or stdout", () => import("./commands/export.ts")),
  entry("import", "Make an image from a filesystem tar", () => import("./commands/import.ts")),
  entry("inspect", "Show the data of containers and images", () => import("./commands/inspect.ts")),
  entry("kill", "Send a signal to running containers", () => import("./commands/kill.ts")),
  entry("load", "Load images from a tar archive or stdin", () => import("./commands/load.ts")),
  entry("logs", "Fetch the logs of a container", () => import("./commands/logs.ts")),
  entry("pause", "Freeze all processes of containers", () => import("./commands/pause.ts")),
  entry("port", "List published ports", () => import("./commands/port.ts")),
  entry("rename", "Rename a container", () => import("./commands/rename.ts")),
  entry("restart", "Restart containers", () => import("./commands/restart.ts")),
  entry("rm", "Remove containers", () => import("./commands/rm.ts")),
  entry("rmi", "Remove images", () => import("./commands/rmi.ts")),
  entry("save", "Write images to a tar archive or stdout", () => import("./commands/save.ts")),
  entry("sbom", "Show the packages in an image", () => import("./commands/sbom.ts")),
  entry("serve", "Run the engine", () => import("./commands/serve.ts")),
  entry("start", "Start stopped containers", () => import("./commands/start.ts")),
  entry("stats", "Show what containers use", () => import("./commands/stats.ts")),
  entry("stop", "Stop running containers", () => import("./commands/stop.ts")),
  entry("tag", "Give an image another name", () => import("./commands/tag.ts")),
  entry("top", "Show the processes of a container", () => import("./commands/top.ts")),
  entry("unpause", "Thaw the processes of containers", () => import("./commands/unpause.ts")),
  entry("update", "Change limits and restart policy of containers", () => import("./commands/update.ts")),
  entry("wait", "Wait until containers stop, print their exit codes", () => import("./commands/wait.ts")),
  entry("__complete", "", () => import("./commands/complete.ts"), { hidden: true }),
];

/** Commands below `inro`. */
export const commands: ReadonlyMap<string, Entry> = new Map(all.map((one) => [one.name, one]));

const named = (...pairs: (string | [string, string])[]): Map<string, Entry> =>
  new Map(
    pairs.map((pair) => {
      const [name, target] = typeof pair === "string" ? [pair, pair] : pair;
      return [name, commands.get(target)!];
    }),
  );

/** Management forms: `inro container ls` is `inro ps`. */
export const groups: ReadonlyMap<string, { summary: string; entries: ReadonlyMap<string, Entry> }> = new Map([
  [
    "container",
    {
      summary: "Manage containers",
      entries: new Map([
        ...named("attach", "commit", "cp", "create", "diff", "exec", "export"),
        [
          "inspect",
          entry("inspect", "Show the data of containers", () => import("./commands/container-inspect.ts")),
        ] as const,
        ...named("kill", "logs", ["ls", "ps"], ["list", "ps"], ["ps", "ps"], "pause", "port", "rename", "restart"),
        ["prune", entry("prune", "Remove stopped containers", () => import("./commands/container-prune.ts"))] as const,
        ...named("rm", ["remove", "rm"], "run", "start", "stats", "stop", "top", "unpause", "update", "wait"),
      ]),
    },
  ],
  [
    "builder",
    {
      summary: "Manage what builds keep",
      entries: new Map([
        ...named("build"),
        ["du", entry("du", "Show what builds have kept", () => import("./commands/builder-du.ts"))] as const,
        ["prune", entry("prune", "Remove what builds have kept", () => import("./commands/builder-prune.ts"))] as const,
      ]),
    },
  ],
  [
    "image",
    {
      summary: "Manage images",
      entries: new Map([
        [
          "diff",
          entry("diff", "Show what differs between two images", () => import("./commands/image-diff.ts")),
        ] as const,
        [
          "explore",
          entry("explore", "Look into layers, files and wasted space", () => import("./commands/image-explore.ts")),
        ] as const,
        ...named("build"),
        [
          "copy",
          entry("copy", "Copy images between engines, registries and files", () => import("./commands/image-copy.ts")),
        ] as const,
        ...named("history", "import"),
        ["inspect", entry("inspect", "Show the data of images", () => import("./commands/image-inspect.ts"))] as const,
        ["prune", entry("prune", "Remove unused images", () => import("./commands/image-prune.ts"))] as const,
        ...named("load", ["ls", "images"], ["list", "images"], "pull", "push"),
        [
          "referrers",
          entry(
            "referrers",
            "List what is attached to an image at its registry",
            () => import("./commands/image-referrers.ts"),
          ),
        ] as const,
        ...named(["rm", "rmi"], ["remove", "rmi"], "save", "tag"),
      ]),
    },
  ],
  [
    "network",
    {
      summary: "Manage networks",
      entries: new Map(
        [
          entry("connect", "Connect a container to a network", () => import("./commands/network-connect.ts")),
          entry("create", "Create a network", () => import("./commands/network-create.ts")),
          entry(
            "disconnect",
            "Disconnect a container from a network",
            () => import("./commands/network-disconnect.ts"),
          ),
          entry("inspect", "Show the data of networks", () => import("./commands/network-inspect.ts")),
          entry("ls", "List networks", () => import("./commands/network-ls.ts")),
          entry("list", "List networks", () => import("./commands/network-ls.ts"), { hidden: true }),
          entry("prune", "Remove unused networks", () => import("./commands/network-prune.ts")),
          entry("rm", "Remove networks", () => import("./commands/network-rm.ts")),
          entry("remove", "Remove networks", () => import("./commands/network-rm.ts"), { hidden: true }),
        ].map((one) => [one.name, one]),
      ),
    },
  ],
  [
    "volume",
    {
      summary: "Manage volumes",
      entries: new Map(
        [
          entry("clone", "Copy a volume", () => import("./commands/volume-clone.ts")),
          entry("create", "Create a volume", () => import("./commands/volume-create.ts")),
          entry("inspect", "Show the data of volumes", () => import("./commands/volume-inspect.ts")),
          entry("ls", "List volumes", () => import("./commands/volume-ls.ts")),
          entry("list", "List volumes", () => import("./commands/volume-ls.ts"), { hidden: true }),
          entry("prune", "Remove unused volumes", () => import("./commands/volume-prune.ts")),
          entry("rename", "Give a volume another name", () => import("./commands/volume-rename.ts")),
          entry("restore", "Give a volume back what a snapshot has", () => import("./commands/volume-restore.ts")),
          entry("rm", "Remove volumes", () => import("./commands/volume-rm.ts")),
          entry("remove", "Remove volumes", () => import("./commands/volume-rm.ts"), { hidden: true }),
          entry("snapshot", "Keep what is in a volume now", () => import("./commands/volume-snapshot.ts")),
          entry("update", "Change a cluster volume", () => import("./commands/volume-update.ts"), { hidden: true }),
        ].map((one) => [one.name, one]),
      ),
    },
  ],
  [
    "context",
    {
      summary: "Manage contexts: engines by name",
      entries: new Map(
        [
          entry("create", "Create a context", () => import("./commands/context-create.ts")),
          entry("export", "Write a context into a tar", () => import("./commands/context-export.ts")),
          entry("import", "Create a context from such a tar", () => import("./commands/context-import.ts")),
          entry("inspect", "Show the data of contexts", () => import("./commands/context-inspect.ts")),
          entry("ls", "List contexts", () => import("./commands/context-ls.ts")),
          entry("list", "List contexts", () => import("./commands/context-ls.ts"), { hidden: true }),
          entry("rm", "Remove contexts", () => import("./commands/context-rm.ts")),
          entry("remove", "Remove contexts", () => import("./commands/context-rm.ts"), { hidden: true }),
          entry("show", "Print the name of the current context", () => import("./commands/context-show.ts")),
          entry("update", "Change a context", () => import("./commands/context-update.ts")),
          entry("use", "Make a context the current one", () => import("./commands/context-use.ts")),
        ].map((one) => [one.name, one] as const),
      ),
    },
  ],
  [
    "manifest",
    {
      summary: "Manage manifests and lists of them at registries",
      entries: new Map(
        [
          entry("annotate", "Say what an image in a list is for", () => import("./commands/manifest-annotate.ts")),
          entry("create", "Put a list together here", () => import("./commands/manifest-create.ts")),
          entry("inspect", "Show a manifest or list", () => import("./commands/manifest-inspect.ts")),
          entry("push", "Send a list to its registry", () => import("./commands/manifest-push.ts")),
          entry("rm", "Forget lists that are here", () => import("./commands/manifest-rm.ts")),
        ].map((one) => [one.name, one] as const),
      ),
    },
  ],
  [
    "imagetools",
    {
      summary: "Images at registries, without pulling them",
      entries: new Map(
        [
          entry("create", "Make an image of several platforms", () => import("./commands/imagetools-create.ts")),
          entry("inspect", "Show what an image is", () => import("./commands/imagetools-inspect.ts")),
        ].map((one) => [one.name, one] as const),
      ),
    },
  ],
  [
    "registry",
    {
      summary: "Run a registry for images",
      entries: new Map(
        [
          entry("gc", "Remove what no image of a registry needs", () => import("./commands/registry-gc.ts")),
          entry("serve", "Run a registry", () => import("./commands/registry-serve.ts")),
        ].map((one) => [one.name, one] as const),
      ),
    },
  ],
  [
    "system",
    {
      summary: "Manage the engine",
      entries: new Map([
        [
          "check",
          entry("check", "Find and mend what containers left behind", () => import("./commands/system-check.ts")),
        ] as const,
        [
          "dial-stdio",
          entry(
            "dial-stdio",
            "Join stdin and stdout with the engine",
            () => import("./commands/system-dial-stdio.ts"),
            {
              hidden: true,
            },
          ),
        ] as const,
        ["df", entry("df", "Show what takes space", () => import("./commands/system-df.ts"))] as const,
        ["prune", entry("prune", "Remove what nobody uses", () => import("./commands/system-prune.ts"))] as const,
        ...named("events", "info"),
      ]),
    },
  ],
]);
