"use strict";
(() => {
  const at = (id) => document.getElementById(id);
  const sections = ["question", "finish", "outcome"];
  const KEYS = { 1: "left", 2: "right", t: "tie", b: "both bad", s: "skip" };
  let pair = null;
  let busy = false;

  const show = (...ids) => sections.forEach((id) => { at(id).hidden = !ids.includes(id); });

  const problem = (text) => {
    at("problem").hidden = !text;
    at("problem").textContent = text || "";
  };

  const ask = async (what, body) => {
    const options = body === undefined ? {} : {
      method: "POST", headers: { "Content-Type": "application/json" }, body: JSON.stringify(body),
    };
    let response;
    try {
      response = await fetch(what, { cache: "no-store", ...options });
    } catch {
      throw new Error("The program in the terminal does not answer. Answers given before are kept: start the same command again and open the address that it prints.");
    }
    const told = await response.json();
    if (!response.ok) throw new Error(told.error);
    return told;
  };

  const address = (id, side) => `picture/${encodeURIComponent(id)}/${side}`;

  const picture = (side, place) => {
    const image = at(side);
    const error = pair.errors[place];
    image.hidden = Boolean(error);
    at(`error-${side}`).hidden = !error;
    at(`error-${side}`).textContent = error ? `This image cannot be shown: ${error}. The pair can only be skipped.` : "";
    image.alt = `${side} image`;
    if (error) image.removeAttribute("src"); else image.src = address(pair.id, side);
  };

  const cover = (covered) => {
    at("question").classList.toggle("are-covered", covered);
    at("covered").hidden = !covered;
  };

  const draw = (state) => {
    at("bar").max = state.total || 1;
    at("bar").value = state.done;
    at("progress").textContent = `${state.done} of ${state.total}`;
    at("undo").disabled = !state.undo;
    at("undo-last").disabled = !state.undo;
    const before = pair && pair.id;
    pair = state.pair;
    const decisive = state.decisive;
    at("end").hidden = !decisive;
    at("undo-last").hidden = Boolean(pair);
    at("h-finish").textContent = pair ? "Enough for now?" : `All ${state.total} pairs are answered`;
    at("why").textContent = decisive
      ? `${decisive} of your answers say which image is better. Finishing calibrates the labels of the run by them${pair ? "; the same command goes on later" : ""}.`
      : "No answer says yet which image is better, so there is nothing to calibrate by.";
    show(...(pair ? ["question"] : []), ...(pair && !decisive ? [] : ["finish"]));
    if (!pair) {
      at("h-finish").focus();
      return;
    }
    at("principle").textContent = pair.principle;
    at("prompt").textContent = pair.prompt;
    cover(pair.harmful);
    picture("left", 0);
    picture("right", 1);
    const unreadable = pair.errors.some(Boolean);
    document.querySelectorAll("[data-answer]").forEach((button) => {
      button.disabled = unreadable && button.dataset.answer !== "skip";
    });
    if (before !== pair.id) at("said").textContent = `Pair ${state.done + 1} of ${state.total}. ${pair.principle}. ${pair.prompt}`;
    if (state.then) ["left", "right"].forEach((side) => { new Image().src = address(state.then, side); });
  };

  const act = async (what, body) => {
    if (busy) return;
    busy = true;
    try {
      draw(await ask(what, body));
      problem("");
    } catch (error) {
      problem(error.message);
    }
    busy = false;
  };

  const answer = (said) => {
    if (!pair || (pair.errors.some(Boolean) && said !== "skip")) return;
    act("answer", { pair: pair.id, answer: said });
  };
  const undo = () => act("undo", {});

  const percent = (value) => (value === null || Number.isNaN(value) ? "–" : `${(100 * value).toFixed(1)} %`);
  const make = (tag, attributes, ...children) => {
    const element = document.createElement(tag);
    for (const [name, value] of Object.entries(attributes)) element.setAttribute(name, value);
    element.append(...children);
    return element;
  };

  const outcome = (told) => {
    pair = null;
    show("outcome");
    const [share, low, high] = told.agree;
    const tiles = [
      [percent(share), `of the labels people agree with (90 % interval ${percent(low)} to ${percent(high)})`],
      [`${percent(told.before.promised)} → ${percent(told.after.promised)}`, "what the labels promise on average"],
      [`${told.before.calibration.toFixed(3)} → ${told.after.calibration.toFixed(3)}`, "calibration error"],
      [`${told.before.brier.toFixed(3)} → ${told.after.brier.toFixed(3)}`, "Brier score"],
      [`${told.pairs[0].toLocaleString("en")} → ${told.pairs[1].toLocaleString("en")}`, "pairs in the dataset"],
      [percent(told.left), "of your choices were the left image"],
    ];
    at("tiles").replaceChildren(...tiles.map(([figure, what]) =>
      make("div", { class: "tile" }, make("b", {}, figure), make("span", {}, what))));
    const figure = (text) => make("td", { class: "figure" }, text);
    const number = (value) => (value === null ? "–" : value.toFixed(3));
    at("judges").replaceChildren(...told.judges.map((judge) => make("tr", {},
      make("th", { scope: "row" }, judge.name),
      figure(judge.agree === null ? "–" : `${percent(judge.agree)} of ${judge.count}`),
      figure(number(judge.before)), figure(number(judge.after)))));
    at("notes").replaceChildren(...told.notes.map((note) => make("li", {}, note)));
    at("h-outcome").focus();
  };

  const finish = async () => {
    if (busy) return;
    busy = true;
    at("end").disabled = true;
    at("end").textContent = "Calibrating…";
    try {
      outcome(await ask("finish", {}));
      problem("");
    } catch (error) {
      problem(error.message);
    }
    at("end").disabled = false;
    at("end").textContent = "Finish and calibrate";
    busy = false;
  };

  document.querySelectorAll("[data-answer]").forEach((button) =>
    button.addEventListener("click", () => answer(button.dataset.answer)));
  at("undo").addEventListener("click", undo);
  at("undo-last").addEventListener("click", undo);
  at("end").addEventListener("click", finish);
  at("uncover").addEventListener("click", () => cover(false));
  ["left", "right"].forEach((side) => {
    at(side).addEventListener("load", (event) => event.target.classList.toggle("tiny", event.target.naturalWidth <= 256));
  });
  document.addEventListener("keydown", (event) => {
    if (event.ctrlKey || event.metaKey || event.altKey || event.repeat) return;
    const key = event.key.toLowerCase();
    if (key === "u") undo();
    else if (key === "v" && pair) cover(false);
    else if (KEYS[key]) answer(KEYS[key]);
  });
  at("theme").addEventListener("click", () => {
    const root = document.documentElement;
    const dark = root.dataset.theme ? root.dataset.theme === "dark" : matchMedia("(prefers-color-scheme: dark)").matches;
    root.dataset.theme = dark ? "light" : "dark";
  });
  act("state");
})();
