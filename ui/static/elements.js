// Making and renewing elements.

/** Paths on a 16 by 16 grid, drawn with strokes. */
const ICONS = {
  download: "M8 2.5v7.5M4.8 7.2 8 10.4l3.2-3.2M3 13.2h10",
  sliders: "M3 4.5h6M12 4.5h1M3 11.5h1M7 11.5h6M10.5 3v3M5.5 10v3",
  seed: "M8 13.5V8.8M8 8.8C8 6 5.8 4.6 3 4.6c0 2.8 1.8 4.6 5 4.2ZM8 7.3c0-2.5 1.8-4.3 5-4.5 0 3-1.8 4.9-5 4.5Z",
  expand: "M9.5 2.5h4v4M6.5 13.5h-4v-4M13.5 2.5 9.2 6.8M2.5 13.5l4.3-4.3",
  close: "m3.8 3.8 8.4 8.4M12.2 3.8l-8.4 8.4",
  up: "m4 9.7 4-4 4 4",
  down: "m4 6.3 4 4 4-4",
  left: "m9.7 4-4 4 4 4",
  right: "m6.3 4 4 4-4 4",
  retry: "M13 8a5 5 0 1 1-1.7-3.750M13 2.5v2.7h-2.7",
  stop: "M4.5 4.5h7v7h-7Z",
  copy: "M5.5 5.5v-3h8v8h-3M2.5 5.5h8v8h-8Z",
  waiting: "M8 2.5a5.5 5.5 0 1 0 0 11 5.5 5.5 0 0 0 0-11ZM8 5v3.2l2.1 1.3",
  running: "M5 3.5v9l7-4.5Z",
  failed: "M8 2.5 14 13H2ZM8 6.5v3M8 11.3v.1",
  interrupted: "M6 4v8M10 4v8",
  actual: "M3 4.5h1.3v7M3 11.5h2.6M8 6.3v.1M8 9.7v.1M10.5 4.5h1.3v7M10.5 11.5h2.6",
  fit: "M2.5 5.5v-3h3M10.5 2.5h3v3M13.5 10.5v3h-3M5.5 13.5h-3v-3",
  add: "M8 3v10M3 8h10",
  less: "M3.5 8h9",
  check: "m3.2 8.4 3.2 3.2 6.4-7",
  info: "M8 2.5a5.5 5.5 0 1 0 0 11 5.5 5.5 0 0 0 0-11ZM8 7.4v3.4M8 5.2v.1",
  trash: "M3 4.5h10M6.2 4.5v-2h3.6v2M4.3 4.5l.6 9h6.2l.6-9M6.7 7v4M9.3 7v4",
  folder: "M2.5 12.5v-9h4l1.5 2h5.5v7Z",
  merge: "M3 3.5c5 0 4 4.5 9.5 4.5M3 12.5c5 0 4-4.5 9.5-4.5M10.3 5.7 12.7 8l-2.4 2.3",
  memory: "M3 5.5h10v6H3ZM5.5 5.5v-2M8 5.5v-2M10.5 5.5v-2M5.5 13.5v-2M8 13.5v-2M10.5 13.5v-2",
  renew: "M13 6.5A5.2 5.2 0 0 0 3.6 5.2M3 9.5a5.2 5.2 0 0 0 9.4 1.3M3.3 2.5v2.9h2.9M12.7 13.5v-2.9H9.8",
  pin: "M6 2.5h4l-.5 4 2 2.5h-7l2-2.5ZM8 9v4.5",
  brush: "M13.5 2.5 7.2 8.8M8.8 10.4 13.5 2.5M7 8.7c-2.5-.4-3.3 1.3-3.5 2.6-.1.8-.5 1.4-1.2 1.7 2.4 1 6 .3 6.3-2.6Z",
  eraser: "M6.2 13.2 2.6 9.6 9.3 2.9l4 4-6.3 6.3ZM5.7 6.5l4 4M5 13.2h8.5",
  rectangle: "M2.5 4h11v8h-11Z",
  lasso: "M6 11.2c-2-.5-3.5-2-3.5-3.8C2.5 5 5 3 8 3s5.5 2 5.5 4.4S11 11.7 8 11.7c-.7 0-1.4-.1-2-.3M6 11.2a1.3 1.3 0 1 0-1.3 1.3M6 11.2c.2 1-.3 1.9-1.2 2.4",
  bucket: "m6.8 3 5.4 5.4-4.6 4.6a1 1 0 0 1-1.4 0L2.6 9.4a1 1 0 0 1 0-1.4ZM2.4 8.6h9.6M5.3 1.7l1.5 1.5M13.3 10.2s-1 1.4-1 2.1a1 1 0 0 0 2 0c0-.7-1-2.1-1-2.1Z",
  frame: "M4.5 1.7v9.8h9.8M1.7 4.5h9.8v9.8",
  hand: "M5.4 8.3V4a1 1 0 0 1 2 0v3M7.4 7V2.8a1 1 0 0 1 2 0V7M9.4 7V3.5a1 1 0 0 1 2 0v5M5.4 8.6 4.3 7.5a1 1 0 0 0-1.5 1.3l2.4 3.6c.6.9 1.4 1.4 2.5 1.4h1c1.7 0 2.7-1.1 2.7-2.8V6.5",
  undo: "M5.5 3 2.5 6l3 3M2.7 6h6.8a3.5 3.5 0 0 1 0 7H6.5",
  redo: "m10.5 3 3 3-3 3M13.3 6H6.5a3.5 3.5 0 0 0 0 7h3",
  invert: "M8 2.5a5.5 5.5 0 1 0 0 11ZM8 2.5a5.5 5.5 0 0 1 0 11M8 4.5v7M6.3 4.3v7.4M4.7 5.7v4.6",
  grow: "M8 6a2 2 0 1 0 0 4 2 2 0 0 0 0-4ZM8 1.5v2.3M8 12.2v2.3M1.5 8h2.3M12.2 8h2.3M3.4 3.4 5 5M11 11l1.6 1.6M12.6 3.4 11 5M5 11l-1.6 1.6",
  shrink: "M2.5 2.5 6 6M6 3.3V6H3.3M13.5 2.5 10 6M10 3.3V6h2.7M2.5 13.5 6 10M6 12.7V10H3.3M13.5 13.5 10 10M10 12.7V10h2.7",
  feather: "M13.3 2.7c-3.3-.5-7.6 1.4-8.6 5.8l-.4 3.2 3.2-.4c4.4-1 6.3-5.3 5.8-8.6ZM2.5 13.5l6.3-6.3M7 9h3.3",
  eye: "M1.7 8S4 3.8 8 3.8 14.3 8 14.3 8 12 12.2 8 12.2 1.7 8 1.7 8ZM8 6.2a1.8 1.8 0 1 0 0 3.6 1.8 1.8 0 0 0 0-3.6Z",
  hidden: "M4 4.9C2.5 6.2 1.7 8 1.7 8S4 12.2 8 12.2c1.1 0 2-.3 2.9-.7M6.7 3.9C7.1 3.8 7.5 3.8 8 3.8c4 0 6.3 4.2 6.3 4.2s-.6 1.1-1.7 2.2M2.5 2.5l11 11",
  dropper: "m9 5 2.2-2.2a1.4 1.4 0 0 1 2 2L11 7M8 4l4 4M9.5 6.5l-5.2 5.2-1.8 1.8-.2-.2.5-2.1L8 6",
  pen: "m2.5 13.5.8-3.3 7.5-7.5 2.5 2.5-7.5 7.5ZM9.2 4.3l2.5 2.5",
  image: "M2.5 3h11v10h-11ZM2.5 11l3.3-3.5 2.6 2.6 1.7-1.7 3.4 3.3M10.5 5.7v.1",
  compare: "M8 1.8v12.4M6 4H2.5v8H6M10 4h3.5v8H10M4.8 6.5 3.5 8l1.3 1.5M11.2 6.5 12.5 8l-1.3 1.5",
  subtle: "M8 3.5v2M8 10.5v2M3.5 8h2M10.5 8h2M8 7.3v1.4M7.3 8h1.4",
  strong: "M8 1.8v3M8 11.2v3M1.8 8h3M11.2 8h3M3.6 3.6l2.1 2.1M10.3 10.3l2.1 2.1M12.4 3.6l-2.1 2.1M5.7 10.3l-2.1 2.1",
  outpaint: "M5.5 5.5h5v5h-5ZM2.5 5V2.5H5M11 2.5h2.5V5M13.5 11v2.5H11M5 13.5H2.5V11",
  enlarge: "M2.5 9h4.5v4.5H2.5ZM5 6.5v-4h8.5V11h-4M8.5 7.5l2.5-2.5M8.800 5H11v2.2",
  cells: "M2.5 2.5h4.5v4.5h-4.5ZM9 2.5h4.5v4.5h-4.5ZM2.5 9h4.5v4.5h-4.5ZM9 9h4.5v4.5h-4.5Z",
  extension: "M6 4.3V4a1.6 1.6 0 0 1 3.2 0v.3h2.8v2.8h.3a1.6 1.6 0 0 1 0 3.2h-.3v2.9H3.3V4.3Z",
  more: "M3.5 8v.1M8 8v.1M12.5 8v.1",
};

