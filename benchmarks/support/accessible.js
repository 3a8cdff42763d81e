// What keeps somebody from using a page: called with nothing, gives sentences; none if nothing was found.
() => {
  const found = [];
  const say = (what, element) => found.push(`${what}: ${element.outerHTML.slice(0, 120)}`);
  const shown = (element) => element.checkVisibility({ visibilityProperty: true }) && element.getClientRects().length > 0;
  const all = (selector) => [...document.querySelectorAll(selector)].filter(shown);
  const words = (ids) => ids.split(/\s+/).map((id) => document.getElementById(id)?.textContent ?? "").join(" ");
  const named = (element) => (element.getAttribute("aria-label")
    || (element.getAttribute("aria-labelledby") && words(element.getAttribute("aria-labelledby")))
    || [...(element.labels ?? [])].map((label) => label.textContent).join(" ")
    || [element.textContent, ...[...element.querySelectorAll("img")].map((image) => image.alt)].join(" ")
    || element.title || "").trim();

  if (!document.documentElement.lang) found.push("the page has no language");
  if (!document.title.trim()) found.push("the page has no title");
  if (document.documentElement.scrollWidth > innerWidth) found.push(`it scrolls sideways: ${document.documentElement.scrollWidth} of ${innerWidth} px`);
  if (all("main").length !== 1) found.push("there is not one main part");
  const ids = [...document.querySelectorAll("[id]")].map((element) => element.id);
  ids.filter((id, place) => ids.indexOf(id) !== place).forEach((id) => found.push(`two elements are called ${id}`));

  all("button, a[href], input, select, textarea, summary, progress, [role=button], [role=region]").forEach((element) => {
    if (!named(element)) say("a control has no name", element);
  });
  all("button, select, input").forEach((element) => {
    const { width, height } = element.getBoundingClientRect();
    if (width < 24 || height < 24) say(`a control of ${width}×${height} px is hard to hit`, element);
  });
  document.querySelectorAll("img").forEach((image) => { if (!image.hasAttribute("alt")) say("an image has no text", image); });
  all("svg").forEach((drawing) => {
    if (drawing.getAttribute("role") !== "img" || !drawing.getAttribute("aria-label")) say("a drawing has no name", drawing);
  });
  document.querySelectorAll("th").forEach((head) => { if (!head.scope) say("a heading of a table has no scope", head); });
  all(".scroll").forEach((box) => {
    if (box.scrollWidth > box.clientWidth + 1 && box.tabIndex < 0) say("what scrolls cannot be reached by keyboard", box);
  });
  let level = 0;
  all("h1, h2, h3, h4").forEach((heading) => {
    const own = Number(heading.tagName[1]);
    if (own > level + 1) say("a level of headings is left out", heading);
    level = own;
  });
  if (all("h1").length > 1) found.push("there are several main headings");

  // Contrast of each text with what lies under it, as far as that is one colour.
  const parsed = (colour) => {
    const numbers = colour.match(/[\d.]+/g)?.map(Number) ?? [0, 0, 0, 0];
    const scale = colour.startsWith("color(") ? 255 : 1;
    return [...numbers.slice(0, 3).map((number) => number * scale), numbers[3] ?? 1];
  };
  const over = ([r, g, b, a], under) => [r, g, b].map((value, place) => value * a + under[place] * (1 - a));
  const ground = (element) => {
    const layers = [];
    for (let at = element; at; at = at.parentElement) layers.push(parsed(getComputedStyle(at).backgroundColor));
    return layers.reverse().reduce((under, layer) => over(layer, under), [255, 255, 255]);
  };
  const light = (colour) => {
    const [r, g, b] = colour.map((value) => {
      const part = value / 255;
      return part <= 0.04045 ? part / 12.92 : ((part + 0.055) / 1.055) ** 2.4;
    });
    return 0.2126 * r + 0.7152 * g + 0.0722 * b;
  };
  const seen = new Set();
  const texts = document.createTreeWalker(document.body, NodeFilter.SHOW_TEXT);
  while (texts.nextNode()) {
    const element = texts.currentNode.parentElement;
    if (!texts.currentNode.textContent.trim() || seen.has(element) || !shown(element)) continue;
    seen.add(element);
    if (element.closest("script, style, :disabled, option")) continue;
    const style = getComputedStyle(element);
    const under = ground(element);
    const ink = over(parsed(element.closest("svg") ? style.fill : style.color), under);
    const [low, high] = [light(ink), light(under)].sort((one, other) => one - other);
    const size = parseFloat(style.fontSize);
    const large = size >= 24 || (size >= 18.66 && Number(style.fontWeight) >= 700);
    const contrast = (high + 0.05) / (low + 0.05);
    if (contrast < (large ? 3 : 4.5)) say(`a contrast of ${contrast.toFixed(2)}`, element);
  }
  return [...new Set(found)];
}
