import type { Command } from "../command.ts";
import { ExitError } from "../command.ts";
import { stdout } from "../output.ts";

// Each script asks `inro __complete WORDS…`: the tables of the commands answer.
const SCRIPTS: Record<string, string> = {
  bash: `_inro() {
  local IFS=$'\\n'
  COMPREPLY=($(inro __complete -- "\${COMP_WORDS[@]:1:COMP_CWORD}" 2>/dev/null))
  if [ \${#COMPREPLY[@]} -eq 0 ]; then compopt -o default
  elif [[ \${COMPREPLY[0]} == *= ]]; then compopt -o nospace; fi
}
complete -F _inro inro
`,
  zsh: `#compdef inro
_inro() {
  local -a found
  found=("\${(@f)$(inro __complete -- "\${(@)words[2,CURRENT]}" 2>/dev/null)}")
  if [[ -n "\${found[1]}" ]]; then compadd -- "\${found[@]}"; else _files; fi
}
compdef _inro inro
`,
  fish: `complete -c inro -f -a '(inro __complete -- (commandline -opc)[2..] (commandline -ct) 2>/dev/null)'
`,
};

export const command: Command = {
  usage: "bash|zsh|fish",
  args: [1, 1],
  flags: [],
  examples: [["source <(inro completion bash)", "For this shell"]],
  async run({ args }) {
    const script = Object.hasOwn(SCRIPTS, args[0]!) ? SCRIPTS[args[0]!] : undefined;
    if (script === undefined) throw new ExitError(1, `no completion for ${JSON.stringify(args[0])}: bash, zsh, fish`);
    await stdout.write(script);
    return 0;
  },
};
