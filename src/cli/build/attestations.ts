import type { BuildAttestations } from "../../spec/build-stream.ts";
import { ExitError } from "../command.ts";
import type { Options } from "../flags.ts";
import { fields } from "./options.ts";

/** `--attest`, and the two short forms of it. A later word on one type counts. */
export function attestationsOf(options: Options): BuildAttestations {
  const short = (type: string) => (options.has(type) ? [`type=${type},${shortForm(options.string(type))}`] : []);
  const wanted: BuildAttestations = {};
  for (const text of [...options.list("attest"), ...short("sbom"), ...short("provenance")]) {
    const given = fields(text, "attest");
    const type = given.get("type");
    const disabled = given.get("disabled") === "true";
    if (type === "sbom") {
      if (given.has("generator"))
        throw new ExitError(1, "--attest: another generator than inro's own is not supported");
      wanted.sbom = !disabled;
    } else if (type === "provenance") {
      const mode = given.get("mode") ?? "min";
      if (mode !== "min" && mode !== "max") throw new ExitError(1, `--attest: invalid mode ${mode}: min or max`);
      if (disabled) delete wanted.provenance;
      else wanted.provenance = mode;
    } else throw new ExitError(1, `--attest: type=sbom or type=provenance, not ${JSON.stringify(text)}`);
  }
  return wanted;
}

/** A truth value, or attributes. */
function shortForm(text: string): string {
  if (["", "true", "1"].includes(text)) return "disabled=false";
  if (["false", "0"].includes(text)) return "disabled=true";
  return text.includes("=") ? text : `mode=${text}`;
}
