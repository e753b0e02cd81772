import { join, resolve } from "node:path";
import { parseArgs } from "node:util";

export const IDLE_CONTAINERS = 20;

export const HELP = `usage: npm run bench -- [--quick] [--markdown] [--rounds N] [--warm-up N] [--containers N] [--no-peers]
                            [--binary PATH] [--networks] [--images] [--build]

  --quick          few rounds, 50 containers at once: less than a minute
  --markdown       tables for the README
  --rounds N       counted rounds (30)
  --warm-up N      rounds before them (5)
  --containers N   how many at once (200)
  --networks       what networks cost, in a network namespace, in place of all else
  --build          builds, in place of all else
  --images         a large image, in place of all else; 1 round takes some minutes
  --no-peers       only the floor and inro
  --binary PATH    the inro to measure (dist/inro)
`;

const options = {
  options: {
    quick: { type: "boolean", default: false },
    markdown: { type: "boolean", default: false },
    rounds: { type: "string" },
    "warm-up": { type: "string" },
    containers: { type: "string" },
    "no-peers": { type: "boolean", default: false },
    networks: { type: "boolean", default: false },
    images: { type: "boolean", default: false },
    build: { type: "boolean", default: false },
    binary: { type: "string", default: join(import.meta.dir, "../dist/inro") },
    help: { type: "boolean", default: false },
  },
} as const;

export interface Plan {
  rounds: number;
  warmUp: number;
  containers: number;
  /** Of podman, whose every container is a command. */
  podmanIdle: number;
  binary: string;
  peers: boolean;
  markdown: boolean;
  networks: boolean;
  images: boolean;
  build: boolean;
}

/** What the command line asks for; undefined for --help. Throws for what it does not know. */
export function planOf(argv: string[]): Plan | undefined {
  const { values } = parseArgs({ ...options, args: argv });
  if (values.help) return undefined;
  const count = (name: "rounds" | "warm-up" | "containers", otherwise: number): number => {
    const value = Number(values[name] ?? otherwise);
    if (!Number.isInteger(value) || value < 1)
      throw new RangeError(`--${name}: not a number of times: ${values[name]}`);
    return value;
  };
  return {
    rounds: count("rounds", values.images ? 1 : values.quick ? 8 : 30),
    warmUp: count("warm-up", values.quick ? 2 : 5),
    containers: count("containers", values.quick ? 50 : 200),
    podmanIdle: values.quick ? 5 : IDLE_CONTAINERS,
    binary: resolve(values.binary),
    peers: !values["no-peers"],
    markdown: values.markdown,
    networks: values.networks,
    images: values.images,
    build: values.build,
  };
}
