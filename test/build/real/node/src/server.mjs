import { createServer, get } from "node:http";
import { greeting } from "greeting";

const port = Number(process.env.PORT);
if (process.argv[2] === "--check") {
  get({ port, host: "127.0.0.1" }, (answer) => answer.pipe(process.stdout)).on("error", (error) => {
    console.error(error.message);
    process.exitCode = 1;
  });
} else {
  const server = createServer((_, answer) => answer.end(greeting("__VERSION__", process.getuid())));
  server.listen(port, "127.0.0.1", () => console.log("listening"));
  process.on("SIGTERM", () => process.exit(0));
}
