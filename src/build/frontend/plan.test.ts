import { describe, expect, test } from "bun:test";
import type { ImageConfig } from "../../spec/oci-image.ts";
import { parseDockerfile } from "../dockerfile/parse.ts";
import { printGraph } from "../graph.ts";
import type { FrontendOptions, NamedContext } from "./options.ts";
import { planDockerfile } from "./plan.ts";

const platform = { os: "linux", architecture: "amd64" };

interface Given {
  target?: string;
  args?: Record<string, string>;
  labels?: Record<string, string>;
  contexts?: Record<string, NamedContext>;
  images?: Record<string, ImageConfig["config"]>;
}

const asked: string[] = [];

function options({ target, args = {}, labels = {}, contexts = {}, images = {} }: Given = {}): FrontendOptions {
  return {
    ...(target ? { target } : {}),
    args: new Map(Object.entries(args)),
    labels: new Map(Object.entries(labels)),
    contexts: new Map(Object.entries(contexts)),
    platform,
    buildPlatform: platform,
    multiPlatform: false,
    noCache: false,
    hasContext: true,
    network: "default",
    allow: new Set(),
    async resolve(reference) {
      asked.push(reference);
      const config = images[reference] ?? { Env: ["PATH=/bin"], Cmd: ["sh"] };
      return {
        reference,
        id: `sha256:${"1".repeat(64)}`,
        config: { ...platform, created: "2024-01-02T03:04:05Z", config, rootfs: { type: "layers", diff_ids: [] } },
        layers: [],
      };
    },
  };
}

async function plan(text: string, given: Given = {}) {
  asked.length = 0;
  return await planDockerfile(parseDockerfile(text), options(given));
}

const graph = async (text: string, given: Given = {}) => printGraph((await plan(text, given)).target);

