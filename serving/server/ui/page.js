// The page of `idp-tf serve --ui`: it asks the REST API of the server that it came from.
// Whatever comes from there or from a person is written as text, never as HTML.
"use strict";

const COUNT = 10;
const WAIT_MS = 150;

const byId = (id) => document.getElementById(id);
const state = { models: {}, history: [], found: [], active: -1, asked: 0, searched: 0 };

/** A new element, with text. */
function element(tag, text, className) {
  const made = document.createElement(tag);
  made.textContent = text ?? "";
  if (className) made.className = className;
  return made;
}

/** JSON as TF-Serving writes it: NaN and Infinity stand in it bare, and become null. */
function parse(text) {
  const bare = /"(?:\\.|[^"\\])*"|-?\b(?:NaN|Infinity)\b/g;
  return JSON.parse(text.replace(bare, (found) => (found.startsWith('"') ? found : "null")));
}

async function fetchJson(path, options) {
  let response;
  try {
    response = await fetch(path, options);
  } catch (error) {
    throw new Error("The server does not answer.");
  }
  const found = parse(await response.text());
  if (!response.ok) throw new Error(found.error);
  return found;
}

async function predict(role, inputs) {
  const path = `/v1/models/${encodeURIComponent(state.models[role])}:predict`;
  const body = JSON.stringify({ inputs });
  const headers = { "Content-Type": "application/json" };
  return (await fetchJson(path, { method: "POST", headers, body })).outputs;
}

/** Titles of items by their ids. */
async function titlesOf(ids) {
  if (!ids.length) return new Map();
  const query = new URLSearchParams(ids.map((id) => ["id", id]));
  const items = await fetchJson(`items?${query}`);
  return new Map(items.map((item) => [item.id, item.title]));
}

// What is typed

async function search() {
  const turn = ++state.searched;
  const text = byId("text").value.trim();
  const found = text ? await fetchJson(`items?${new URLSearchParams({ q: text })}`) : [];
  if (turn === state.searched) showFound(found);
}

function showFound(found) {
  state.found = found;
  state.active = -1;
  const options = found.map((item, place) => {
    const option = element("li", item.title || item.id);
    option.id = `found-${place}`;
    option.setAttribute("role", "option");
    option.setAttribute("aria-selected", "false");
    // Before the field loses the focus.
    option.addEventListener("mousedown", (event) => {
      event.preventDefault();
      add(item);
    });
    return option;
  });
  byId("found").replaceChildren(...options);
  byId("found").hidden = !found.length;
  byId("text").setAttribute("aria-expanded", String(Boolean(found.length)));
  byId("text").removeAttribute("aria-activedescendant");
}

function move(step) {
  const count = state.found.length;
  if (!count) return;
  // One place more than there are options: that of the field itself.
  state.active = ((state.active + 1 + step + count + 1) % (count + 1)) - 1;
  [...byId("found").children].forEach((option, place) => {
    option.setAttribute("aria-selected", String(place === state.active));
    if (place === state.active) option.scrollIntoView({ block: "nearest" });
  });
  if (state.active < 0) byId("text").removeAttribute("aria-activedescendant");
  else byId("text").setAttribute("aria-activedescendant", `found-${state.active}`);
}

function closeFound() {
  state.searched++;
  showFound([]);
}

// The history

/** Adds an item of the catalogue, or a title alone: one without an id. */
function add(entry) {
  state.history.push(entry);
  byId("text").value = "";
  closeFound();
  showHistory();
}

function remove(place) {
  state.history.splice(place, 1);
  showHistory();
  byId("text").focus();
}

function showHistory() {
  const entries = state.history.map((entry, place) => {
    const row = element("li", entry.title || entry.id);
    if (entry.id === undefined) row.append(element("span", " (a title)", "id"));
    const button = element("button", "×");
    button.type = "button";
    button.setAttribute("aria-label", `Remove ${entry.title || entry.id}`);
    button.addEventListener("click", () => remove(place));
    row.append(button);
    return row;
  });
  byId("history").replaceChildren(...entries);
  byId("clear").hidden = !entries.length;
  recommend();
}

// Answers

