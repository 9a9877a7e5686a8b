// The canvas as large as the screen.

/** The whole screen, or, where that is not allowed, the whole window; and back. */
export async function toggleWhole(root) {
  if (document.fullscreenElement === root) return document.exitFullscreen();
  if (root.hasAttribute("data-whole")) {
    root.hidePopover();
    root.removeAttribute("popover");
    return root.removeAttribute("data-whole");
  }
  try {
    await root.requestFullscreen();
  } catch {
    root.popover = "manual"; // into the top layer: above everything, whatever surrounds it
    root.showPopover();
    root.toggleAttribute("data-whole", true);
  }
  return undefined;
}
