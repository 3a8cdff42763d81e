"use strict";
(() => {
  const rows = JSON.parse(document.getElementById("data").textContent);
  const judges = JSON.parse(document.getElementById("judges").textContent);
  const list = document.getElementById("gallery-pairs");
  const found = document.getElementById("found");
  const more = document.getElementById("more");
  const form = document.getElementById("filter");
  const PAGE = 24;
  let matching = [];
  let drawn = 0;

  // Everything that comes from a row is put in as text or as an attribute, never as markup.
  const make = (tag, attributes, ...children) => {
    const element = document.createElement(tag);
    for (const [name, value] of Object.entries(attributes)) {
      if (value !== null && value !== false) element.setAttribute(name, value === true ? "" : value);
    }
    element.append(...children);
    return element;
  };

  const picture = (row, place) => {
    const name = place ? "rejected" : "chosen";
    const hidden = place === 1 && row.harmful;
    const side = make(hidden ? "button" : "div", { class: `side${hidden ? " hidden" : ""}`, type: hidden ? "button" : null });
    const text = place ? row.rejected_prompt : row.chosen_prompt;
    if (row.pictures[place]) {
      const image = make("img", { src: row.pictures[place], alt: `${name}: ${text}` });
      image.addEventListener("load", () => image.classList.toggle("tiny", image.naturalWidth <= 128));
      side.append(image);
    } else {
      side.append(make("span", { class: "soft small" }, `not shown: ${row.errors[place]}`));
    }
    side.append(make("span", { class: "tag" }, name));
    if (hidden) side.append(make("span", { class: "veil" }, "may show a harm: press to show"));
    return side;
  };

  const votes = (row) => make("ul", { class: "votes", "aria-label": "judges" }, ...row.margins.map((margin, place) => {
    const kind = margin === null ? "silent" : margin < 0 ? "against" : "for";
    const sign = margin === null ? "did not speak" : margin < 0 ? "prefers rejected" : "prefers chosen";
    const shown = margin === null ? "–" : (margin > 0 ? "+" : "−") + Math.abs(margin).toFixed(1);
    return make("li", { class: kind, title: sign }, `${judges[place]} ${shown}`);
  }));

  const percent = (value) => `${(Math.floor(value * 1000 + 1e-9) / 10).toFixed(1)} %`;

  const sureness = (row) => {
    const at = (value) => `${(100 * Math.min(1, Math.max(0, value))).toFixed(1)}%`;
    const line = make("span", { class: "line", "aria-hidden": "true" },
      make("i", {}), make("u", {}));
    line.firstChild.style.left = at(row.low);
    line.firstChild.style.right = at(1 - row.high);
    line.lastChild.style.left = at(row.probability);
    return make("div", { class: "sureness" }, make("b", { title: "probability that the label is right" }, percent(row.probability)), line);
  };

  const card = (row) => {
    const facts = [row.category, row.role, row.split].filter(Boolean).join(" · ");
    const details = make("details", {}, make("summary", {}, facts || "more"),
      make("p", { class: "small" }, `principle: ${row.principle}`),
      make("p", { class: "small" }, `chosen: ${row.chosen_prompt} (${row.generator}, seed ${row.seed_chosen})`),
      make("p", { class: "small" }, `rejected: ${row.rejected_prompt} (${row.rejected_generator || row.generator}, seed ${row.seed_rejected})`),
      make("p", { class: "small" }, `judges alone ${percent(row.judges_only)}; 90 % interval ${percent(row.low)} to ${percent(row.high)}`),
      make("p", { class: "small soft" }, row.pair_id));
    const truth = row.true === null ? [] : [make("span", { class: `small ${row.true}` }, row.true ? "the label is true" : "the label is not true")];
    return make("li", { class: "pair", tabindex: "0" },
      make("div", { class: "two" }, picture(row, 0), picture(row, 1)),
      make("div", { class: "text" }, make("p", { class: "prompt", dir: "auto" }, row.prompt), sureness(row), votes(row), ...truth, details));
  };

  const draw = () => {
    list.append(...matching.slice(drawn, drawn + PAGE).map(card));
    drawn = Math.min(matching.length, drawn + PAGE);
    more.hidden = drawn >= matching.length;
    more.textContent = `Show more (${(matching.length - drawn).toLocaleString("en")} left)`;
  };

  const ORDERS = {
    sample: () => 0,
    least: (a, b) => a.probability - b.probability,
    most: (a, b) => b.probability - a.probability,
  };

  const filter = () => {
    const wanted = new FormData(form);
    const text = wanted.get("text").trim().toLowerCase();
    const against = judges.indexOf(wanted.get("judge"));
    const [low, high] = (wanted.get("sure") || "0-1").split("-").map(Number);
    matching = rows.filter((row) =>
      (!wanted.get("principle") || row.principle === wanted.get("principle"))
      && (!wanted.get("split") || row.split === wanted.get("split"))
      && (against < 0 || (row.margins[against] !== null && row.margins[against] < 0))
      && row.probability >= low && (row.probability < high || high === 1)
      && (!text || `${row.prompt} ${row.chosen_prompt} ${row.rejected_prompt} ${row.pair_id}`.toLowerCase().includes(text)));
    matching.sort(ORDERS[wanted.get("order")]);
    list.replaceChildren();
    drawn = 0;
    found.textContent = `${matching.length.toLocaleString("en")} of ${rows.length.toLocaleString("en")} pairs`;
    draw();
  };

  form.addEventListener("input", filter);
  form.addEventListener("submit", (event) => event.preventDefault());
  more.addEventListener("click", () => {
    const first = drawn;
    draw();
    if (list.children[first]) list.children[first].focus();
  });
  document.addEventListener("click", (event) => {
    const side = event.target.closest(".side.hidden, .side.shown");
    if (side) {
      side.classList.toggle("hidden");
      side.classList.toggle("shown");
    }
  });
  document.addEventListener("keydown", (event) => {
    if (event.ctrlKey || event.metaKey || event.altKey || event.target.closest("input, select, textarea")) return;
    if (event.key === "/") {
      event.preventDefault();
      form.elements.text.focus();
    }
    if (event.key !== "j" && event.key !== "k") return;
    const cards = [...document.querySelectorAll(".pair")];
    const at = cards.indexOf(document.activeElement.closest(".pair"));
    const next = cards[at < 0 ? 0 : at + (event.key === "j" ? 1 : -1)];
    if (next) {
      next.focus();
      next.scrollIntoView({ block: "center" });
    }
  });
  document.getElementById("theme").addEventListener("click", () => {
    const dark = document.documentElement.dataset.theme
      ? document.documentElement.dataset.theme === "dark"
      : matchMedia("(prefers-color-scheme: dark)").matches;
    document.documentElement.dataset.theme = dark ? "light" : "dark";
  });
  for (const image of document.querySelectorAll(".pair img")) {
    const mark = () => image.classList.toggle("tiny", image.naturalWidth <= 128);
    if (image.complete) mark(); else image.addEventListener("load", mark);
  }
  document.getElementById("gallery-tools").hidden = false;
  filter();
})();
