import { invalid } from "../base/errors.ts";
import { object, text } from "../engine/config/fields.ts";
import type { RegistryAuth } from "../registry/auth.ts";
import { type Handler, json, jsonBody } from "./call.ts";

const authConfig = object<RegistryAuth & { auth?: string; email?: string }>({
  username: text,
  password: text,
  serveraddress: text,
  identitytoken: text,
  registrytoken: text,
  auth: text,
  email: text,
});

export const authRoutes: Record<string, Handler> = {
  "POST /auth": async (call) => {
    const { auth, email: _, ...credentials } = authConfig(await jsonBody(call), "");
    if (auth && !credentials.username) {
      const [username = "", ...rest] = Buffer.from(auth, "base64").toString().split(":");
      Object.assign(credentials, { username, password: rest.join(":") });
    }
    if (!credentials.username && !credentials.identitytoken && !credentials.registrytoken) {
      throw invalid("no credentials: username and password are required");
    }
    await call.engine.authenticate(credentials, call.signal);
    return json(200, { IdentityToken: "", Status: "Login Succeeded" });
  },
};
