import { describe, expect, test } from "bun:test";
import { type GitReference, parseGitReference } from "./git-reference.ts";
import { nameOf } from "./http.ts";

describe("git references", () => {
  const good: [text: string, expected: GitReference][] = [
    ["https://h.example/r.git", { url: "https://h.example/r.git", host: "h.example" }],
    ["https://h.example/r.git#main", { url: "https://h.example/r.git", host: "h.example", ref: "main" }],
    [
      "https://h.example/r.git#v1:a/b/",
      { url: "https://h.example/r.git", host: "h.example", ref: "v1", subdir: "a/b" },
    ],
    ["https://h.example/r.git#:dir", { url: "https://h.example/r.git", host: "h.example", subdir: "dir" }],
    ["git@h.example:team/r.git#x", { url: "git@h.example:team/r.git", host: "h.example", ref: "x" }],
    ["ssh://git@h.example:2222/r", { url: "ssh://git@h.example:2222/r", host: "h.example" }],
    ["github.com/a/b", { url: "https://github.com/a/b", host: "github.com" }],
    [
      "https://h.example/r.git?tag=v1&subdir=x&checksum=0123456&keep-git-dir=1&submodules=false",
      {
        url: "https://h.example/r.git",
        host: "h.example",
        ref: "refs/tags/v1",
        subdir: "x",
        checksum: "0123456",
        keepGitDir: true,
        submodules: false,
      },
    ],
    [
      "https://h.example/r.git?ref=main&commit=0123456&fetch-by-commit=true&mtime=checkout",
      { url: "https://h.example/r.git", host: "h.example", ref: "0123456", checksum: "0123456" },
    ],
    ["https://h.example/r.git?branch=b", { url: "https://h.example/r.git", host: "h.example", ref: "refs/heads/b" }],
  ];
  test.each(good)("%s", (text, expected) => expect(parseGitReference(text)).toEqual(expected));

  const bad: [text: string, message: string][] = [
    ["ssh://-oProxyCommand=touch%20x/r.git", "its host is none"],
    ["ext::sh -c touch% x", "no address"],
    ["file:///etc", "no address"],
    ["https://h.example/r.git#--upload-pack=x", "its ref is none"],
    ["https://h.example/r.git#a..b", "its ref is none"],
    ["https://h.example/r.git#main:../../etc", "leads out"],
    ["https://h.example/r.git?branc=b", "did you mean branch?"],
    ["https://h.example/r.git?tag=a&branch=b", "say both"],
    ["https://h.example/r.git?checksum=zz", "checksum is no commit"],
    ["https://h.example/r.git?ref=a&fetch-by-commit=1", "needs a commit"],
    ["https://h.example/r.git?mtime=commit", "mtime is not supported"],
    ["https://h.example/r.git?ref=a#b", "either a fragment or a query"],
  ];
  test.each(bad)("CVE-2017-1000117 and the like: %s", (text, message) =>
    expect(() => parseGitReference(text)).toThrow(message),
  );
});

describe("names of downloads", () => {
  const cases: [url: string, disposition: string | undefined, name: string][] = [
    ["https://h.example/a/b.tar.gz?x=1", undefined, "b.tar.gz"],
    ["https://h.example/a%20b", undefined, "a b"],
    ["https://h.example/", undefined, "download"],
    ["https://h.example/x", 'attachment; filename="y z.bin"', "y z.bin"],
    ["https://h.example/x", "attachment; filename=../../etc/passwd", "passwd"],
    ["https://h.example/x", 'attachment; filename=".."', "x"],
    ["https://h.example/%2e%2e%2fetc%2fpasswd", undefined, "passwd"],
  ];
  test.each(cases)("%s %s", (url, disposition, name) => expect(nameOf(new URL(url), disposition)).toBe(name));
});
