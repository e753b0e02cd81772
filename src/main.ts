#!/usr/bin/env bun
import { ARCHIVE_DOOR } from "./archive/door.ts";
import { mustEnter } from "./base/owner.ts";
import { READ_LAYERS_DOOR } from "./build/attest/door.ts";
import { BUILD_DOOR } from "./build/ops/child/door.ts";
import { APPLY_DOOR } from "./layers/door.ts";
import { RELAY_DOOR } from "./network/rootless/door.ts";
import { ABSENT, RESIDENT, RESIDENT_SOCKET } from "./runtime/resident/door.ts";

/** The doors: under the name `inro-runtime` the OCI runtime, else the command line, which opens the engine too. */
async function main(): Promise<number> {
  const argv = process.argv.slice(2);
  if (argv[0] === APPLY_DOOR) {
    Bun.unsafe.setJITPolicy(1);
    return await (await import("./layers/apply-process.ts")).applyMain(argv[1] ?? "");
  }
  if (argv[0] === ARCHIVE_DOOR) {
    Bun.unsafe.setJITPolicy(1);
    return await (await import("./archive/process.ts")).archiveMain(argv[1] ?? "");
  }
  if (argv[0] === RELAY_DOOR)
    return await (await import("./network/rootless/relay-process.ts")).relayMain(argv[1] ?? "");
  if (argv[0] === BUILD_DOOR) {
    Bun.unsafe.setJITPolicy(1);
    return await (await import("./build/ops/child/process.ts")).buildMain();
  }
  if (argv[0] === READ_LAYERS_DOOR) {
    Bun.unsafe.setJITPolicy(1);
    return await (await import("./build/attest/process.ts")).readLayersMain();
  }
  // INRO_DOOR is how the launcher of a checkout says under which name it was called.
  const name = process.env["INRO_DOOR"] ?? process.argv0.slice(process.argv0.lastIndexOf("/") + 1);
  delete process.env["INRO_DOOR"];
  if (name === "inro-runtime") return await (await import("./runtime/cli.ts")).main(argv);
  if (name === ABSENT) return await (await import("./runtime/resident/begin.ts")).mainAndBegin(argv);
  if (name === RESIDENT) {
    Bun.unsafe.setJITPolicy(1);
    return await (await import("./runtime/resident/serve.ts")).serveResident(argv[0] ?? RESIDENT_SOCKET);
  }
  const { main } = await import("./cli/main.ts");
  return await main(argv, {
    async serve(options) {
      if (mustEnter()) (await import("./daemon/rootless/serve.ts")).serveRootless(options);
      (await import("./daemon/compiler-options.ts")).takeCompilerOptions();
      // The binary is built for short lives (build/build.ts).
      Bun.unsafe.setJITPolicy(1);
      await (await import("./daemon/serve.ts")).serve(options);
    },
    async registry(options) {
      Bun.unsafe.setJITPolicy(1);
      return await (await import("./registry/server/main.ts")).registryMain(options);
    },
  });
}

main().then(
  (code) => process.exit(code),
  (error: unknown) => {
    process.stderr.write(`inro: ${error instanceof Error ? (error.stack ?? error.message) : error}\n`);
    process.exit(125);
  },
);
