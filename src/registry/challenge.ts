/** One challenge of a WWW-Authenticate header; scheme and parameter names in lower case. */
export interface Challenge {
  scheme: string;
  params: Record<string, string>;
}

const MAX_HEADER = 8192;

/** Takes a WWW-Authenticate header apart (RFC 9110 section 11.6.1); what cannot be read is left out. */
export function parseChallenges(header: string): Challenge[] {
  const challenges: Challenge[] = [];
  const item = /\s*(?:,\s*)*([A-Za-z0-9!#$%&'*+.^_`|~-]+)(?:\s*=\s*(?:"((?:[^"\\]|\\.)*)"|([^\s,"]*)))?/y;
  const text = header.slice(0, MAX_HEADER);
  for (let match = item.exec(text); match; match = item.exec(text)) {
    const name = match[1]!.toLowerCase();
    const value = match[2] === undefined ? match[3] : match[2].replace(/\\(.)/g, "$1");
    const current = challenges.at(-1);
    if (value === undefined) challenges.push({ scheme: name, params: Object.create(null) });
    else if (current) current.params[name] = value;
  }
  return challenges;
}
