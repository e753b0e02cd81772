/**
 * Stands in for testcontainers' Ryuk, whose image is not here: a client says what it made (`label=K=V`, a line each,
 * answered by ACK); when the last one has gone, and nobody came back in RYUK_RECONNECTION_TIMEOUT, all of that is removed.
 */
const SOCKET = "/var/run/docker.sock";
const patience = Number.parseInt(process.env.RYUK_RECONNECTION_TIMEOUT ?? "10000", 10);
const filters = new Set<string>();
let clients = 0;
let timer: Timer | undefined;

async function api(method: string, path: string): Promise<unknown> {
  const response = await fetch(`http://engine/v1.44${path}`, { method, unix: SOCKET });
  const text = await response.text();
  return text.startsWith("[") || text.startsWith("{") ? JSON.parse(text) : undefined;
}

async function reap(): Promise<void> {
  for (const filter of filters) {
    const query = `filters=${encodeURIComponent(JSON.stringify({ label: [filter.replace(/^label=/, "")] }))}`;
    const containers = (await api("GET", `/containers/json?all=1&${query}`)) as { Id: string; Names: string[] }[];
    // Itself too is labelled, and has still to say that it is done.
    for (const { Id, Names } of containers) {
      if (!Names.some((name) => name.includes("testcontainers-ryuk")))
        await api("DELETE", `/containers/${Id}?force=1&v=1`);
    }
    for (const { Id } of (await api("GET", `/networks?${query}`)) as { Id: string }[])
      await api("DELETE", `/networks/${Id}`);
    const { Volumes } = (await api("GET", `/volumes?${query}`)) as { Volumes: { Name: string }[] | null };
    for (const { Name } of Volumes ?? []) await api("DELETE", `/volumes/${Name}?force=1`);
  }
  process.exit(0);
}

Bun.listen<{ text: string }>({
  hostname: "0.0.0.0",
  port: 8080,
  socket: {
    open(socket) {
      socket.data = { text: "" };
      clients++;
      clearTimeout(timer);
    },
    data(socket, chunk) {
      const lines = (socket.data.text + chunk.toString()).split("\n");
      socket.data.text = lines.pop() ?? "";
      for (const line of lines) {
        filters.add(line.trim());
        socket.write("ACK\n");
      }
    },
    close() {
      if (--clients === 0) timer = setTimeout(() => void reap(), patience);
    },
  },
});
console.log("Started");