async function recommend() {
  const turn = ++state.asked;
  byId("problem").textContent = "";
  byId("answer").hidden = true;
  byId("why").hidden = true;
  if (!state.history.length) return;
  try {
    const isTitled = state.history.some((entry) => entry.id === undefined);
    const answer = await (isTitled ? byTitles() : byItems());
    const known = await titlesOf(answer.ids);
    const matches = await explain(state.history.filter((entry) => entry.title));
    if (turn !== state.asked) return;
    showAnswer(answer, known);
    showMatches(matches, answer.why);
  } catch (error) {
    if (turn === state.asked) byId("problem").textContent = error.message;
  }
}

async function byItems() {
  if (!state.models.recommender) throw new Error("No recommender is served.");
  const ids = state.history.map((entry) => entry.id);
  const found = await predict("recommender", { item_ids: [ids], k: [COUNT] });
  const why =
    "By their titles the items that were picked are like these, whose domains were learnt from; " +
    "a model that was transferred began with blends of them.";
  return { ...best(found), how: "From the items that were picked.", why };
}

async function byTitles() {
  if (!state.models.cold_start) throw new Error("No model for titles (cold_start) is served.");
  const titles = state.history.map((entry) => entry.title || entry.id);
  const found = await predict("cold_start", { titles: [titles], k: [COUNT] });
  const why =
    "Each title stands for a blend of these items, whose domains were learnt from; the weights " +
    "say how much of each.";
  return { ...best(found), how: "From titles alone, as if no item had ever been seen.", why };
}

/** The items that there are: where these are fewer than were asked for, ids are empty. */
function best(found) {
  const [ids, scores] = [found.item_ids[0], found.scores[0]];
  const there = ids.map((id, place) => [id, scores[place]]).filter(([id]) => id);
  return { ids: there.map(([id]) => id), scores: there.map(([, score]) => score) };
}

async function explain(entries) {
  if (!entries.length || !state.models.matcher) return [];
  const titles = entries.map((entry) => entry.title);
  const found = await predict("matcher", { titles });
  return titles.map((title, row) => ({
    title,
    sources: found.source_item_ids[row]
      .map((id, place) => ({
        title: found.source_titles[row][place] || id,
        domain: found.source_domains[row][place],
        weight: found.weights[row][place],
      }))
      .filter((source) => source.weight > 0),
  }));
}

function showAnswer(answer, known) {
  byId("how").textContent = answer.how;
  const rows = answer.ids.map((id, place) => {
    const row = element("tr");
    row.append(element("td", known.get(id) || id), element("td", id, "id"));
    row.append(element("td", answer.scores[place]?.toFixed(3) ?? "–"));
    return row;
  });
  byId("items").replaceChildren(...rows);
  byId("answer").hidden = false;
}

function showMatches(matches, why) {
  const parts = matches.flatMap(({ title, sources }) => {
    const table = element("table");
    table.append(...sources.map(matchRow));
    return [element("h3", title), sources.length ? table : element("p", "Nothing is like it.")];
  });
  byId("matches").replaceChildren(...parts);
  byId("what").textContent = why;
  byId("why").hidden = !matches.length;
}

function matchRow({ title, domain, weight }) {
  const row = element("tr");
  const meter = element("meter");
  meter.value = weight;
  meter.setAttribute("aria-hidden", "true");
  const cell = element("td");
  cell.append(meter, element("span", `${(100 * weight).toFixed(1)} %`, "share"));
  row.append(element("td", title), element("td", domain, "domain"), cell);
  return row;
}

// The start

function onKey(event) {
  const steps = { ArrowDown: 1, ArrowUp: -1 };
  if (event.key in steps) {
    event.preventDefault();
    move(steps[event.key]);
  } else if (event.key === "Escape") {
    closeFound();
  }
}

function onSubmit(event) {
  event.preventDefault();
  const title = byId("text").value.trim();
  if (state.active >= 0) add(state.found[state.active]);
  else if (title) add({ title });
}

async function start() {
  let timer;
  byId("text").addEventListener("input", () => {
    clearTimeout(timer);
    timer = setTimeout(() => search().catch(() => closeFound()), WAIT_MS);
  });
  byId("text").addEventListener("keydown", onKey);
  byId("text").addEventListener("blur", closeFound);
  byId("ask").addEventListener("submit", onSubmit);
  byId("clear").addEventListener("click", () => {
    state.history = [];
    showHistory();
    byId("text").focus();
  });
  byId("text").focus();
  try {
    state.models = await fetchJson("models");
    const served = Object.values(state.models).filter(Boolean);
    byId("models").textContent = `Served here: ${served.join(", ") || "no model of this page"}.`;
  } catch (error) {
    byId("problem").textContent = error.message;
  }
}

start();
