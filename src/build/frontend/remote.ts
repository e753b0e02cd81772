/** Whether ADD's source is something to be fetched with HTTP. */
export function isUrl(text: string): boolean {
  return /^https?:\/\//i.test(text);
}

/** A git repository as ADD, contexts and `docker build URL` take it: `https://host/x.git`, `git@host:x`, `git://`, `ssh://`. */
export function gitReference(text: string): boolean {
  if (/^(?:git|ssh):\/\//i.test(text)) return true;
  if (/^[A-Za-z0-9_.-]{1,64}@[A-Za-z0-9_.-]+:[^\s]+$/.test(text)) return true;
  return /^https?:\/\/[^#?]+\.git(?:[#?].*)?$/i.test(text);
}
