// A bar with more on it than fits: it fades where it goes on, and the wheel moves it sideways.

/** @return what ends it */
export function scrolls(bar) {
  const look = () => {
    const rest = bar.scrollWidth - bar.clientWidth - bar.scrollLeft;
    bar.toggleAttribute("data-before", bar.scrollLeft > 1);
    bar.toggleAttribute("data-after", rest > 1);
  };
  const turn = (event) => {
    if (bar.scrollWidth <= bar.clientWidth || event.ctrlKey || event.deltaX) return;
    event.preventDefault();
    bar.scrollLeft += event.deltaY;
  };
  const sizes = new ResizeObserver(look);
  sizes.observe(bar);
  for (const child of bar.children) sizes.observe(child); // they come and go with the tools
  bar.addEventListener("scroll", look, { passive: true });
  bar.addEventListener("wheel", turn, { passive: false });
  return () => sizes.disconnect();
}
