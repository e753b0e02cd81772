const UNITS: Readonly<Record<string, number>> = { "": 1, k: 1e3, m: 1e6, g: 1e9, t: 1e12 };

/** `egress=RATE,ingress=RATE` of --bandwidth, in bits a second (tc(8), "RATES": 10mbit). Throws for what is none. */
export function parseBandwidth(text: string): { Egress?: number; Ingress?: number } {
  const found: { Egress?: number; Ingress?: number } = {};
  for (const part of text.split(",")) {
    const match = /^(egress|ingress)=(\d{1,6}(?:\.\d{1,6})?)([kmgt]?)(bit)?$/i.exec(part.trim());
    if (!match) throw new Error(`${JSON.stringify(part)} is not egress=RATE or ingress=RATE, such as egress=10mbit`);
    const [, direction = "", number, unit = ""] = match;
    const name = direction.toLowerCase() === "egress" ? "Egress" : "Ingress";
    found[name] = Math.round(Number(number) * UNITS[unit.toLowerCase()]!);
  }
  return found;
}
