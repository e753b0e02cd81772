import { existsSync, writeFileSync } from "node:fs";
import { join } from "node:path";

export const OPENSSL = existsSync("/usr/bin/openssl") ? "/usr/bin/openssl" : undefined;

const KEY = ["-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:P-256", "-nodes"];

function openssl(dir: string, ...args: string[]): void {
  const { exitCode, stderr } = Bun.spawnSync([OPENSSL!, ...args], { cwd: dir, stderr: "pipe" });
  if (exitCode !== 0) throw new Error(`openssl ${args.join(" ")}: ${stderr}`);
}

/** An authority in `dir`: ca.pem, ca-key.pem. */
export function authority(dir: string): void {
  openssl(
    dir,
    "req",
    "-x509",
    ...KEY,
    "-keyout",
    "ca-key.pem",
    "-out",
    "ca.pem",
    "-days",
    "2",
    "-subj",
    "/CN=test authority",
  );
}

/** A certificate of the authority in `dir`: NAME.pem and NAME-key.pem, for the loopback addresses. */
export function certificate(dir: string, name: string): { cert: string; key: string } {
  const [cert, key] = [`${name}.pem`, `${name}-key.pem`];
  writeFileSync(join(dir, "names"), "subjectAltName=IP:127.0.0.1,DNS:localhost");
  openssl(dir, "req", ...KEY, "-keyout", key, "-out", "request", "-subj", `/CN=${name}`);
  const by = ["-CA", "ca.pem", "-CAkey", "ca-key.pem", "-CAcreateserial"];
  openssl(dir, "x509", "-req", "-in", "request", ...by, "-out", cert, "-days", "2", "-extfile", "names");
  return { cert: join(dir, cert), key: join(dir, key) };
}
