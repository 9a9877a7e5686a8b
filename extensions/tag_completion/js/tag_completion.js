// Tags while somebody types a prompt: the extension's own route finds them, the page draws them with all else it offers.

const NOTHING = { typed: "", rows: [] };

export function init(host) {
  host.addCompleter(async ({ sign, before, signal }) => {
    if (sign) return NOTHING; // a LoRA or a wildcard is being typed
    const answer = await host.fetch("find", {
      method: "POST",
      headers: { "Content-Type": "application/json" },
      body: JSON.stringify({ before }),
      signal,
    });
    return answer.ok ? answer.json() : NOTHING;
  });
}
