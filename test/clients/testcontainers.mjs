// What a project's tests do with testcontainers: `node testcontainers.mjs`, the engine in DOCKER_HOST. Prints what it
// saw as one JSON object. With "leave" as argument it ends without stopping anything, as a test that crashes does.
import { GenericContainer, Network, Wait } from "testcontainers";

const SERVER = "mkdir /www; echo hello > /www/index.html; echo ready; exec httpd -f -v -p 8080 -h /www";
const seen = {};
// testcontainers' own sockets do not keep a program alive.
setInterval(() => {}, 60_000);

const network = await new Network().start();
const web = await new GenericContainer("busybox")
  .withCommand(["sh", "-c", SERVER])
  .withExposedPorts(8080)
  .withNetwork(network)
  .withNetworkAliases("web")
  .withEnvironment({ A: "b" })
  .withLabels({ mine: "yes" })
  .withCopyContentToContainer([{ content: "copied\n", target: "/copied" }])
  .withTmpFs({ "/scratch": "rw,size=1m" })
  .withWaitStrategy(Wait.forAll([Wait.forLogMessage("ready"), Wait.forHttp("/", 8080), Wait.forListeningPorts()]))
  .start();
const get = async () => (await fetch(`http://${web.getHost()}:${web.getMappedPort(8080)}/`)).text();
seen.http = await get();
seen.exec = await web
  .exec(["sh", "-c", "cat /copied; echo $A; exit 3"])
  .then(({ output, exitCode }) => [output, exitCode]);
await web.copyContentToContainer([{ content: "later\n", target: "/later" }]);
seen.later = (await web.exec(["cat", "/later"])).output;
const client = await new GenericContainer("busybox")
  .withCommand(["sh", "-c", "wget -q -O - http://web:8080/; echo done; exec sleep 1000"])
  .withNetwork(network)
  .withWaitStrategy(Wait.forLogMessage("done"))
  .start();
seen.neighbour = await new Promise((resolve, reject) => {
  let text = "";
  const done = (chunk) => {
    text += chunk;
    if (text.includes("done")) resolve(text);
  };
  client.logs().then((stream) => stream.on("data", done).on("error", reject), reject);
});
const healthy = await new GenericContainer("busybox")
  .withCommand(["sleep", "1000"])
  .withHealthCheck({ test: ["CMD-SHELL", "true"], interval: 100, timeout: 1000, retries: 10, startPeriod: 0 })
  .withWaitStrategy(Wait.forHealthCheck())
  .start();
seen.healthy = healthy.getName().length > 0;
const failed = new GenericContainer("busybox")
  .withCommand(["sh", "-c", "exit 1"])
  .withWaitStrategy(Wait.forLogMessage("never"))
  .withStartupTimeout(5000);
seen.failed = await failed.start().then(
  () => "started",
  (error) => error.constructor.name,
);
if (process.argv[2] !== "leave") {
  await web.restart();
  seen.restarted = await get();
  for (const one of [client, healthy, web]) await one.stop();
  await network.stop();
}
process.stdout.write(JSON.stringify(seen), () => process.exit(0));
