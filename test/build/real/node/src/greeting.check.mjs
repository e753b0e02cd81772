import assert from "node:assert";
import { test } from "node:test";
import { greeting } from "greeting";

test("a greeting has a version and a user", () => assert.equal(greeting("1", 2), "node 1 uid 2\n"));
