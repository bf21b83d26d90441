// A formula or a picture too wide for a telephone scrolls inside of itself, so the keyboard must reach it.
const reach = new ResizeObserver((boxes) => {
  for (const { target } of boxes) {
    target.tabIndex = target.scrollWidth > target.clientWidth ? 0 : -1;
  }
});
document.querySelectorAll("div.math, .output.text_html").forEach((wide) => reach.observe(wide));

// The theme names every fold alike; without that, a screen reader says what is written on it.
document.querySelectorAll("summary[aria-label]").forEach((fold) => fold.removeAttribute("aria-label"));
