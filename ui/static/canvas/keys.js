// The keys of a canvas: while it has the focus or the pointer is over it, and never while one types in a field.

const FIELDS = "input:not([type=range], [type=checkbox], [type=color]), textarea, select, [contenteditable=true]";
const MOVES = "button, [role=radio], input[type=range], [role=slider]"; // they take Space and arrows for themselves

/** @param canvas what the keys act on  @return what takes them away again */
export function listen(root, canvas) {
  let over = false;
  const stop = new AbortController();
  const options = { signal: stop.signal };
  const typing = () => document.activeElement?.matches(FIELDS);
  const ours = () =>
    root.isConnected &&
    !typing() &&
    !document.querySelector("dialog[open]") &&
    (over || root.contains(document.activeElement));
  root.addEventListener("pointerenter", () => (over = true), options);
  root.addEventListener("pointerleave", () => (over = false), options);
  // Before the page's own keys (../keys.js): Esc ends what is begun here first.
  addEventListener("keydown", (event) => ours() && press(event, canvas), { ...options, capture: true });
  addEventListener("keyup", (event) => event.code === "Space" && canvas.hold(false), options);
  addEventListener("blur", () => canvas.hold(false), options);
  document.addEventListener("paste", (event) => ours() && canvas.take(event, event.clipboardData), options);
  return () => stop.abort();
}

function press(event, canvas) {
  const third = event.getModifierState("AltGraph"); // where [ and ] are typed with it, and it passes for Ctrl Alt
  if (event.isComposing || (event.altKey && !third)) return;
  const act = !third && (event.ctrlKey || event.metaKey) ? withControl(event, canvas) : plain(event, canvas);
  if (!act) return;
  event.preventDefault();
  event.stopPropagation();
  act();
}

function withControl({ key, shiftKey }, canvas) {
  const letter = key.toLowerCase();
  if (letter === "z") return () => (shiftKey ? canvas.redo() : canvas.undo());
  if (letter === "y") return () => canvas.redo();
  return null;
}

function plain(event, canvas) {
  const { key, shiftKey } = event;
  const { proposals, hasPicture } = canvas.state;
  const onButton = event.target.matches?.(MOVES);
  if (key === "Escape") return canvas.escape();
  if (key === " ") return hasPicture && !onButton ? () => canvas.hold(true) : null;
  if (proposals && !onButton) {
    const browse = {
      ArrowLeft: () => canvas.browse(-1),
      ArrowRight: () => canvas.browse(1),
      Enter: () => canvas.accept(),
    };
    if (browse[key]) return browse[key];
  }
  if (proposals && ["ArrowLeft", "ArrowRight"].includes(key)) return () => canvas.browse(key === "ArrowLeft" ? -1 : 1);
  const always = {
    f: () => canvas.toggleWhole(),
    0: () => canvas.view.fit(),
    1: () => canvas.view.zoomTo(1),
    "+": () => canvas.view.zoomTo(canvas.view.scale * 1.25),
    "-": () => canvas.view.zoomTo(canvas.view.scale * 0.8),
  };
  const letter = key.toLowerCase();
  if (always[letter]) return always[letter];
  if (!hasPicture || proposals) return null;
  const { settings } = canvas;
  const tools = {
    b: () => canvas.pick("brush", false),
    e: () => canvas.pick("brush", true),
    r: () => canvas.pick("rectangle"),
    l: () => canvas.pick("lasso"),
    g: () => canvas.pick("fill"),
    c: () => canvas.pick("box"),
    h: () => canvas.pick("hand"),
    x: () => settings.exchange(),
    "[": () => (shiftKey ? settings.set({ hardness: Math.max(0, settings.hardness - 0.1) }) : settings.resize(-1)),
    "]": () => (shiftKey ? settings.set({ hardness: Math.min(1, settings.hardness + 0.1) }) : settings.resize(1)),
  };
  return tools[letter] ?? null;
}