describe("graphs", () => {
  test.each<[string, string, string, Given?]>([
    [
      "one stage",
      "FROM busybox\nWORKDIR /src\nCOPY a b ./\nRUN make\n",
      `1 image busybox
2 workdir /src <- 1
3 context context
4 copy a b /src/ <- 2, 3
5 run ["/bin/sh","-c","make"] cwd=/src <- 4`,
    ],
    [
      "stages that nothing needs are left out",
      "FROM a AS one\nRUN 1\nFROM b AS two\nRUN 2\nFROM one\nRUN 3",
      `1 image a
2 run ["/bin/sh","-c","1"] cwd=/ <- 1
3 run ["/bin/sh","-c","3"] cwd=/ <- 2`,
    ],
    [
      "--target, by name and by number",
      "FROM a AS one\nRUN 1\nFROM b AS two\nRUN 2",
      `1 image a
2 run ["/bin/sh","-c","1"] cwd=/ <- 1`,
      { target: "0" },
    ],
    [
      "files of stages, images and contexts",
      "FROM a AS one\nFROM scratch\nCOPY --from=one /x /y\nCOPY --from=0 /z /\nCOPY --from=img /i /i\nCOPY --from=ctx /c /c",
      `1 scratch
2 image a
3 copy /x /y <- 1, 2
4 copy /z / <- 3, 2
5 image img
6 copy /i /i <- 4, 5
7 context ctx
8 copy /c /c <- 6, 7`,
      { contexts: { ctx: { kind: "files" } } },
    ],
    [
      "arguments: global, of the stage, given, with defaults of others",
      "ARG V=1\nFROM img:$V AS x\nARG V\nARG W=${V}.2\nENV E=$W\nRUN a",
      `1 image img:9
2 run ["/bin/sh","-c","a"] cwd=/ V=9 W=9.2 E=9.2 <- 1`,
      { args: { V: "9" } },
    ],
    [
      "a global argument is not seen in a stage that does not ask for it",
      "ARG V=1\nFROM a\nENV E=x${V}y\nRUN a",
      `1 image a
2 run ["/bin/sh","-c","a"] cwd=/ E=xy <- 1`,
    ],
    [
      "ENV wins over ARG, and one instruction sees what was before it",
      "FROM a\nENV A=env\nARG A=arg\nENV A=2 B=$A\nRUN x",
      `1 image a
2 run ["/bin/sh","-c","x"] cwd=/ A=2 B=env <- 1`,
    ],
    [
      "platform arguments",
      "FROM a\nARG TARGETARCH\nARG BUILDOS\nARG TARGETPLATFORM\nRUN x",
      `1 image a
2 run ["/bin/sh","-c","x"] cwd=/ TARGETARCH=amd64 BUILDOS=linux TARGETPLATFORM=linux/amd64 <- 1`,
    ],
    [
      "SHELL, USER, exec form",
      'FROM a\nSHELL ["/bin/bash","-ec"]\nUSER u:g\nRUN x\nRUN ["y","z"]',
      `1 image a
2 run ["/bin/bash","-ec","x"] cwd=/ user=u:g <- 1
3 run ["y","z"] cwd=/ user=u:g <- 2`,
    ],
    [
      "triggers of the base image",
      "FROM onb\nRUN x",
      `1 image onb
2 context context
3 copy . /app/ <- 1, 2
4 run ["/bin/sh","-c","x"] cwd=/ A=1 <- 3`,
      { images: { onb: { OnBuild: ["COPY . /app/", "ENV A=1"] } } },
    ],
    [
      "mounts",
      "FROM a AS b\nFROM a\nWORKDIR /w\nRUN --mount=from=b,source=/s,target=t --mount=type=cache,target=/c --mount=type=secret,id=k --mount=type=tmpfs,target=/t --mount=type=ssh x",
      `1 image a
2 workdir /w <- 1
3 run ["/bin/sh","-c","x"] cwd=/w SSH_AUTH_SOCK=/run/buildkit/ssh_agent.0 bind:/w/t cache:/c secret:/run/secrets/k tmpfs:/t ssh:/run/buildkit/ssh_agent.0 <- 2, 1`,
    ],
    [
      "heredocs",
      "FROM a\nARG V=1\nCOPY <<A <<'B' /d/\n$V\nA\n$V\nB\nRUN <<E\necho $V\nE",
      `1 image a
2 copy <<A <<B /d/ <- 1
3 run ["/bin/sh","-c","echo $V\\n"] cwd=/ V=1 <- 2`,
    ],
    [
      "ADD of URLs and repositories",
      "FROM scratch\nADD https://h/x.tar /d/\nADD --checksum=sha256:0000000000000000000000000000000000000000000000000000000000000000 https://h/y /y\nADD https://h/r.git#v1:sub /r",
      `1 scratch
2 http https://h/x.tar
3 copy https://h/x.tar /d/ unpack=local <- 1, 2
4 http https://h/y
5 copy https://h/y /y unpack=local <- 3, 4
6 git https://h/r.git#v1:sub
7 copy / /r unpack=local <- 5, 6`,
    ],
    [
      "a context in place of an image, and of a stage",
      "FROM a AS base\nRUN x\nFROM base\nCOPY --from=base /f /f",
      `1 image other
2 run ["/bin/sh","-c","x"] cwd=/ <- 1
3 copy /f /f <- 2`,
      { contexts: { a: { kind: "image", reference: "other" } } },
    ],
  ])("%s", async (_, text, expected, given) => {
    expect(await graph(text, given)).toBe(expected);
  });

  test("images that nothing needs are not asked for", async () => {
    await plan("FROM unused AS u\nFROM used\nRUN x");
    expect(asked).toEqual(["used"]);
  });

  test("the same text is the same digest, another is another", async () => {
    const [a, b, c] = await Promise.all(
      ["FROM a\nRUN x", "FROM a\n# comment\nRUN x", "FROM a\nRUN y"].map((text) => plan(text)),
    );
    expect(a!.target.digest).toBe(b!.target.digest);
    expect(a!.target.digest).not.toBe(c!.target.digest);
  });
});

