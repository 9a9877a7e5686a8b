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

/** Set text only where it differs, so that nothing is laid out or read aloud again without need. */
export function say(node, text) {
  if (node.textContent !== text) node.textContent = text;
}
