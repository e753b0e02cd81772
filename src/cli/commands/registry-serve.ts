import type { Command } from "../command.ts";

export const command: Command = {
  usage: "[OPTIONS]",
  args: [0, 0],
  flags: [
    {
      name: "listen",
      type: "string",
      value: "address:port",
      default: "127.0.0.1:5000",
      help: "Listen here; port 0 is any free one",
    },
    { name: "data", type: "string", value: "directory", completes: "file", help: "Where blobs and tags are kept" },
    {
      name: "htpasswd",
      type: "string",
      value: "file",
      completes: "file",
      help: "Users and their bcrypt hashes; without it everybody may pull and push",
    },
    { name: "tls-cert", type: "string", value: "file", completes: "file", help: "Certificate (PEM)" },
    { name: "tls-key", type: "string", value: "file", completes: "file", help: "Its key (PEM)" },
    { name: "read-only", type: "bool", help: "Only pulls" },
  ],
  description: `A registry for images of this machine, a team or a CI, in the foreground until SIGTERM or SIGINT. It speaks the
distribution-spec v1.1 (and docker's schema 2): pushes whole and in chunks, mounts, tags, referrers, deletes.

Data is in /var/lib/inro-registry, or in ~/.local/share/inro-registry of a plain user; one process at a time uses it. Blobs
of pushes that never came to a manifest go after a day, see "inro registry gc" for images without a tag.`,
  examples: [
    ["inro registry serve", "On 127.0.0.1:5000, for this machine"],
    ["inro push 127.0.0.1:5000/app", "Push to it"],
    [
      "inro registry serve --listen 0.0.0.0:443 --tls-cert cert.pem --tls-key key.pem --htpasswd users",
      "For others, with passwords",
    ],
  ],
  async run({ options, doors }) {
    const text = (name: string) => (options.has(name) ? options.string(name) : undefined);
    return await doors.registry({
      kind: "serve",
      listen: text("listen") ?? "127.0.0.1:5000",
      data: text("data"),
      htpasswd: text("htpasswd"),
      tlsCert: text("tls-cert"),
      tlsKey: text("tls-key"),
      readOnly: options.bool("read-only"),
    });
  },
};
