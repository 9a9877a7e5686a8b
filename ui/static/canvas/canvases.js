// The canvases of this window, by their names.

export const canvases = new Map(); // name -> {promise, resolve, canvas}

export function place(name) {
  if (!canvases.has(name)) canvases.set(name, Promise.withResolvers?.() ?? resolvers());
  return canvases.get(name);
}

function resolvers() {
  const made = {};
  made.promise = new Promise((resolve) => (made.resolve = resolve));
  return made;
}

/** The canvas of that name, as soon as its tab was opened and what was painted is there again. */
export const canvasOf = (name) => place(name).promise;
