import type { Command } from "../command.ts";
import { stdout } from "../output.ts";

interface Finding {
  kind: string;
  object: string;
  problem: string;
  repaired?: boolean;
  error?: string;
}

export const command: Command = {
  usage: "[OPTIONS]",
  args: [0, 0],
  flags: [
    { name: "repair", type: "bool", help: "Mend what is found" },
    { name: "images", type: "bool", help: "Read every blob and layer as well, and compare their digests" },
    { name: "json", type: "bool", help: "As JSON" },
  ],
  description: "Compares the machine with the engine's records: mounts, cgroups, processes, layers, files.",
  examples: [
    ["inro system check", "Look"],
    ["inro system check --repair", "Look and mend"],
    ["inro system check --images", "Look whether all of the images is as it was stored"],
  ],
  async run({ options, engine }) {
    const repair = options.bool("repair");
    const answer = await engine().json<Finding[] | { findings?: Finding[] }>("GET", "/inro/check", {
      query: { repair: repair || undefined, images: options.bool("images") || undefined },
    });
    const findings = Array.isArray(answer) ? answer : (answer.findings ?? []);
    if (options.bool("json")) await stdout.line(JSON.stringify(findings, undefined, 2));
    else if (findings.length === 0)
      await stdout.line(
        options.bool("images") ? "no leaks found, all images are as they were stored" : "no leaks found",
      );
    else await stdout.write(findings.map((finding) => `${line(finding)}\n`).join(""));
    return findings.every((finding) => finding.repaired) ? 0 : 1;
  },
};

function line(finding: Finding): string {
  const state = finding.repaired ? " (repaired)" : finding.error ? ` (repair failed: ${finding.error})` : "";
  return `${finding.kind} ${finding.object}: ${finding.problem}${state}`;
}
