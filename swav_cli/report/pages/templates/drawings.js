"use strict";
// Each drawing is made when it comes near the screen, so that a long page opens at once.
(() => {
  const items = new Map();
  for (const script of document.querySelectorAll("script[data-drawing]")) items.set(script.dataset.drawing, script);
  function draw(name) {
    const script = items.get(name);
    if (script === undefined) return;
    items.delete(name);
    Bokeh.embed.embed_item(JSON.parse(script.textContent)).then((views) => {
      const model = [...views][0].model;
      document.dispatchEvent(new CustomEvent("drawn", { detail: { name, model } }));
    });
  }
  const drawAll = () => [...items.keys()].forEach(draw);
  const seen = new IntersectionObserver((entries) => {
    for (const entry of entries) {
      if (!entry.isIntersecting) continue;
      seen.unobserve(entry.target);
      draw(entry.target.id);
    }
  }, { rootMargin: "800px" });
  for (const name of items.keys()) seen.observe(document.getElementById(name));
  addEventListener("beforeprint", drawAll);
  // Colours are the style's, which bokeh reads when it paints.
  matchMedia("(prefers-color-scheme: dark)").addEventListener("change", () => {
    for (const view of Bokeh.index) view.invalidate_render?.();
  });
})();
