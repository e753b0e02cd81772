/** Why nothing can be checkpointed here; undefined where it can. */
export function cannotCheckpoint(): string | undefined {
  if (process.getuid?.() !== 0) return "not root";
  const criu = Bun.which("criu", { PATH: `${process.env.PATH}:/usr/sbin:/sbin` });
  if (!criu) return "criu is not installed";
  const { exitCode, stdout, stderr } = Bun.spawnSync([criu, "check"]);
  if (exitCode === 0) return undefined;
  const error = `${stdout}${stderr}`.split("\n").find((line) => line.includes("Error"));
  return `criu check: ${error ?? `status ${exitCode}`}`;
}
