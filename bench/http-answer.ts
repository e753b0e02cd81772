/** An HTTP/1.1 answer as it comes in, piece by piece (RFC 9112): Content-Length, chunked, or up to the connection's end. */
export class HttpAnswer {
  status = 0;
  #head = "";
  #length: number | "chunked" | "close" | undefined;
  #body: Uint8Array[] = [];
  #left = 0;
  #chunk: "size" | "data" | "end" | "trailer" = "size";
  #line = "";

  /** Takes what has come; true when the answer is whole. An engine sends nothing behind it. */
  take(data: Uint8Array): boolean {
    let at = 0;
    if (this.#length === undefined) {
      const text = Buffer.from(data.buffer, data.byteOffset, data.byteLength).toString("latin1");
      const before = this.#head.length;
      this.#head += text;
      const end = this.#head.indexOf("\r\n\r\n");
      if (end < 0) return false;
      at = end + 4 - before;
      this.#readHead(this.#head.slice(0, end));
    }
    return this.#length === "chunked" ? this.#takeChunks(data, at) : this.#takeLength(data.subarray(at));
  }

  /** It is whole when the connection ends. */
  get endsWithConnection(): boolean {
    return this.#length === "close";
  }

  get body(): string {
    return Buffer.concat(this.#body).toString();
  }

  #readHead(head: string): void {
    this.status = Number(head.slice(9, 12));
    if (/^transfer-encoding:\s*chunked/im.test(head)) this.#length = "chunked";
    else {
      const length = /^content-length:\s*(\d+)/im.exec(head)?.[1];
      if (length !== undefined) this.#left = this.#length = Number(length);
      // 204 and 304 have no body (RFC 9112 6.3).
      else if (this.status === 204 || this.status === 304) this.#left = this.#length = 0;
      else {
        this.#length = "close";
        this.#left = Number.POSITIVE_INFINITY;
      }
    }
  }

  #takeLength(data: Uint8Array): boolean {
    if (data.length > 0) this.#body.push(data.slice());
    this.#left -= data.length;
    return this.#left <= 0;
  }

  #takeChunks(data: Uint8Array, from: number): boolean {
    for (let at = from; at < data.length; ) {
      if (this.#chunk === "data") {
        const part = data.slice(at, at + this.#left);
        this.#body.push(part);
        at += part.length;
        this.#left -= part.length;
        if (this.#left === 0) this.#chunk = "end";
        continue;
      }
      const character = String.fromCharCode(data[at++]!);
      if (character !== "\n") {
        if (character !== "\r") this.#line += character;
        continue;
      }
      const line = this.#line;
      this.#line = "";
      if (this.#chunk === "trailer" && line === "") return true;
      if (this.#chunk === "end") this.#chunk = "size";
      else if (this.#chunk === "size") {
        this.#left = Number.parseInt(line, 16);
        this.#chunk = this.#left === 0 ? "trailer" : "data";
      }
    }
    return false;
  }
}
