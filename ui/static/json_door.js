// Asking Atelier: JSON there and back, or a file's bytes there (backend/server/json_door.py).

/**
 * The answer to a request, `options` as for `fetch`. Rejects with an `Error` whose message is the sentence to show, and
 * whose `status` is the answer's, 0 where there was none.
 */
export async function answered(address, options = {}) {
  const answer = await fetch(new URL(address, document.baseURI), options).catch(() => null);
  if (answer?.ok) return answer;
  const said = await answer?.json().catch(() => null);
  const words = answer ? `Atelier could not do that (${answer.status}).` : "Atelier cannot be reached now; try again in a moment.";
  throw Object.assign(new Error(said?.problem || words), { status: answer?.status ?? 0 });
}

/** With `body` it is an order: an object, or a Blob. Rejects as `answered` does. */
export async function askAt(address, body = null) {
  const bytes = body instanceof Blob;
  const headers = bytes ? {} : { "Content-Type": "application/json" };
  const answer = await answered(address, body ? { method: "POST", headers, body: bytes ? body : JSON.stringify(body) } : {});
  const said = await answer.json().catch(() => null);
  if (said) return said;
  throw new Error(`Atelier could not do that (${answer.status}).`);
}
