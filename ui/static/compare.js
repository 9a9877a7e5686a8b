// Before and after: two pictures on top of each other, parted by a line that can be moved.

import { element, iconButton } from "./elements.js";

const START = 50; // per cent

/**
 * An element that shows both, to be put anywhere. What is left of the line is `before`: as large as `after`, or, with
 * `place` {left, top}, as many pixels as it has, with its corner there.
 */
export function comparison(before, after, place = null) {
  const small = element("img", { src: before, alt: "Before", draggable: false });
  const large = element("img", { className: "after", src: after, alt: "After", draggable: false });
  const range = element("input", {
    type: "range",
    min: 0,
    max: 100,
    step: 0.1,
    value: START,
    ariaLabel: "How much of the picture before is seen",
  });
  const root = element(
    "div",
    { className: "comparison" },
    large,
    element("div", { className: "before" }, small),
    element("span", { className: "line", attributes: { "aria-hidden": "true" } }),
    element("span", { className: "name left", textContent: "Before" }),
    element("span", { className: "name right", textContent: "After" }),
    range,
  );
  const show = () => root.style.setProperty("--at", `${range.value}%`);
  range.addEventListener("input", show);
  // The whole picture is the handle, and not only the slider's thumb.
  const follow = (event) => {
    const { left, width } = root.getBoundingClientRect();
    range.value = ((event.clientX - left) / width) * 100;
    show();
  };
  range.addEventListener("pointerdown", (event) => {
    event.preventDefault();
    range.focus();
    range.setPointerCapture(event.pointerId);
    follow(event);
  });
  range.addEventListener("pointermove", (event) => range.hasPointerCapture(event.pointerId) && follow(event));
  Promise.all([small.decode(), large.decode()]).then(
    () => fit(root, small, large, place),
    () => {},
  );
  show();
  return root;
}

function fit(root, small, large, place) {
  const { naturalWidth: width, naturalHeight: height } = large;
  root.style.setProperty("--ratio", `${width} / ${height}`);
  root.style.setProperty("--shape", width / height);
  if (!place) return;
  const share = (part, whole) => `${(part / whole) * 100}%`;
  Object.assign(small.style, {
    left: share(place.left, width),
    top: share(place.top, height),
    width: share(small.naturalWidth, width),
    height: share(small.naturalHeight, height),
  });
}

/** Show both in front of the page, until they are closed. */
export function compare(before, after, place = null) {
  const dialog = element(
    "dialog",
    { className: "compare-dialog", attributes: { "aria-label": "Before and after" } },
    comparison(before, after, place),
    iconButton("close", "Close (Esc)", () => dialog.close(), "close"),
  );
  dialog.addEventListener("close", () => {
    dialog.remove();
    for (const url of [before, after]) if (url.startsWith("blob:")) URL.revokeObjectURL(url);
  });
  document.body.append(dialog);
  dialog.showModal();
  dialog.querySelector("input").focus();
  return dialog;
}
