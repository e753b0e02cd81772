import { expect, test } from "bun:test";
import { compileTemplate } from "./template.ts";

const data = {
  Id: "sha256:abc",
  Name: "/web",
  N: 3,
  F: 1.5,
  Yes: true,
  Nil: null,
  List: ["a", "b", "c"],
  Empty: [],
  Labels: { "com.example.x": "1", plain: "2" },
  State: { Status: "running", Pid: 7 },
  Mounts: [
    { Source: "/a", RW: true },
    { Source: "/b", RW: false },
  ],
};

test.each([
  ["plain", "plain"],
  ["{{.Name}}", "/web"],
  ["{{ .State.Status }}-{{.State.Pid}}", "running-7"],
  ["{{.List}} {{.Labels}} {{.Nil}} {{.F}}", "[a b c] map[com.example.x:1 plain:2] <nil> 1.5"],
  ["{{json .}}", JSON.stringify(data)],
  ["{{json .Labels}}", '{"com.example.x":"1","plain":"2"}'],
  ["{{.Labels.plain}} {{.Labels.none}}", "2 <no value>"],
  ['{{index .Labels "com.example.x"}}|{{index .Labels "none"}}|{{index .List 1}}', "1||b"],
  ['{{(index .Mounts 0).Source}} {{index (index .Mounts 1) "Source"}}', "/a /b"],
  ["{{if .Yes}}y{{else}}n{{end}}{{if .Nil}}y{{else}}n{{end}}", "yn"],
  ["{{if .Empty}}1{{else if eq .N 3}}2{{else}}3{{end}}", "2"],
  ["{{range .List}}<{{.}}>{{end}}", "<a><b><c>"],
  ["{{range $i, $e := .List}}{{$i}}{{$e}}{{end}}", "0a1b2c"],
  ["{{range .Mounts}}{{if .RW}}{{.Source}}{{end}}{{end}}", "/a"],
  ["{{range .Empty}}x{{else}}none{{end}}", "none"],
  ["{{range $k, $v := .Labels}}{{$k}}={{$v}};{{end}}", "com.example.x=1;plain=2;"],
  ["{{with .State}}{{.Status}}{{end}}{{with .Nil}}x{{else}}-{{end}}", "running-"],
  ["{{$x := .N}}{{range .List}}{{$x}}{{end}}{{$.N}}", "3333"],
  ["{{$x := 1}}{{range .List}}{{$x = .}}{{end}}{{$x}}", "c"],
  [
    '{{printf "%s-%d-%v-%5.1f|%-4s|%04d|%q|%t|%%" .Name .N .List .F "ab" 42 "q" .Yes}}',
    '/web-3-[a b c]-  1.5|ab  |0042|"q"|true|%',
  ],
  ['{{printf "%d" "x"}} {{printf "%s"}} {{printf "a" 1}}', "%!d(string=x) %!s(MISSING) a%!(EXTRA int=1)"],
  ['{{join .List ","}} {{.Name | upper | lower}} {{title "ab cd"}} {{truncate .Id 4}}', "a,b,c /web Ab Cd sha2"],
  ['{{join (split "a:b" ":") "+"}} {{pad "x" 1 2}}| {{len .List}} {{len .Name}}', "a+b  x  | 3 4"],
  ['{{slice .Id 7}} {{slice .List 0 1}} {{print "a" 1 2 "b"}} {{println "x"}}', "abc [a] a1 2b x\n"],
  [
    '{{and .Yes .N}} {{or .Nil "d"}} {{not .Yes}} {{ne .N 3}} {{lt .N 4}} {{ge .N 3}} {{eq .N 1 3}}',
    "3 d false false true true true",
  ],
  ['{{range .List}}{{if eq . "b"}}{{continue}}{{end}}{{.}}{{else}}-{{end}}', "ac"],
  ['{{range .List}}{{if eq . "b"}}{{break}}{{end}}{{.}}{{end}}', "a"],
  ['{{define "x"}}[{{.}}]{{end}}{{template "x" .Name}}{{range .List}}{{template "x" .}}{{end}}', "[/web][a][b][c]"],
  ['{{block "x" .N}}<{{.}}{{$}}>{{end}}{{template "x"}}', "<33><<nil><nil>>"],
  [
    '{{html "<a & \\"b\\">"}} {{js "it\'s <x>"}} {{urlquery "a b&c/é"}}',
    "&lt;a &amp; &#34;b&#34;&gt; it\\'s \\u003Cx\\u003E a+b%26c%2F%C3%A9",
  ],
  ["a {{- 1 -}} b {{/* no */}}c", "a1b c"],
  ['{{`raw {{`}}{{"\\t\\x41\\""}}', 'raw {{\tA"'],
])("%s", (template, expected) => {
  expect(compileTemplate(template)(data)).toBe(expected);
});

test.each([
  ["{{", "unclosed action"],
  ["{{.A", "unclosed action"],
  ["{{}}", "missing value for command"],
  ["{{if .Yes}}", "unexpected EOF"],
  ["{{end}}", "unexpected {{end}}"],
  ["{{nope .}}", 'function "nope" not defined'],
  ["{{(.Name}}", "unclosed left paren"],
  ["{{.Name)}}", "unexpected right paren"],
  ['{{"x}}', "unterminated quoted string"],
  ["{{.Name |}}", "missing value for command"],
  ["{{.Nmae}}", 'map has no entry for key "Nmae" (did you mean .Name?)'],
  ["{{.Name.X}}", "can't evaluate field X in type string"],
  ["{{.Nil.X}}", "nil pointer"],
  ["{{index .List 9}}", "index out of range"],
  ["{{.Name 1}}", "can't give argument to non-function"],
  ["{{$nope}}", "undefined variable"],
  ["{{break}}", "{{break}} outside {{range}}"],
  ['{{range .List}}{{define "x"}}{{continue}}{{end}}{{end}}', "{{continue}} outside {{range}}"],
  ['{{template "x"}}', 'template "x" not defined'],
  ['{{define "x"}}{{template "x"}}{{end}}{{template "x"}}', "exceeded maximum template depth"],
  ['{{define "x"}}', "without {{end}}"],
  ["{{define x}}{{end}}", "missing name in {{define}}"],
])("%s is an error", (template, message) => {
  expect(() => compileTemplate(template)(data)).toThrow(message);
});

test("what Go's struct has is there, though the JSON leaves it out or has null", () => {
  const zeros: Record<string, unknown> = { List: [], Map: {}, Pointer: null };
  const print = (template: string) => compileTemplate(template, (name) => zeros[name])({ State: { List: null } });
  expect(print("{{.State.List}} {{json .State.List}} {{len .State.List}} {{.State.Map}}")).toBe("[] null 0 map[]");
  expect(print("{{if .State.Pointer}}{{.State.Pointer.X}}{{else}}none{{end}} {{.Pointer}}")).toBe("none <nil>");
  expect(() => print("{{.State.Pointr}}")).toThrow("no entry");
});
