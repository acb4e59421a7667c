"use strict";
// What the pointer is on, be it a dot of the map or a picture: shown larger, with its name and what is known of it.
(() => {
  const told = JSON.parse(document.getElementById("told").textContent);
  const card = document.getElementById("pointed");
  const [face, words] = card.children;
  const tileOf = new Map(told.tiles.map((dot, tile) => [dot, tile]));
  const perSheet = told.across * told.across;

  function place(at) {
    card.hidden = false;
    if (at === null || innerWidth < 700) {
      card.style.left = "0.8rem";
      card.style.top = `${innerHeight - card.offsetHeight - 12}px`;
      return;
    }
    card.style.left = `${Math.min(at.x + 18, innerWidth - card.offsetWidth - 12)}px`;
    card.style.top = `${Math.min(at.y + 18, innerHeight - card.offsetHeight - 12)}px`;
  }
  function write(lines) {
    words.replaceChildren(...lines.filter(Boolean).map((line) => {
      const row = document.createElement("div");
      row.textContent = line;
      return row;
    }));
  }
  function showTile(tile) {
    const side = told.side, large = 2 * Math.max(side, 64), times = large / side;
    const [down, across] = [Math.floor((tile % perSheet) / told.across), tile % told.across];
    face.hidden = false;
    face.style.cssText = `width:${large}px;height:${large}px;background-image:url(${told.sheets[Math.floor(tile / perSheet)]});` +
      `background-size:${told.across * large}px auto;background-position:${-across * large}px ${-down * large}px`;
    return times;
  }
  function showDot(dot, at) {
    const tile = tileOf.get(dot);
    if (tile !== undefined) showTile(tile);
    else face.hidden = true;
    write([told.names[dot], told.groups[told.of[dot]] ?? "in no group", told.more[dot]]);
    place(at);
  }
  function showPicture(picture, at) {
    face.hidden = true;
    write(picture.alt.split("\n"));
    place(at);
  }
  const hide = () => { card.hidden = true; };

  let pointer = null;
  addEventListener("pointermove", (event) => { pointer = { x: event.clientX, y: event.clientY }; }, { passive: true });
  addEventListener("scroll", hide, { passive: true });
  document.addEventListener("pointerover", (event) => {
    const picture = event.target.closest?.(".thumbs img, .set img");
    if (picture) showPicture(picture, { x: event.clientX, y: event.clientY });
    else if (!event.target.closest?.("#map")) hide();
  });
  document.addEventListener("drawn", (event) => {
    if (event.detail.name !== "map") return;
    const source = event.detail.model.select_one("dots")?.data_source;
    if (!source) return;
    const pointed = (indices) => { if (indices.length) showDot(indices[0], pointer); else hide(); };
    source.inspect.connect(() => pointed(source.inspected.indices));
    source.selected.change.connect(() => pointed(source.selected.indices));
  });
})();