describe("image configs", () => {
  test("history in BuildKit's words", async () => {
    const { history } = await plan(
      'FROM a\nARG V=1\nENV A=b\nLABEL l="x y"\nRUN echo $V\nCOPY --chown=1:2 f g\nWORKDIR /w\nEXPOSE 80 53/udp\nVOLUME /v\nUSER u\nCMD ["a","b"]\nENTRYPOINT e\nHEALTHCHECK --interval=5s CMD x\nSTOPSIGNAL SIGINT\nONBUILD RUN q\nSHELL ["s"]',
    );
    expect(history.map(({ createdBy }) => createdBy)).toEqual([
      "ARG V=1",
      "ENV A=b",
      "LABEL l=x y",
      "RUN |1 V=1 /bin/sh -c echo $V # buildkit",
      "COPY --chown=1:2 f g # buildkit",
      "WORKDIR /w",
      "EXPOSE [53/udp 80/tcp]",
      "VOLUME [/v]",
      "USER u",
      'CMD ["a" "b"]',
      'ENTRYPOINT ["/bin/sh" "-c" "e"]',
      'HEALTHCHECK &{["CMD-SHELL" "x"] "5s" "0s" "0s" "0s" \'\\x00\'}',
      "STOPSIGNAL SIGINT",
      "ONBUILD RUN q",
      "SHELL [s]",
    ]);
  });

  test("the base image's command goes with its entrypoint", async () => {
    expect((await plan("FROM a\nENTRYPOINT x")).image.config!.Cmd).toBeUndefined();
    expect((await plan("FROM a\nCMD y\nENTRYPOINT x")).image.config!.Cmd).toEqual(["/bin/sh", "-c", "y"]);
  });

  test("labels of the command line, the base's time, SOURCE_DATE_EPOCH", async () => {
    const built = await plan("FROM a\nLABEL a=1 b=2", { labels: { b: "3" } });
    expect(built.image.config!.Labels).toEqual({ a: "1", b: "3" });
    expect(built.epoch).toBe(Date.UTC(2024, 0, 2, 3, 4, 5) / 1000);
    expect((await plan("FROM a", { args: { SOURCE_DATE_EPOCH: "7" } })).epoch).toBe(7);
    expect((await plan("FROM scratch")).epoch).toBe(315532800);
  });

  test("arguments that nothing asked for", async () => {
    const { unusedArgs } = await plan("FROM a\nARG V", { args: { V: "1", W: "2", HTTP_PROXY: "p" } });
    expect(unusedArgs).toEqual(["W"]);
  });

  test("proxies are in no history and not in the step's own environment", async () => {
    const built = await plan("FROM a\nRUN x", { args: { http_proxy: "http://p" } });
    expect(built.target).toMatchObject({ kind: "run", proxies: ["http_proxy=http://p"] });
    expect(JSON.stringify([built.history.map(({ createdBy }) => createdBy), built.image])).not.toContain("http://p");
  });
});

describe("errors", () => {
  test.each<[string, string, RegExp, Given?]>([
    [
      "an unknown target",
      "FROM a AS build",
      /target stage "biuld" could not be found \(did you mean build\?\)/,
      { target: "biuld" },
    ],
    ["a stage of itself", "FROM a AS x\nCOPY --from=x /a /b", /line 2.*circular/],
    ["a later stage", "FROM a\nCOPY --from=x /a /b\nFROM a AS x\nFROM 0", /line 2.*later/, { target: "0" }],
    ["an index that is not there", "FROM a\nCOPY --from=7 /a /b", /invalid stage index 7/],
    ["a variable that must be set", "FROM a\nENV A=${B:?must}", /line 2.*must/],
    ["several sources into a file", "FROM a\nCOPY x y z", /must be a directory and end with a \//],
    ["an empty base", "ARG X\nFROM $X", /should not be blank/],
    ["rights that nobody gave", "FROM a\nRUN --security=insecure x", /security.insecure is not allowed/],
    ["the host's network", "FROM a\nRUN --network=host x", /network.host is not allowed/],
    ["a wrong epoch", "FROM a", /SOURCE_DATE_EPOCH/, { args: { SOURCE_DATE_EPOCH: "now" } }],
  ])("%s", async (_, text, message, given) => {
    expect(plan(text, given)).rejects.toThrow(message);
  });
});