/** An element with properties, data attributes (`data: {...}`) and children (elements or text). */
export function element(tag, { data = {}, attributes = {}, ...properties } = {}, ...children) {
  const made = Object.assign(document.createElement(tag), properties);
  Object.assign(made.dataset, data);
  for (const [name, value] of Object.entries(attributes)) made.setAttribute(name, value);
  made.append(...children.filter((child) => child !== null && child !== undefined));
  return made;
}

export function icon(name) {
  const svg = document.createElementNS("http://www.w3.org/2000/svg", "svg");
  svg.setAttribute("viewBox", "0 0 16 16");
  svg.setAttribute("aria-hidden", "true");
  const path = document.createElementNS("http://www.w3.org/2000/svg", "path");
  path.setAttribute("d", ICONS[name]);
  svg.append(path);
  return svg;
}

/** A button that shows an icon and is named by `title`. */
export function iconButton(name, title, onclick, className = "") {
  return element(
    "button",
    { type: "button", title, onclick, className: `act ${className}`.trim(), attributes: { "aria-label": title } },
    icon(name),
  );
}

/**
 * Make the children of `parent` show `items`, keeping elements (and with them focus, scrolling and loaded pictures)
 * whose key is still there. `make(item)` gives an element, `renew(element, item)` brings it up to date.
 */
export function reconcile(parent, items, { key, make, renew = () => {} }) {
  const old = new Map([...parent.children].map((child) => [child.dataset.key, child]));
  let place = parent.firstElementChild;
  for (const item of items) {
    const name = key(item);
    let child = old.get(name);
    if (child) old.delete(name);
    else {
      child = make(item);
      child.dataset.key = name;
    }
    renew(child, item);
    if (child === place) place = place.nextElementSibling;
    else parent.insertBefore(child, place);
  }
  for (const child of old.values()) child.remove();
}

/** Ask again for the pictures below `root` that could not be fetched; these are returned. */
export function fetchAgain(root) {
  const failed = [...root.querySelectorAll("img[src]")].filter((image) => image.complete && image.naturalWidth === 0);
  for (const image of failed) image.setAttribute("src", image.getAttribute("src"));
  return failed;
}

/** Set text only where it differs, so that nothing is laid out or read aloud again without need. */
export function say(node, text) {
  if (node.textContent !== text) node.textContent = text;
}
