// Asking Atelier: JSON there and back, or a file's bytes there (backend/server/json_door.py).

/** With `body` it is an order: an object, or a Blob. Rejects with an `Error` whose message is the sentence to show. */
export async function askAt(address, body = null) {
  const bytes = body instanceof Blob;
  const headers = bytes ? {} : { "Content-Type": "application/json" };
  const order = body && { method: "POST", headers, body: bytes ? body : JSON.stringify(body) };
  let answer;
  try {
    answer = await fetch(new URL(address, document.baseURI), order ?? {});
  } catch {
    throw new Error("Atelier cannot be reached now; try again in a moment.");
  }
  const said = await answer.json().catch(() => null);
  if (answer.ok && said) return said;
  throw new Error(said?.problem || `Atelier could not do that (${answer.status}).`);
}
