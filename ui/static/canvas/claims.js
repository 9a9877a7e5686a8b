// Which window a painting belongs to: no two of them may save into the same one.

const ANSWER = 250; // milliseconds another window has to say that a painting is its own

/** Hold a painting until what is returned is called. Null where another window holds it, for `patience` ms and longer. */
export function hold(id, patience) {
  const name = `atelier-canvas ${id}`;
  return navigator.locks ? locked(name, patience) : announced(name);
}

function locked(name, patience) {
  return new Promise((resolve) => {
    const wait = patience ? { signal: AbortSignal.timeout(patience) } : { ifAvailable: true };
    const held = (lock) => lock && new Promise((release) => resolve(release));
    navigator.locks.request(name, wait, held).then(
      () => resolve(null),
      () => resolve(null),
    );
  });
}

/** Without https there are no locks: then windows ask each other. */
async function announced(name) {
  const channel = new BroadcastChannel(name);
  const taken = new Promise((resolve) => {
    channel.onmessage = ({ data }) => data === "mine" && resolve(true);
    setTimeout(resolve, ANSWER, false);
  });
  channel.postMessage("whose");
  if (await taken) {
    channel.close();
    return null;
  }
  channel.onmessage = ({ data }) => data === "whose" && channel.postMessage("mine");
  return () => channel.close();
}
